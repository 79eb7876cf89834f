"""Emotion over time, read back by the libraries of each format."""

import pathlib

import pytest
from answers import BORDERS, LABELS, answer, overlapping
from hypothesis import given, strategies as st

from modules.errors import BadInput
from modules.inference.annotations import (
    check_annotations,
    make_tiers,
    write_annotations,
)

TIMES = list(zip(BORDERS[:-1], BORDERS[1:]))


def write(tmp_path, suffix, rows, seconds=8.5):
    path = tmp_path / f"x{suffix}"
    write_annotations(path, suffix, rows, LABELS, seconds)
    return path


@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.floats(0.1, 9)), min_size=1, max_size=12
    )
)
def test_tiers_have_no_overlap_and_stay_within_their_segments(parts):
    rows = [answer(start, start + length, 0) for start, length in parts]
    (tier,) = make_tiers(rows, LABELS).values()
    assert len(tier) <= len(rows)
    for before, after in zip(tier, tier[1:]):
        assert before.end <= after.start
    for one in tier:
        assert one.start < one.end and one.probability == pytest.approx(0.75)
        covered = [
            row.start - 1e-3 <= one.start and one.end <= row.end + 1e-3
            for row in rows
        ]
        assert any(covered)


def test_textgrid_by_praatio(tmp_path):
    textgrid = pytest.importorskip("praatio.textgrid")
    rows = overlapping(channel="left")
    rows += [answer(2.0, 5.0, 0, channel="right")]
    path = write(tmp_path, ".TextGrid", rows, seconds=9.0)
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    assert grid.maxTimestamp == 9.0
    assert grid.tierNames == (
        *("emotion left", "probability left"),
        *("emotion right", "probability right"),
    )
    left = [tuple(entry) for entry in grid.getTier("emotion left").entries]
    expected = [(*time, label) for time, label in zip(TIMES, LABELS)]
    assert left == [*expected, (8.5, 9.0, "")]
    right = [tuple(entry) for entry in grid.getTier("emotion right").entries]
    assert right == [(0, 2, ""), (2, 5, "anger"), (5, 9, "")]
    chances = grid.getTier("probability right").entries
    assert float(chances[1].label) == 0.75


def test_eaf_by_pympi(tmp_path):
    elan = pytest.importorskip("pympi.Elan")
    rows = overlapping(speaker="Ann", file="/x/ä b.wav")
    path = write(tmp_path, ".eaf", rows)
    found = elan.Eaf(str(path))
    assert found.get_tier_names() and "emotion Ann" in found.get_tier_names()
    entries = found.get_annotation_data_for_tier("emotion Ann")
    expected = [
        (round(1000 * start), round(1000 * end), label)
        for (start, end), label in zip(TIMES, LABELS)
    ]
    assert sorted(entries) == expected
    media = found.get_linked_files()
    assert media[0]["MEDIA_URL"] == "file:///x/%C3%A4%20b.wav"


def test_rttm_by_pyannote(tmp_path):
    util = pytest.importorskip("pyannote.database.util")
    rows = [answer(0.0, 4.0, 0), answer(3.0, 7.0, 0, file="b/two.wav")]
    found = util.load_rttm(write(tmp_path, ".rttm", rows))
    assert set(found) == {"a", "two"}
    ((segment, _, label),) = found["two"].itertracks(yield_label=True)
    assert (segment.start, segment.end, label) == (3.0, 7.0, "anger")


@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
def test_subtitles_by_their_libraries(tmp_path, suffix):
    rows = overlapping(channel="left")
    path = write(tmp_path, suffix, rows)
    if suffix == ".srt":
        srt = pytest.importorskip("srt")
        shown = [
            (s.start.total_seconds(), s.end.total_seconds(), s.content)
            for s in srt.parse(path.read_text())
        ]
    else:
        webvtt = pytest.importorskip("webvtt")
        shown = [
            (c.start_in_seconds, c.end_in_seconds, c.text)
            for c in webvtt.read(str(path))
        ]
        shown = [(a, b, text.replace("&lt;", "<")) for a, b, text in shown]
        shown = [(a, b, text.replace("&amp;", "&")) for a, b, text in shown]
    texts = [f"left: {label} 75%" for label in LABELS]
    if suffix == ".vtt":  # webvtt-py counts whole seconds
        shown = [text for _, _, text in shown]
        assert shown == texts
        assert "00:00:03.500 --> 00:00:05.750" in path.read_text()
    else:
        assert shown == [(*t, text) for t, text in zip(TIMES, texts)]


def test_what_a_format_cannot_hold_is_refused():
    for suffix in (".TextGrid", ".eaf", ".srt", ".vtt"):
        check_annotations(suffix, ["a.wav"])
        with pytest.raises(BadInput, match="one recording and 2 are given"):
            check_annotations(suffix, ["a.wav", "b.wav"])
    check_annotations(".rttm", ["a.wav", "b.wav"], ["anger"])
    with pytest.raises(BadInput, match="the blank in 'very sad'"):
        check_annotations(".rttm", ["a.wav"], ["very sad"])
    with pytest.raises(BadInput, match="two are called 'a'"):
        check_annotations(".rttm", ["a.wav", pathlib.Path("b/a.mp3")])
