"""The second system's parts, from train.py to predict.py."""

import copy
import csv
import json

import pytest
import torch
import yaml

import export
import predict
import train
from modules.training.brain import EmotionBrain
from modules.training.run import Run


def predictions(folder, name="predictions.csv"):
    """Return the rows of a run by utterance."""
    with open(folder / name, newline="") as lines:
        return {row["utterance"]: row for row in csv.DictReader(lines)}


def check_export(run, folder):
    """Export a run; predict.py must say what training said."""
    export.main([str(run), str(folder), "--include_encoder"])
    entries = json.loads((run / "manifests/test.json").read_text())
    data = json.loads((run / "settings.json").read_text())["data_folder"]
    wanted = predictions(run)
    output = folder.parent / "emotions.csv"
    files = {
        entry["wav"].replace("{data_root}", data): utterance
        for utterance, entry in entries.items()
    }
    status = predict.main(
        [str(folder), *files, f"--output={output}", "--device=cpu"]
    )
    assert status == 0
    labels = json.loads((run / "results.json").read_text())["labels"]
    with open(output, newline="") as lines:
        for row in csv.DictReader(lines):
            told = torch.tensor([float(row[f"p_{label}"]) for label in labels])
            trained = wanted[files[row["file"]]]
            trained = torch.tensor([float(trained[label]) for label in labels])
            torch.testing.assert_close(told, trained, atol=2e-4, rtol=0)


def test_ecapa_from_training_to_prediction(command, tmp_path):
    train.main(
        command(
            tmp_path / "run",
            pooling="ecapa_tdnn",
            number_of_epochs=1,
            cache_format="float32",
        )
    )
    check_export(tmp_path / "run", tmp_path / "model")


def test_the_mean_of_five_checkpoints_is_tested(command, tmp_path, monkeypatch):
    tested = []
    predict_all = EmotionBrain.predict

    def spy(brain, *args, **kwargs):
        told = predict_all(brain, *args, **kwargs)
        tested.append(copy.deepcopy(brain.modules.head.state_dict()))
        return told

    monkeypatch.setattr(EmotionBrain, "predict", spy)
    folder = tmp_path / "run"
    train.main(command(folder, number_of_epochs=7, average_checkpoints=5))
    found = {}
    for path in (folder / "save").glob("CKPT*/CKPT.yaml"):
        meta = yaml.safe_load(path.read_text())
        weights = torch.load(path.parent / "head.ckpt", weights_only=True)
        found[meta["dev_WA"], -meta["epoch"]] = weights
    assert 5 <= len(found) <= 6, "old ones go"
    best = sorted(found, reverse=True)[:5]
    results = json.loads((folder / "results.json").read_text())
    assert results["averaged_epochs"] == sorted(-epoch for _, epoch in best)
    exported = Run(folder).weights
    for name in found[best[0]]:
        mean = torch.stack([found[key][name] for key in best]).mean(dim=0)
        assert not torch.equal(mean, found[best[0]][name])
        for weights in (*tested, exported):
            torch.testing.assert_close(weights[name], mean)
    dev = predictions(folder, "dev_predictions.csv").values()
    right = sum(row["truth"] == row["prediction"] for row in dev)
    assert results["dev_WA"] == pytest.approx(right / len(dev))


def test_more_checkpoints_than_epochs_are_one_sentence(
    command, tmp_path, capsys
):
    with pytest.raises(SystemExit):
        train.main(command(tmp_path / "run", average_checkpoints=5))
    words = "average_checkpoints 5 needs as many epochs and number_of_epochs"
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists(), "before training"


def test_runs_from_before_averaging_go_on(command, tmp_path):
    again = command(tmp_path / "run", number_of_epochs=1)
    train.main(again)
    path = tmp_path / "run/settings.json"
    settings = json.loads(path.read_text())
    del settings["average_checkpoints"]
    path.write_text(json.dumps(settings))
    train.main(again)


def test_fbank_from_training_to_prediction(command, tmp_path):
    """No upstream has pretrained weights, and nothing else changes."""
    train.main(
        command(
            tmp_path / "run",
            encoder_hub="fbank",
            pooling="attentive_corr",
            number_of_epochs=1,
            cache_format="float32",
        )
    )
    check_export(tmp_path / "run", tmp_path / "model")


def test_early_fusion_from_training_to_prediction(
    command, encoder_folder, tmp_path, capsys
):
    """Whisper and Fbank differ in their frame rates."""
    train.main(
        command(
            tmp_path / "run",
            encoder_hub=f"{encoder_folder('whisper')},fbank",
            number_of_epochs=1,
            cache_format="float32",
        )
    )
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert len(results["layer_weights"]) == 4
    assert sum(results["layer_weights"]) == pytest.approx(1)
    with pytest.raises(SystemExit):
        export.main([str(tmp_path / "run"), str(tmp_path / "model")])
    assert "cannot hold two encoders" in capsys.readouterr().err
