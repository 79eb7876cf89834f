"""A system that is trained on one channel of stereo reads it everywhere."""

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.inference.interfaces import foreign_class

import export
import predict
import train
from data_prep import corpora
from modules.errors import BadInput
from modules.files import read_json
from modules.inference.loading import load_model
from tests.attacks.attacked_corpus import ROWS, prepare, write_list


@pytest.fixture(scope="module")
def stereo(tone_corpus, tmp_path_factory):
    """Return a copy of the tones with noise in the right channel."""
    folder = tmp_path_factory.mktemp("stereo")
    rng = np.random.default_rng(1)
    mono = pathlib.Path(tone_corpus)
    for path in sorted(mono.parent.glob("*.wav")):
        tone, rate = soundfile.read(path, dtype="int16")
        noise = rng.integers(-9000, 9000, len(tone), "int16")
        soundfile.write(folder / path.name, np.stack([tone, noise], 1), rate)
    path = folder / "corpus.csv"
    path.write_bytes(mono.read_bytes())
    return path


@pytest.fixture(scope="module")
def runs(linear_command, stereo, tmp_path_factory):
    """Return the runs on the mono corpus, and on channels of the other."""
    folder = tmp_path_factory.mktemp("runs")
    train.main(linear_command(folder / "mono"))
    for channel in ("left", "right", "mean"):
        options = {"csv_file": stereo, "channel": channel}
        train.main(linear_command(folder / channel, **options))
    return folder


@pytest.fixture(scope="module")
def model(runs):
    """Return the exported model of the left channel, with its graph."""
    folder = runs / "model"
    arguments = [str(runs / "left"), str(folder)]
    export.main([*arguments, "--include_encoder", "--onnx"])
    return folder


def read_rows(path):
    """Return the rows of a CSV file."""
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_left_channel_gives_what_its_mono_copy_gives(runs):
    name = "predictions.csv"
    assert read_rows(runs / "left" / name) == read_rows(runs / "mono" / name)


def test_channels_of_one_recording_are_stored_apart(runs):
    found = [
        (runs / channel / "predictions.csv").read_text()
        for channel in ("left", "right", "mean")
    ]
    assert len(set(found)) == 3


def test_a_run_goes_on_with_its_own_channel_alone(linear_command, runs, stereo):
    options = {"csv_file": stereo, "channel": "right"}
    with pytest.raises(SystemExit) as stopped:
        train.main(linear_command(runs / "left", **options))
    assert stopped.value.code == 2


def scores(folder, files, *more):
    """Return the probabilities that predict.py writes."""
    output = folder / "answers.jsonl"
    arguments = [str(folder), *map(str, files), f"--output={output}", *more]
    assert predict.main([*arguments, "--device=cpu"]) == 0
    lines = output.read_text().splitlines()
    names = ("p_calm", "p_glad", "p_mad")
    rows = map(json.loads, lines)
    return np.array([[row[name] for name in names] for row in rows])


def test_predict_reads_the_channel_of_the_training(
    model, stereo, tone_corpus, capsys
):
    names = ["0_calm_0.wav", "1_mad_2.wav"]
    mono = [pathlib.Path(tone_corpus).parent / name for name in names]
    both = [stereo.parent / name for name in names]
    expected = scores(model, mono)
    np.testing.assert_array_equal(scores(model, both), expected)
    assert "warning" not in capsys.readouterr().err
    other = scores(model, both, "--channel=right")
    assert not np.allclose(other, expected, atol=1e-3)
    assert "trained on --channel left" in capsys.readouterr().err
    np.testing.assert_allclose(
        scores(model, both, "--engine=onnx"), expected, atol=1e-5
    )
    for load in (
        lambda **where: foreign_class(
            pymodule_file="custom_interface.py",
            classname="EmotionClassifier",
            **where,
        ),
        EncoderClassifier.from_hparams,
    ):
        classifier = load(source=str(model))
        for path, own in zip(both, expected):
            found = classifier.classify_file(str(path))[0].exp()[0]
            torch.testing.assert_close(
                found, torch.tensor(own), atol=1e-5, rtol=0, check_dtype=False
            )


def write_stereo(folder, right):
    """Write a corpus of stereo noise whose right channel depends on the left."""
    rng = np.random.default_rng(0)
    for name, *_ in ROWS:
        left = rng.uniform(-0.5, 0.5, 480)
        pair = np.stack([left, right(left)], axis=1)
        soundfile.write(folder / name, pair, 16000)
    write_list(folder)


def test_an_inverted_channel_is_refused_before_training(tmp_path):
    write_stereo(tmp_path, lambda left: -left)
    with pytest.raises(BadInput, match="ann_calm_1.wav.*--channel left"):
        prepare(tmp_path)
    manifests = prepare(tmp_path, channel="right")
    assert {e["channel"] for m in manifests.values() for e in m.values()} == {
        "right"
    }


def test_channels_that_largely_cancel_are_a_warning(tmp_path, caplog):
    write_stereo(tmp_path, lambda left: -0.8 * left)
    prepare(tmp_path)
    assert "the channels cancel" in caplog.text
    assert caplog.text.count("cancel") == 1


def test_mono_has_no_right_channel(tmp_path):
    rng = np.random.default_rng(0)
    for name, *_ in ROWS:
        soundfile.write(tmp_path / name, rng.uniform(-0.5, 0.5, 480), 16000)
    write_list(tmp_path)
    left = prepare(tmp_path, channel="left")
    assert left == prepare(tmp_path)
    with pytest.raises(BadInput, match="does not have the channel"):
        corpora.prepare(
            "csv",
            tmp_path,
            tmp_path / "my.csv",
            tmp_path / "other",
            1,
            number_of_folds=4,
            channel="right",
        )


def test_the_remedy_helps_in_the_same_folder(linear_command, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(linear_command(tmp_path / "run", channel="right"))
    assert "give --channel mean or left" in capsys.readouterr().err
    train.main(linear_command(tmp_path / "run", channel="left"))
    assert (tmp_path / "run" / "results.json").exists()


def test_an_unknown_channel_of_a_model_is_refused(model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    path = folder / "hyperparams.yaml"
    path.write_text(
        path.read_text().replace("channel: left", "channel: [left]")
    )
    with pytest.raises(BadInput, match="has channel .'left'."):
        load_model(folder)


def test_the_graph_of_a_run_has_its_channel(runs):
    graph = read_json(runs / "left" / "graph.json")
    assert graph["encoder"]["channel"] == "left"
