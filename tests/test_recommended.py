"""hparams/own_corpus.yaml: the recommended system from corpus to prediction."""

import csv
import json
import shutil

import floor
import numpy as np
import pytest
import soundfile
import torch
from exported_models import load_foreign

import export
import train
from modules.audio import read_waveform
from modules.training.brain import EmotionBrain


@pytest.fixture(scope="module")
def finished(recommended_command, tmp_path_factory):
    """Return a finished run and what it said of its test utterances."""
    folder = tmp_path_factory.mktemp("recommended") / "run"
    said = {}
    predict = EmotionBrain.predict

    def spy(brain, *args, **kwargs):
        predictions = predict(brain, *args, **kwargs)
        said.update(zip(predictions[0], predictions[2]))
        return predictions

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmotionBrain, "predict", spy)
        train.main(recommended_command(folder, cache_format="float32"))
    return folder, said


def test_a_run_leaves_what_is_promised(finished):
    folder, _ = finished
    results = json.loads((folder / "results.json").read_text())
    assert results["WA"] > 0.8  # tones of three pitches
    assert results["encoder_shape"] == [3, 32]
    assert results["strength"] > 0 and "best_epoch" not in results
    assert results["left_out_log_probability"] < 0
    for name in ("predictions.csv", "dev_predictions.csv", "run.json"):
        assert (folder / name).is_file()


def test_same_seed_same_result_bit_for_bit(
    finished, recommended_command, tmp_path
):
    train.main(recommended_command(tmp_path / "run", cache_format="float32"))
    for name in ("predictions.csv", "dev_predictions.csv", "results.json"):
        first, again = (finished[0] / name, tmp_path / "run" / name)
        assert first.read_bytes() == again.read_bytes()


def test_of_two_upstreams_all_layers_lie_side_by_side(
    recommended_command, encoder_folder, tmp_path
):
    train.main(
        recommended_command(
            tmp_path / "run", encoder_hub=f"{encoder_folder()},fbank"
        )
    )
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["encoder_shape"] == [[3, 1], [32, 80]]
    assert "layer_weights" not in results
    assert results["WA"] > 0.8


def test_exported_model_says_what_training_said(finished, tmp_path):
    folder, said = finished
    target = tmp_path / "exported"
    export.main([str(folder), str(target), "--include_encoder"])
    card = (target / "README.md").read_text()
    assert "correlations of the middle layer" in " ".join(card.split())
    model = load_foreign(target)
    entries = json.loads((folder / "manifests/test.json").read_text())
    root = json.loads((folder / "settings.json").read_text())["data_folder"]
    for name, expected in said.items():
        file = entries[name]["wav"].replace("{data_root}", root)
        wave = read_waveform(file)
        torch.testing.assert_close(
            model.classify_file(file)[0][0], expected, atol=1e-5, rtol=1e-5
        )
        padded = torch.cat([wave, torch.full((5000,), 7.0)])
        lengths = torch.tensor([len(wave) / len(padded)])
        torch.testing.assert_close(
            model.classify_batch(padded[None], lengths)[0][0],
            expected,
            atol=1e-5,
            rtol=1e-5,
        )


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"pooling": "attentive_corr"}, "take hparams/corr_*.yaml"),
        ({"projection_size": 8}, "projection_size 8"),
        ({"standardize": "false"}, "standardize False"),
        ({"correlated_layer": 0}, "counted from 1, or null"),
        ({"correlated_layer": 3}, "correlated_layer 3 does not exist"),
        ({"layer_pooling": "best"}, "choose one of sum, stack"),
        ({"train_on_dev": "perhaps"}, "train_on_dev must be true or false"),
        ({"choose_moments": 2}, "choose_moments must be true or false"),
        ({"label_smoothing": 1.5}, "label_smoothing must be"),
        ({"soft_labels": "agreement"}, "agreement is not known of"),
    ],
)
def test_bad_settings_are_one_sentence(
    recommended_command, tmp_path, capsys, changes, words
):
    with pytest.raises(SystemExit) as stopped:
        train.main(recommended_command(tmp_path / "run", **changes))
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert words in message and "Traceback" not in message, message


def corpus(folder, counts, speakers, seed=0):
    """Write tones: class -> number of utterances; return the CSV file."""
    rng = np.random.default_rng(seed)
    rows = []
    for k, (label, count) in enumerate(counts.items()):
        for i in range(count):
            time = np.arange(3200 + rng.integers(1600)) / 16000
            pitch = 150 * 1.25**k * rng.uniform(0.95, 1.05)
            wave = 0.3 * np.sin(2 * np.pi * pitch * time)
            wave += 0.01 * rng.standard_normal(len(time))
            name = f"{label}_{i}.wav"
            soundfile.write(folder / name, wave, 16000)
            rows.append([name, label, speakers(k, i)])
    path = folder / "corpus.csv"
    with open(path, "w", newline="") as out:
        csv.writer(out).writerows([["path", "label", "speaker"], *rows])
    return path


@pytest.mark.parametrize(
    "counts, speakers, said",
    [
        # 40 utterances
        ({"a": 20, "b": 20}, lambda k, i: f"s{i % 4}", ""),
        # classes that a single speaker of the training part says
        (
            {"a": 12, "b": 12, "c": 12},
            lambda k, i: f"s{k}" if k == 0 else f"s{i % 4}{k}",
            "single speaker",
        ),
        # 100 : 1
        ({"a": 400, "b": 4}, lambda k, i: f"s{i % 4}", ""),
        # 20 classes
        (
            {f"c{k}": 8 for k in range(20)},
            lambda k, i: f"s{i % 4}",
            "",
        ),
    ],
    ids=["40 utterances", "one speaker of a class", "100 to 1", "20 classes"],
)
def test_unusual_corpora(
    recommended_command, tmp_path, capsys, counts, speakers, said
):
    (tmp_path / "audio").mkdir()
    path = corpus(tmp_path / "audio", counts, speakers)
    options = {
        "csv_file": path,
        "cache_folder": tmp_path / "cache",
        "number_of_folds": 2,
        "test_fold": 2,
    }
    train.main(recommended_command(tmp_path / "run", **options))
    assert said in capsys.readouterr().out
    results = json.loads((tmp_path / "run/results.json").read_text())
    floor.main(recommended_command(tmp_path / "floor", **options))
    below = json.loads((tmp_path / "floor/results.json").read_text())
    tolerated = 2 * (0.25 / results["n_test"]) ** 0.5
    assert results["WA"] > below["WA"] - tolerated
    assert results["UA"] > below["UA"] - tolerated
    shutil.rmtree(tmp_path / "run")
