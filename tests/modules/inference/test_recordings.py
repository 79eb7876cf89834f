"""Recordings are found; pieces cover them; batches are bounded."""

import os

import hostile_files as hostile
import pytest
import soundfile
from exported_models import spoken
from hypothesis import given, settings, strategies as st

from modules.errors import BadInput
from modules.inference.emotion_model import LONGEST_SECONDS
from modules.inference.recordings import (
    MOST_PIECES,
    Piece,
    check_segments,
    cut,
    cut_files,
    find_files,
    make_batches,
)


@settings(max_examples=50, deadline=None)
@given(
    samples=st.integers(400, 10**7),
    rate=st.sampled_from([8000, 16000, 44100]),
    segment=st.none() | st.floats(0.1, 60),
    hop=st.floats(0.5, 60),
)
def test_a_cut_covers_the_recording(samples, rate, segment, hop):
    windows = cut(samples, rate, segment, hop)
    assert windows[0][0] == 0 and windows[-1][1] == samples
    longest = LONGEST_SECONDS if segment is None else segment
    for start, stop in windows:
        assert 0 < stop - start <= longest * rate + 1
    assert len(set(windows)) == len(windows)
    if segment is None:
        for before, after in zip(windows, windows[1:]):
            assert before[1] == after[0]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(400, 16000 * 60), max_size=40),
    st.integers(1, 9),
    st.sampled_from([0, 30]),
)
def test_batches_are_bounded_and_whole(lengths, batch_size, least):
    pieces = [
        Piece(str(i), 0, length, 16000, True)
        for i, length in enumerate(lengths)
    ]
    batches = make_batches(
        pieces, batch_size, lambda seconds: max(seconds, least)
    )
    assert sorted(p.file for b in batches for p in b) == sorted(
        p.file for p in pieces
    )
    for batch in batches:
        assert len(batch) <= batch_size
        longest = max(least, *(piece.seconds for piece in batch))
        assert len(batch) == 1 or len(batch) * longest <= 60


def test_recordings_are_found_by_their_ending_or_their_bytes(tmp_path):
    deep = tmp_path / "a" / "b.wav"
    deep.mkdir(parents=True)
    for name in ("x.WAV", "no_ending", "x.dat"):
        soundfile.write(deep / name, spoken(0.1), 16000, format="WAV")
    for name, codec, container in [
        ("x.m4a", "aac", None),
        ("m4a.bin", "aac", "mp4"),
        ("webm.bin", "libopus", "webm"),
        ("ts.bin", "aac", "mpegts"),
        ("adts.bin", "aac", "adts"),
        ("amr.bin", "libopencore_amrnb", "amr"),
    ]:
        rate = 8000 if container == "amr" else 48000
        hostile.write_with_ffmpeg(
            deep / name, spoken(0.5, rate), rate, codec, container
        )
    os.mkfifo(deep / "pipe.wav")
    os.mkfifo(deep / "pipe")
    (deep / "gone.wav").symlink_to("nowhere")
    (deep / "x.raw").write_bytes(b"1234")
    for name in ("notes.txt", "labels.csv", "code.ts"):
        (deep / name).write_text("Go home, it is late.")
    (deep / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(400))
    (deep / "photo.webp").write_bytes(b"RIFF\0\0\0\0WEBP" + bytes(400))
    (deep / "._x.wav").write_bytes(b"of another system")
    files, problems = find_files([str(tmp_path)])
    assert not problems
    assert [os.path.basename(file) for file in files] == sorted(
        "x.WAV no_ending x.dat x.m4a m4a.bin webm.bin ts.bin adts.bin amr.bin "
        "pipe.wav gone.wav x.raw".split()
    )
    pieces, problems = cut_files(files)
    assert [os.path.basename(p.file) for p in problems] == [
        "gone.wav",
        "pipe.wav",
        "x.raw",
    ]
    assert len(pieces) + len(problems) == len(files)


def test_an_empty_folder_beside_a_file_is_a_problem(tmp_path):
    (tmp_path / "empty").mkdir()
    files, problems = find_files(["x.wav", "x.wav", str(tmp_path / "empty")])
    assert files == ["x.wav"]
    assert "has no audio file in it" in problems[0].sentence
    with pytest.raises(BadInput, match="has no audio file"):
        find_files([str(tmp_path / "empty")])


@pytest.mark.parametrize(
    "segment, hop, words",
    [
        (None, 1, "--hop needs --segments"),
        (0.01, None, "--segments must be 0.1 to 60"),
        (float("nan"), None, "--segments must be"),
        (900, None, "--segments must be"),
        (4, 1e-9, "--hop must be 0.02"),
        (4, float("nan"), "--hop must be"),
        (4, float("inf"), "--hop must be"),
    ],
)
def test_segments_that_cannot_be(segment, hop, words):
    with pytest.raises(BadInput, match=words):
        check_segments(segment, hop)


def test_the_number_of_segments_is_bounded_before_they_are_made():
    hour = 3600 * 16000
    assert len(cut(hour, 16000, 1, 0.04)) < MOST_PIECES
    with pytest.raises(BadInput, match="more than 100000 segments"):
        cut(24 * hour, 16000, 1, 0.02)
    with pytest.raises(BadInput, match="more than 100000 segments"):
        cut(2**60, 16000, 0.1, 1e-9)
