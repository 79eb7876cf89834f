"""The files of a model's folder, and its encoder."""

import json
import pathlib
import shutil

import pytest
import soundfile
import torch
from conftest import ROOT
from exported_models import CPU, load_foreign, snapshot
from speechbrain.inference.classifiers import EncoderClassifier

import export
from modules.errors import BadInput
from modules.inference.packaging import (
    build,
    encoder_contents,
    pinned_revision,
    write_files,
)
from modules.models.encoder import FrozenEncoder
from modules.training.run import Run


def change_graph(run, part, **changes):
    """Change values of one part of the graph.json of a run."""
    path = run / "graph.json"
    graph = json.loads(path.read_text())
    graph[part] |= changes
    path.write_text(json.dumps(graph))


def test_the_files_of_the_folder(exported):
    assert set(snapshot(exported)) >= {
        "README.md",
        "hyperparams.yaml",
        "head.safetensors",
        "label_encoder.txt",
        "custom_interface.py",
        "encoder/config.json",
        "encoder/preprocessor_config.json",
        "encoder/model.safetensors",
    }
    for path in exported.rglob("*"):
        if path.suffix in (".md", ".yaml", ".py", ".txt"):
            assert str(ROOT.parent) not in path.read_text(), "a machine's path"


def test_the_example_is_speech_that_can_be_classified(exported):
    pytest.importorskip("espeakng_loader")
    wav = exported / "example.wav"
    assert soundfile.info(wav).duration > 0.5
    model = load_foreign(exported)
    assert model.classify_file(wav)[0].exp().sum() == pytest.approx(1)


def test_another_encoder_is_refused(trained, encoder_folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folders[1], run)
    change_graph(run, "encoder", hub=encoder_folder(seed=1))
    with pytest.raises(BadInput, match="not the one"):
        build([Run(run)], True, None, None, "x")


def test_a_hub_encoder_is_pinned(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--a--b/snapshots" / commit
    folder.mkdir(parents=True)
    assert pinned_revision(folder, "a/b", None) == commit
    assert pinned_revision(folder, "a/b", "main") == commit
    assert pinned_revision(tmp_path, str(tmp_path), None) is None


def test_a_hub_encoder_is_not_copied(
    trained, recordings, tmp_path, monkeypatch
):
    """It is downloaded by name and revision."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    run = tmp_path / "run"
    shutil.copytree(trained.folders[1], run)
    local = Run(run).graph["encoder"]["hub"]
    cached = tmp_path / "hf/models--a--b/snapshots" / commit
    shutil.copytree(local, cached)
    (cached.parents[1] / "refs").mkdir()
    (cached.parents[1] / "refs/main").write_text(commit)
    change_graph(run, "encoder", hub="a/b")
    requested = []

    def download(name, revision=None, **kwargs):
        requested.append((name, revision))
        return str(cached)

    # The first is what export.py calls, the second what the model's own code
    # imports.
    monkeypatch.setattr(
        "modules.models.encoder_files.snapshot_download", download
    )
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    export.main([str(run), str(tmp_path / "x")])
    assert not (tmp_path / "x/encoder").exists()
    assert commit in (tmp_path / "x/README.md").read_text()
    model = EncoderClassifier.from_hparams(
        source=str(tmp_path / "x"), run_opts=CPU
    )
    assert requested[-1] == ("a/b", commit)
    name, wav = next(iter(recordings.items()))
    torch.testing.assert_close(
        model.classify_file(wav)[0][0],
        trained.log_probabilities[1][name],
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("family", ["wavlm", "whisper"])
def test_pytorch_weights_become_safetensors(family, encoder_folder, tmp_path):
    from safetensors.torch import load_file

    source = pathlib.Path(encoder_folder(family))
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(source, old)
    weights = load_file(old / "model.safetensors")
    (old / "model.safetensors").unlink()
    torch.save(weights, old / "pytorch_model.bin")
    new.mkdir()
    write_files(new, encoder_contents(old))
    assert not list(new.glob("*.bin"))
    wavs = torch.randn(1, 8000)
    states = [FrozenEncoder(folder)(wavs)[0] for folder in (source, new)]
    assert states[0].equal(states[1])
