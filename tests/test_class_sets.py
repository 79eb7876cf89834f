"""A class set is a part of a run: its results, its identity, its model."""

import json

import pytest

import export
import train
from modules.experiments.experiment_file import ROOT
from modules.training.command_line import top_level_keys

CLASSES = "calm+glad=quiet,mad"


def test_a_run_of_other_classes(linear_command, tmp_path, capsys):
    folder = tmp_path / "run"
    train.main(linear_command(folder, "baseline", classes=CLASSES))
    results = json.loads((folder / "results.json").read_text())
    assert results["labels"] == ["mad", "quiet"]
    manifest = json.loads((folder / "manifests/test.json").read_text())
    assert {(e["label"], e["corpus_label"]) for e in manifest.values()} == {
        ("quiet", "calm"),
        ("quiet", "glad"),
        ("mad", "mad"),
    }
    # The same command finds the run, another class set is refused.
    train.main(linear_command(folder, "baseline", classes=CLASSES))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        train.main(linear_command(folder, "baseline", classes="calm,mad"))
    error = capsys.readouterr().err
    assert f"a run with classes {CLASSES} instead of calm,mad" in error
    export.main([str(folder), str(tmp_path / "model"), "--include_encoder"])
    card = (tmp_path / "model/README.md").read_text()
    assert "classes calm+glad=quiet, mad" in card
    assert "recognition: mad, quiet." in card


def test_a_wrong_class_set_encodes_nothing(linear_command, tmp_path, capsys):
    cache = tmp_path / "cache"
    with pytest.raises(SystemExit):
        train.main(
            linear_command(
                tmp_path / "run",
                "baseline",
                classes="calm,sad",
                cache_folder=cache,
            )
        )
    assert "choose from calm 20, glad 20, mad 20." in capsys.readouterr().err
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "hparams").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_hyperparameter_file_takes_them(path):
    assert {"classes", "part", "columns"} <= set(top_level_keys(path))
