"""IEMOCAP's layout: every encoder family and every hyperparameter file."""

import json
import re

import pytest
from conftest import ENCODERS, command_line

import train
from demo.synthetic_corpus import make_corpus

SYSTEMS = [("corr_wavlm", family, norm) for family, norm in ENCODERS]
SYSTEMS += [
    (name, "wavlm", True)
    for name in (
        "corr_modern",
        "recommended",
        "baseline",
        "ecapa",
        "finetune",
    )
]
ONE_EPOCH = {
    "corr_wavlm": {"number_of_epochs": 1},
    "corr_modern": {"number_of_epochs": 1},
    "ecapa": {"number_of_epochs": 1, "average_checkpoints": 1},
    "finetune": {"number_of_epochs": 1, "average_checkpoints": 1},
}


@pytest.fixture(scope="module")
def synthetic_iemocap(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "synthetic_iemocap"
    make_corpus(folder, utterances_per_class_and_speaker=1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name, family, layer_norm", SYSTEMS)
def test_training_on_a_tree_in_the_layout_of_iemocap(
    name, family, layer_norm, synthetic_iemocap, encoder_folder, tmp_path
):
    options = {
        "corpus": "iemocap",
        "data_folder": synthetic_iemocap,
        "encoder_hub": encoder_folder(family, layer_norm),
        "test_fold": 2,
    }
    if name != "finetune":
        options["cache_folder"] = tmp_path / "cache"
    options |= ONE_EPOCH.get(name, {})
    train.main(command_line(name, tmp_path / "run", options))
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["labels"] == ["ang", "hap", "neu", "sad"]
    assert results["n_test"] == 8
    manifest = (tmp_path / "run/manifests/test.json").read_text()
    assert set(re.findall('"speaker": "(.*?)"', manifest)) == {
        "Ses02F",
        "Ses02M",
    }
    graph = json.loads((tmp_path / "run/graph.json").read_text())
    assert graph["corpus"]["identifier"] == "synthetic", "not IEMOCAP"
