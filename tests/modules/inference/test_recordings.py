"""Pieces cover the recording, batches are bounded."""

from hypothesis import given, settings, strategies as st

from modules.inference.recordings import Piece, cut, make_batches
from modules.inference.speechbrain_interface import LONGEST_SECONDS


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
    batches = make_batches(pieces, batch_size, least)
    assert sorted(p.file for b in batches for p in b) == sorted(
        p.file for p in pieces
    )
    for batch in batches:
        assert len(batch) <= batch_size
        longest = max(least, *(piece.seconds for piece in batch))
        assert len(batch) == 1 or len(batch) * longest <= 60
