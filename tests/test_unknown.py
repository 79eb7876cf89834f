"""predict.py --min_precision: what is written where no class is probable."""

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest
import soundfile
from exported_models import spoken

import predict
from modules.errors import BadInput
from modules.inference.confidence import CONFIDENCE, DEV, Curve, plain_curve
from modules.inference.loading import load_model
from modules.inference.recognizer import Recognizer
from modules.inference.recording_page import Answer, render


def run(*arguments):
    return predict.main([*map(str, arguments), "--device=cpu"])


def highest(row):
    return max(float(v) for k, v in row.items() if k.startswith("p_"))


def read_csv(path):
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    for number in range(5):
        wave = spoken(0.4, seed=number)
        soundfile.write(folder / f"{number}.wav", wave, 16000)
    rows = ["path,label", *(f"{i}.wav,calm" for i in range(5))]
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def cautious(exported, folder, tmp_path_factory):
    """Return a model that answers some of the recordings at 0.9, and all rows."""
    root = tmp_path_factory.mktemp("cautious")
    run(exported, folder, f"--output={root / 'all.csv'}")
    rows = read_csv(root / "all.csv")
    middle = float(np.median([highest(row) for row in rows])) - 1e-5
    counts = np.array([100, 200]), np.array([100, 100])
    curve = Curve(DEV, np.array([middle, middle / 2]), *counts)
    shutil.copytree(exported, root / "model")
    text = json.dumps(plain_curve(curve))
    (root / "model" / CONFIDENCE).write_text(text)
    return root / "model", middle, rows


def test_answers_below_the_threshold_are_unknown(cautious, folder, tmp_path):
    model, threshold, rows = cautious
    output = tmp_path / "x.csv"
    run(model, folder, "--min_precision=0.9", f"--output={output}")
    found = read_csv(output)
    assert [row["emotion"] for row in found] == [
        row["emotion"] if highest(row) >= threshold else "unknown"
        for row in rows
    ]
    kept = [{**row, "emotion": ""} for row in found]
    assert kept == [{**row, "emotion": ""} for row in rows]
    assert 0 < sum(row["emotion"] == "unknown" for row in found) < len(rows)


def test_a_labelled_list_is_scored_with_what_is_answered(
    cautious, folder, capsys
):
    model, threshold, rows = cautious
    known = [row for row in rows if highest(row) >= threshold]
    right = sum(row["emotion"] == "calm" for row in known) / len(known)
    run(model, f"--csv_file={folder / 'list.csv'}", "--min_precision=0.9")
    text = (
        f"--min_precision: {len(known)} of 5 recordings "
        f"({len(known) / 5:.1%}) have an answer, {right:.1%} of these are right"
    )
    assert text in capsys.readouterr().out


def test_a_list_without_unknown_answers_has_the_line_too(
    cautious, folder, capsys
):
    options = [f"--csv_file={folder / 'list.csv'}", "--min_precision=0.01"]
    run(cautious[0], *options)
    assert "5 of 5 recordings (100.0%) have" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".TextGrid", ".srt", ".rttm", ".eaf"])
def test_annotations_have_unknown(cautious, folder, tmp_path, suffix):
    model, _, rows = cautious
    name = min(rows, key=highest)["file"]
    output = tmp_path / f"x{suffix}"
    options = ["--min_precision=0.9", "--segments=60", f"--output={output}"]
    run(model, name, *options)
    text = output.read_text()
    assert "unknown" in text
    if suffix == ".srt":
        assert "%" not in text


def test_audformat_has_unknown_as_a_label(cautious, folder, tmp_path):
    audformat = pytest.importorskip("audformat")
    output = tmp_path / "x.audformat"
    model, threshold, rows = cautious
    run(model, folder, "--min_precision=0.9", f"--output={output}")
    frame = audformat.Database.load(str(output))["emotion"].get()
    unknown = sum(highest(row) < threshold for row in rows)
    assert (frame["emotion"] == "unknown").sum() == unknown


def test_the_recognizer_answers_unknown(cautious):
    model, threshold, rows = cautious
    recognizer = Recognizer(str(model), device="cpu", min_precision=0.9)
    for row in rows:
        answer = recognizer(row["file"])
        is_known = highest(row) >= threshold
        assert answer.emotion == (row["emotion"] if is_known else "unknown")
    with pytest.raises(BadInput, match="leave out --labels"):
        Recognizer(str(model), labels=["calm", "mad"], min_precision=0.9)


def test_the_page_shows_unknown_and_what_is_nearest(folder):
    segments = [(0.0, 0.4, [0.6, 0.4])]
    path = str(folder / "0.wav")
    answer = Answer(path, 0.4, [0.6, 0.4], segments, [], threshold=0.7)
    text = render([answer], [], ["calm", "mad"])
    words = " ".join(text.split())
    assert "unknown" in text and "most probable: calm 60%" in words
    assert "<td>unknown</td>" in text
    known = render([answer._replace(threshold=0.6)], [], ["calm", "mad"])
    assert "unknown" not in known


@pytest.mark.parametrize(
    "options, words",
    [
        (["--min_precision=0.9", "--labels=calm,mad"], "leave out --labels"),
        (["--min_precision=0.9", "--adapt"], "does not hold for an adapted"),
        (["--min_precision=0.999"], "0.97 at best"),
        (["--min_precision=2"], "must lie between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    cautious, folder, capsys, options, words
):
    with pytest.raises(SystemExit):
        run(cautious[0], folder, *options)
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error


def test_a_link_out_of_the_folder_is_refused(cautious, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(cautious[0], model)
    place = pathlib.Path(model, CONFIDENCE)
    place.rename(tmp_path / CONFIDENCE)
    place.symlink_to(tmp_path / CONFIDENCE)
    with pytest.raises(BadInput, match="link out of the model's folder"):
        load_model(model)
