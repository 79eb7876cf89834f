"""Tables: the same records in CSV, JSON lines and Parquet; embeddings."""

import csv
import json

import numpy as np
import pytest
import torch
from answers import LABELS, answer, overlapping

from modules.errors import BadInput
from modules.inference.formats import write_embeddings, write_table
from modules.inference.recordings import Problem
from modules.inference.records import Columns, summarise


def read(path):
    """Return the records of a table without what is empty."""
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as lines:
            records = list(csv.DictReader(lines))
    elif path.suffix == ".jsonl":
        records = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        records = parquet.read_table(path).to_pylist()
    return [
        {k: v for k, v in r.items() if v not in ("", None)} for r in records
    ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_same_records_in_each_table(tmp_path, suffix):
    rows = [answer(0.0, 1.5, 0, file="a.wav"), answer(0, 2, 1, file="b.wav")]
    problems = [Problem("c.wav", None, "c.wav is silent")]
    listed = {
        "a.wav": {"id": "007", "emotion": "anger", "more": {"x": [1]}},
        "c.wav": {"id": "8", "start": "9"},
    }
    columns = Columns(LABELS, listed=listed)
    path = tmp_path / f"x{suffix}"
    write_table(path, suffix, columns, rows, problems)
    first, second, third = read(path)
    assert first["file"] == "a.wav" and first["emotion"] == "anger"
    assert float(first["end"]) == 1.5 and float(first["p_anger"]) == 0.75
    assert (first["id"], first["list_emotion"]) == ("007", "anger")
    assert first["more"] in ('{"x": [1]}', {"x": [1]})
    assert "id" not in second and second["emotion"] == LABELS[1]
    assert third == {
        "file": "c.wav",
        "problem": "c.wav is silent",
        "id": "8",
        "list_start": "9",
    }
    if suffix == ".parquet":
        assert isinstance(first["p_anger"], float)


def test_parquet_of_nothing_has_its_columns(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    write_table(path, ".parquet", Columns(LABELS), [], [])
    assert parquet.read_table(path).column_names == Columns(LABELS).names


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_embeddings(tmp_path, suffix):
    wanted = torch.arange(8.0).view(2, 4) / 3
    rows = [
        answer(i, i + 1.0, 0, channel="left", embedding=wanted[i])
        for i in range(2)
    ]
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, Columns(LABELS, has_channels=True), rows)
    if suffix == ".npz":
        found = dict(np.load(path, allow_pickle=False))
        embeddings = found["embedding"]
        assert embeddings.dtype == "float32"
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        found = parquet.read_table(path).to_pydict()
        embeddings = np.array(found["embedding"], "float32")
    assert np.array_equal(embeddings, wanted.numpy())
    assert list(found["start"]) == [0, 1]
    assert list(found["channel"]) == ["left"] * 2
    assert list(found["emotion"]) == ["anger"] * 2


def test_a_summary_is_weighted_by_duration():
    rows = [
        answer(0.0, 3.0, 0, speaker="A"),
        answer(3.0, 4.0, 1, speaker="A"),
        answer(1.0, 2.0, 2, speaker="B"),
    ]
    first, second = summarise(rows)
    expected = torch.tensor([0.75 * 3 + 0.125, 0.125 * 3 + 0.75, 0.5]) / 4
    torch.testing.assert_close(first.log_probabilities.exp(), expected)
    assert first[:3] == ("a.wav", 0.0, 4.0) and first.speaker == "A"
    assert second[1:3] == (1.0, 2.0) and second.speaker == "B"
    (whole,) = summarise(overlapping())
    assert whole.end == 8.5


def test_audformat_by_its_own_library(tmp_path):
    audformat = pytest.importorskip("audformat")
    from modules.inference.audformat_output import TABLE, write_audformat

    rows = overlapping(channel="left") + [answer(0.0, 1.0, 2, "b.wav")]
    listed = {"b.wav": {"emotion": "x", "age": 7}}
    columns = Columns(LABELS, has_channels=True, listed=listed)
    folder = tmp_path / "x.audformat"
    write_audformat(folder, columns, rows)
    database = audformat.Database.load(str(folder))
    assert list(database.schemes["emotion"].labels) == LABELS
    table = database[TABLE].get()
    assert list(table["emotion"]) == [*LABELS, LABELS[2]]
    starts = table.index.get_level_values("start").total_seconds()
    ends = table.index.get_level_values("end").total_seconds()
    assert list(zip(starts, ends)) == [(row.start, row.end) for row in rows]
    assert list(table.index.get_level_values("file")) == ["a.wav"] * 3 + [
        "b.wav"
    ]
    assert table["p_anger"].tolist() == [0.75, 0.125, 0.125, 0.125]
    assert table["list_emotion"].iloc[3] == "x"
    assert table["channel"].iloc[0] == "left"
    with pytest.raises(BadInput, match="exists and contains something else"):
        write_audformat(folder, columns, rows)
