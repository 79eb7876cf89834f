"""ECAPA-TDNN, filter banks and early fusion, from training to prediction."""

import copy
import csv
import json

import pytest
import torch
import yaml
from conftest import command_line, recordings_of

import export
import predict
import train
from modules.training.brain import EmotionBrain
from modules.training.run import Run


@pytest.fixture(scope="session")
def ecapa_command(shared_options):
    """Return a function: the command line of a small run of ecapa.yaml."""
    small = {
        "number_of_epochs": 1,
        "average_checkpoints": 1,
        "projection_size": 8,
        "ecapa_channels": 16,
        "cache_format": "float32",
    }

    def make(output_folder, **changes):
        options = shared_options | small | changes
        return command_line("ecapa", output_folder, options)

    return make


def predictions(folder, name="predictions.csv"):
    """Return the rows of a run by utterance."""
    with open(folder / name, newline="") as lines:
        return {row["utterance"]: row for row in csv.DictReader(lines)}


def check_export(run, folder):
    """Export a run; compare predict.py with the predictions of the run."""
    export.main([str(run), str(folder), "--include_encoder"])
    expected = predictions(run)
    output = folder.parent / "emotions.csv"
    names = {file: name for name, file in recordings_of(run).items()}
    status = predict.main(
        [str(folder), *names, f"--output={output}", "--device=cpu"]
    )
    assert status == 0
    labels = Run(run).labels
    with open(output, newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(expected)
    for row in rows:
        trained = expected[names[row["file"]]]
        torch.testing.assert_close(
            torch.tensor([float(row[f"p_{label}"]) for label in labels]),
            torch.tensor([float(trained[label]) for label in labels]),
            atol=1e-5,
            rtol=0,
        )


def test_ecapa_from_training_to_prediction(ecapa_command, tmp_path):
    train.main(ecapa_command(tmp_path / "run"))
    graph = Run(tmp_path / "run").graph
    assert graph["head"]["embedding"]["pooling"]["channels"] == 16
    check_export(tmp_path / "run", tmp_path / "model")


def test_the_mean_of_five_checkpoints_is_tested(command, tmp_path, monkeypatch):
    tested = []
    predict_all = EmotionBrain.predict

    def spy(brain, *args, **kwargs):
        predicted = predict_all(brain, *args, **kwargs)
        tested.append(copy.deepcopy(brain.modules.head.state_dict()))
        return predicted

    monkeypatch.setattr(EmotionBrain, "predict", spy)
    folder = tmp_path / "run"
    train.main(command(folder, number_of_epochs=7, average_checkpoints=5))
    found = {}
    for path in (folder / "save").glob("CKPT*/CKPT.yaml"):
        meta = yaml.safe_load(path.read_text())
        weights = torch.load(path.parent / "head.ckpt", weights_only=True)
        found[meta["dev_WA"], -meta["epoch"]] = weights
    assert 5 <= len(found) <= 6, "others are deleted"
    best = sorted(found, reverse=True)[:5]
    results = json.loads((folder / "results.json").read_text())
    assert results["averaged_epochs"] == sorted(-epoch for _, epoch in best)
    exported = Run(folder).weights()
    for name in found[best[0]]:
        mean = torch.stack([found[key][name] for key in best]).mean(dim=0)
        assert not torch.equal(mean, found[best[0]][name])
        for weights in (*tested, exported):
            torch.testing.assert_close(weights[name], mean)
    dev = predictions(folder, "dev_predictions.csv").values()
    right = sum(row["truth"] == row["prediction"] for row in dev)
    assert results["dev_WA"] == pytest.approx(right / len(dev))


def test_fbank_from_training_to_prediction(command, tmp_path):
    """An upstream without weights."""
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
    command, encoder_folder, tmp_path
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
    check_export(tmp_path / "run", tmp_path / "model")


def test_two_encoders_with_weights_are_not_exported(
    command, encoder_folder, tmp_path, capsys
):
    train.main(
        command(
            tmp_path / "run",
            encoder_hub=f"{encoder_folder('whisper')},{encoder_folder()}",
            number_of_epochs=1,
        )
    )
    with pytest.raises(SystemExit):
        export.main([str(tmp_path / "run"), str(tmp_path / "model")])
    assert "cannot contain two encoders" in capsys.readouterr().err
