"""The benchmark for a GPU, at its smallest size on a CPU."""

import json

import pytest

from benchmarks import gpu, gpu_encoders
from benchmarks.card import Card


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Return the rows by name of all measurements."""
    folder = tmp_path_factory.mktemp("gpu")
    output = folder / "gpu.json"
    arguments = ["--smoke", "--device", "cpu", "--output", str(output)]
    scratch = folder / "not" / "there"
    assert gpu.main([*arguments, "--folder", str(scratch)]) == 0
    assert scratch.is_dir()
    by_name = {}
    for row in json.loads(output.read_text())["rows"]:
        by_name.setdefault(row["name"], []).append(row)
    return by_name


def test_every_measurement_has_a_row(rows, tmp_path):
    names = gpu.measurements(Card("cpu", True), tmp_path)
    assert list(rows) == list(names)
    for row in sum(rows.values(), []):
        assert row["values"], row
        assert all(value > 0 for value in row["values"]), row


def test_short_windows_are_less_work(rows):
    fit, whole = rows["whisper_bf16"][0], rows["whisper_30_s"][0]
    assert fit["hours"] == pytest.approx(whole["hours"])
    assert fit["operations"] < whole["operations"] / 10


def test_a_failure_is_a_row_and_the_rest_goes_on(monkeypatch, tmp_path, capsys):
    def fail(self):
        raise RuntimeError("no memory")
        yield

    monkeypatch.setattr(gpu_encoders.Encoders, "padding", fail)
    output = tmp_path / "gpu.json"
    arguments = ["--smoke", "--device", "cpu", "--output", str(output)]
    only = ["--only", "padding", "wavlm_bf16"]
    assert gpu.main([*arguments, *only]) == 1
    rows = json.loads(output.read_text())["rows"]
    failed = [row for row in rows if row["value"] == "failed"]
    assert [row["name"] for row in failed] == ["padding"]
    assert rows[-1]["name"] == "wavlm_bf16"
    assert "RuntimeError: no memory" in capsys.readouterr().out


def test_an_unknown_name_ends_in_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--output", str(tmp_path / "x.json"), "--only", "everything"])
    assert "choose of limits, padding" in capsys.readouterr().err
