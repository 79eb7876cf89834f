"""IEMOCAP's hparams files run on a tree in its layout."""

import json
import re

import pytest
from conftest import ENCODERS, ROOT

import train
from demo.synthetic_corpus import make_corpus

YAML_OF = {
    "wavlm": "corr_wavlm",
    "hubert": "corr_hubert",
    "wav2vec2": "corr_wav2vec2",
    "whisper": "corr_whisper",
}
SYSTEMS = [(YAML_OF[family], family, norm) for family, norm in ENCODERS]
SYSTEMS.append(("recommended", "wavlm", True))


@pytest.fixture(scope="module")
def synthetic_iemocap(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "synthetic_iemocap"
    make_corpus(folder, utterances_per_class_and_speaker=1)
    return folder


@pytest.mark.parametrize("name, family, layer_norm", SYSTEMS)
def test_train_on_a_tree_in_iemocaps_layout(
    name, family, layer_norm, synthetic_iemocap, encoder_folder, tmp_path
):
    epochs = [] if name == "recommended" else ["--number_of_epochs=1"]
    train.main(
        [
            str(ROOT / f"hparams/{name}.yaml"),
            f"--data_folder={synthetic_iemocap}",
            f"--encoder_hub={encoder_folder(family, layer_norm)}",
            f"--output_folder={tmp_path / 'run'}",
            f"--cache_folder={tmp_path / 'cache'}",
            "--test_fold=2",
            *epochs,
            "--noprogressbar",
            "--device=cpu",
        ]
    )
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["labels"] == ["ang", "hap", "neu", "sad"]
    assert results["n_test"] == 8
    manifest = (tmp_path / "run/manifests/test.json").read_text()
    assert set(re.findall('"speaker": "(.*?)"', manifest)) == {
        "Ses02F",
        "Ses02M",
    }
