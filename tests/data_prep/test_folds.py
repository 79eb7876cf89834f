"""Folds of whole speakers, with even shares of the classes."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from data_prep.corpus import Utterance
from data_prep.folds import (
    count_classes,
    deal_speakers,
    describe_unevenness,
    even_out,
)
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
    except BadInput:
        assert len({speaker for speaker, _ in utterances}) < number
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


@given(st.integers(0, 2**32 - 1))
def test_speakers_of_one_class_each_are_spread(seed):
    """A class of as many speakers as there are folds is in every fold."""
    rng = np.random.default_rng(seed)
    speakers, labels = [], []
    for number in range(29):
        count = rng.integers(3, 30)
        speakers += [f"s{number}"] * count
        labels += ["wxyz"[number % 4]] * count
    folds = deal_speakers(speakers, labels, 5)
    pairs = {(folds[s], label) for s, label in zip(speakers, labels)}
    assert len(pairs) == 20


@given(utterances, st.integers(2, 4))
def test_evening_out_never_makes_it_worse(utterances, number):
    counts = count_classes(*zip(*utterances))
    start = np.arange(len(counts)) % number
    targets = [1 / number] * number

    def lacked(parts):
        return sum(
            (counts[parts == part].sum(axis=0) == 0).sum()
            for part in range(number)
        )

    parts = even_out(counts, start, targets)
    assert lacked(parts) <= lacked(start)
    # It ends where no single change helps, so a second time changes nothing.
    assert even_out(counts, parts, targets).tolist() == parts.tolist()


def corpus(*rows):
    """Return utterances from (label, speaker, fold)."""
    return [
        Utterance(str(i), f"{i}.wav", label, speaker, fold)
        for i, (label, speaker, fold) in enumerate(rows)
    ]


def test_nothing_to_report_of_even_folds():
    speakers = {"ann": 1, "bob": 1, "eve": 2, "dan": 2}
    rows = [(k, s, f) for k in "xyz" for s, f in speakers.items()] * 3
    assert describe_unevenness(corpus(*rows)) == []


def test_what_cannot_be_evened_is_reported():
    rows = [("x", "ann", 1), ("y", "eve", 1), ("x", "bob", 2)] * 9
    sentences = describe_unevenness(corpus(*rows))
    assert [sentence[:30] for sentence in sentences] == [
        "Some test folds lack a class, ",
        "Some classes have fewer speake",
        "Some classes are in one fold a",
        "Speakers and classes go togeth",
    ]
    assert "fold 2 without y" in sentences[0]
    assert sentences[1].endswith("tests them: y has 1.")
    assert sentences[2].endswith("cannot learn them: y in fold 1.")
    assert "information 1.00" in sentences[3]


def test_fold_0_is_tested_by_no_run():
    rows = [("x", "ann", 0), ("y", "eve", 0), ("x", "bob", 1)] * 3
    assert len(describe_unevenness(corpus(*rows))) == 2


def test_one_utterance_a_speaker_confounds_nothing():
    rows = [("xyz"[i % 3], f"s{i}", i % 5 + 1) for i in range(60)]
    assert describe_unevenness(corpus(*rows)) == []


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


def test_classes_smaller_than_the_number_of_folds():
    folds = deal_speakers("abcde", "xxyyz", 4)
    assert set(folds.values()) == {1, 2, 3, 4}
