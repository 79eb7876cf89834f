"""Distances from the training: a column and a warning."""

import csv
import json

import pytest
from conftest import recordings_of

import export
import predict
from modules.inference.predictor import Row
from modules.inference.records import average
from modules.inference.unlike import warn_of_unlike

WORDS = "recordings are unlike those that the model was trained on"


def rows_of(*distances):
    return [
        Row(f"{i}.wav", 0.0, 1.0, None, distance=distance)
        for i, distance in enumerate(distances)
    ]


def test_short_parts_have_a_remedy_of_their_own():
    assert "longer parts" in warn_of_unlike(rows_of(2.0), is_cut=True)
    assert "longer parts" not in warn_of_unlike(rows_of(2.0))


@pytest.mark.parametrize(
    "distances, is_warned",
    [
        ([2.0], True),
        ([0.9], False),
        ([2.0, 2.0, 0.5], False),  # of fewer than 5 all must be
        ([2.0] * 4, True),
        ([2.0] * 3 + [0.5] * 2, True),
        ([2.0] * 3 + [0.5] * 3, False),
        ([None] * 6, False),
        ([], False),
    ],
)
def test_when_a_folder_is_unlike(distances, is_warned):
    assert (warn_of_unlike(rows_of(*distances)) is not None) == is_warned


def test_a_recording_counts_once():
    near = rows_of(*[0.5] * 4)
    far = rows_of(2.0)[0]._replace(file="far.wav")
    assert warn_of_unlike([*near, *[far] * 20]) is None


def test_windows_are_averaged():
    import torch

    even = torch.zeros(2).log_softmax(0)
    rows = [r._replace(log_probabilities=even) for r in rows_of(1.0, 3.0)]
    assert average(rows).distance == pytest.approx(2.0)
    assert average(rows, [3.0, 1.0]).distance == pytest.approx(1.5)


def run(capsys, tmp_path, *arguments):
    """Return the rows of predict.py's CSV file, and its standard error."""
    output = tmp_path / "x.csv"
    arguments = [*map(str, arguments), f"--output={output}", "--device=cpu"]
    assert predict.main(arguments) == 0
    with open(output, newline="") as lines:
        return list(csv.DictReader(lines)), capsys.readouterr().err


def test_a_foreign_folder_is_warned_of(
    linear_model, foreign_folder, tmp_path, capsys
):
    rows, told = run(capsys, tmp_path, linear_model, foreign_folder)
    beyond = sum(float(row["distance"]) > 1 for row in rows)
    assert told.count("warning: ") == 1 and f"{beyond} of 10 {WORDS}" in told
    assert "--adapt" in told
    listed = f"--csv_file={foreign_folder / 'list.csv'}"
    assert WORDS in run(capsys, tmp_path, linear_model, listed)[1]
    for option in ("--adapt", f"--adapt_to={foreign_folder}"):
        given = (linear_model, foreign_folder, option)
        assert "warning" not in run(capsys, tmp_path, *given)[1]


def test_held_out_speakers_are_not(linear_runs, tmp_path, capsys):
    folder = tmp_path / "model"
    export.main([str(linear_runs[0]), str(folder), "--include_encoder"])
    files = recordings_of(linear_runs[0]).values()
    rows, told = run(capsys, tmp_path, folder, *files)
    assert "warning" not in told
    beyond = sum(float(row["distance"]) > 1 for row in rows) / len(rows)
    results = json.loads((linear_runs[0] / "results.json").read_text())
    shares = results["share_beyond_training"]
    assert shares["test"] == pytest.approx(beyond, abs=1e-6)
    assert 0 <= shares["dev"] <= 1


def test_a_model_of_gradient_descent_has_no_distance(
    exported, foreign_folder, tmp_path, capsys
):
    rows, told = run(capsys, tmp_path, exported, foreign_folder)
    assert [row["distance"] for row in rows] == [""] * 10
    assert "warning" not in told
