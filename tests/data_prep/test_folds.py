"""Folds of whole speakers, with even shares of the classes."""

import collections

import pytest
from hypothesis import given, strategies as st

from data_prep.folds import deal_speakers
from modules.errors import BadInput

utterances = st.lists(
    st.tuples(st.sampled_from("abcdefghijk"), st.sampled_from("xyz")),
    min_size=2,
    max_size=80,
)


@given(utterances, st.integers(2, 6), st.randoms(use_true_random=False))
def test_folds_of_whole_speakers(utterances, number, shuffle):
    try:
        folds = deal_speakers(*zip(*utterances), number)
    except BadInput as problem:
        counts = collections.Counter(label for _, label in utterances)
        speakers = {speaker for speaker, _ in utterances}
        few = len(speakers) < number or max(counts.values()) < number
        assert few or "folds with all classes" in str(problem)
        return
    assert set(folds) == {speaker for speaker, _ in utterances}
    assert set(folds.values()) == set(range(1, number + 1))
    shuffle.shuffle(utterances)
    assert deal_speakers(*zip(*utterances), number) == folds


def test_folds_have_all_classes():
    # Dealing by size alone puts all of "x" into one fold.
    speakers = "a" * 10 + "b" * 9 + "c" * 10 + "d" * 9
    labels = "x" * 19 + "y" * 19
    folds = deal_speakers(speakers, labels, 2)
    assert folds["a"] != folds["b"] and folds["c"] != folds["d"]


@pytest.mark.parametrize(
    "speakers, number, sentence",
    [
        ("aaaa", 2, "of one speaker .a., so that no speaker is left .*: add"),
        ("aabb", 3, "2 speakers cannot .* set number_of_folds to 2, or add"),
        ("abcc", 4, "3 speakers cannot .* set number_of_folds to 3 or less"),
        ("aabb", 1, "number_of_folds is 1: at least 2 are needed"),
    ],
)
def test_speakers_that_cannot_be_dealt(speakers, number, sentence):
    with pytest.raises(BadInput, match=sentence):
        deal_speakers(speakers, "xyxy", number)


def test_classes_that_are_too_small():
    with pytest.raises(BadInput, match="smaller number, or add a column fold"):
        deal_speakers("abcde", "xxyyz", 4)
