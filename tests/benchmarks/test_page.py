"""The page of all figures, with its cheapest parts."""

import pandas as pd
import pytest

from benchmarks import linear, page, page_training


def lines_of(capsys):
    """Return the rows that were printed, without the header."""
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if line.startswith("| ")][1:]


def test_a_figure_has_goal_limit_and_what_is_reached(capsys, tmp_path):
    output = tmp_path / "page.md"
    arguments = ["--only", "padding", "--output", str(output)]
    assert page.main(arguments) == 0
    (line,) = lines_of(capsys)
    _, goal, limit, reached = map(str.strip, line.strip("| ").split(" | "))
    assert (goal, limit) == ("under 5%", "0")
    assert 0 < float(reached.rstrip("%")) < 5
    assert line in output.read_text()


def test_parts_without_speech_are_skipped(capsys, tmp_path):
    speech = ["windows", "five_folds", "start", "engines", "tuning"]
    assert page.main(["--only", *speech]) == 0
    lines = lines_of(capsys)
    assert len(lines) == len(speech)
    assert all("skipped: needs EmoDB" in line for line in lines)
    arguments = ["--data_folder", str(tmp_path), "--only", "windows"]
    assert page.main(arguments) == 0
    assert "skipped: no wav/" in lines_of(capsys)[0]


def test_a_missing_encoder_is_a_reason(capsys, tmp_path):
    (tmp_path / "wav").mkdir()
    arguments = ["--data_folder", str(tmp_path), "--only", "windows"]
    assert page.main([*arguments, "--encoder_hub", "./nowhere"]) == 0
    (line,) = lines_of(capsys)
    assert "skipped: " in line and "./nowhere" in line


def test_a_failure_is_a_row_and_the_rest_goes_on(capsys, monkeypatch):
    def fail(options, folder):
        raise OSError("no room")
        yield

    parts = {"memory": fail, "padding": page_training.measure_padding}
    monkeypatch.setattr(page, "PARTS", parts)
    assert page.main(["--only", "memory", "padding"]) == 1
    first, second = lines_of(capsys)
    assert "**failed**: OSError: no room" in first
    assert "1.6%" in second


def test_a_size_measured_again_replaces_the_earlier_one(tmp_path):
    path = tmp_path / "linear.csv"
    sizes = [(500, 4, 2.0), (1500, 4, 12.0), (500, 4, 3.0)]
    for count, classes, seconds in sizes:
        row = {"utterances": count, "classes": classes}
        linear.keep([row | {"core_seconds": seconds, "run": "x"}], path)
    table = pd.read_csv(path)
    assert table["utterances"].tolist() == [500, 1500]
    assert table["core_seconds"].tolist() == [3.0, 12.0]
    assert path.with_suffix(".png").stat().st_size > 1000


def test_linear_is_measured(capsys):
    linear.main(["--utterances", "40", "--classes", "2"])
    assert "40 utterances, 2 classes: rotation" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--only", "--repeats"])
def test_a_wrong_option_is_refused(option):
    with pytest.raises(SystemExit):
        page.main([option, "everything"])
