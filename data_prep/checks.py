"""Checks of a corpus before anything is trained on it."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable

from speechbrain.utils.logger import get_logger

from data_prep import audio_checks
from data_prep.audio_checks import Audio, inspect_all
from data_prep.corpus import Utterance, first_few
from data_prep.identity import is_broken, unify
from modules.audio import CANCELLED, SAMPLE_RATE
from modules.errors import BadInput

logger = get_logger(__name__)

PROBLEMS = {
    "id": "Two utterances have the same id ({}): give each its own.",
    "name": "A file name has a control character or is not UTF-8 ({}): rename "
    "the file.",
    "speaker": "A speaker is in two folds, or in the test set and in train or "
    "dev ({}): give all utterances of a speaker the same fold or split.",
    **audio_checks.PROBLEMS,
    "content": "The same recording has two labels, speakers or folds ({}): "
    "keep the right one of them.",
}


def check_corpus(
    utterances: Iterable[Utterance],
    data_folder: str | os.PathLike,
    channel: str = "mean",
) -> tuple[list[Utterance], dict[str, Audio]]:
    """Check the utterances of a corpus and their audio.

    All problems are collected and reported at once. Spellings of one speaker
    or label are merged, see `data_prep.identity`; a copy of a recording with
    the same label and speaker is left out: both with a line in the log.

    Arguments
    ---------
    utterances : iterable of Utterance
        The corpus.
    data_folder : str or pathlib.Path
        The folder of relative paths.
    channel : str
        "mean", "left" or "right": what is read of stereo.

    Returns
    -------
    utterances : list of Utterance
        Without copies, names in one spelling, sorted by id.
    audio : dict
        Utterance id -> Audio.

    Raises
    ------
    BadInput
        With one sentence for each kind of problem.
    """
    utterances = sorted(unify(utterances), key=lambda utterance: utterance.id)
    _check_variety(utterances)
    problems = _wrong_entries(utterances)
    audio, unusable = inspect_all(utterances, data_folder, channel)
    problems |= unusable
    kept, contradictions = _without_copies(utterances, audio)
    if contradictions:
        problems["content"] = contradictions
    if problems:
        raise BadInput(
            " ".join(
                sentence.format(first_few(problems[kind]))
                for kind, sentence in PROBLEMS.items()
                if kind in problems
            )
        )
    _log_audio(kept, audio)
    return kept, audio


def _check_variety(utterances):
    """Refuse a corpus of one class or one speaker."""
    labels = sorted({u.label for u in utterances})
    speakers = sorted({u.speaker for u in utterances})
    if len(labels) < 2:
        raise BadInput(
            f"All utterances have one label ({first_few(labels)}), so that "
            "there is nothing to learn: add utterances of a second class."
        )
    if len(speakers) < 2:
        raise BadInput(
            f"All utterances are of one speaker ({first_few(speakers)}), so "
            "that no speaker is left to test on: add recordings of other "
            "people."
        )


def _wrong_entries(utterances):
    """Collect the utterances that cannot be used, whatever their audio."""
    counts = collections.Counter(u.id for u in utterances)
    folds = collections.defaultdict(set)
    for u in utterances:
        folds[u.speaker].add(u.fold)
    problems = {
        "id": [name for name, count in counts.items() if count > 1],
        "name": [u.wav for u in utterances if is_broken(u.wav)],
        "speaker": sorted(s for s, places in folds.items() if len(places) > 1),
    }
    return {kind: names for kind, names in problems.items() if names}


def _without_copies(utterances, audio):
    """Keep one of the copies of a recording, collect contradictions."""
    first, kept, copies, contradictions = {}, [], [], []
    for utterance in utterances:
        if utterance.id not in audio:
            continue
        original = first.setdefault(audio[utterance.id].content, utterance)
        if original is utterance:
            kept.append(utterance)
        elif _facts(original) == _facts(utterance):
            copies.append(f"{utterance.wav} of {original.wav}")
        else:
            contradictions.append(
                f"{_describe(original)} and {_describe(utterance)}"
            )
    if copies:
        logger.warning(
            "%d of %d files are copies of another file with the same label "
            "and speaker and are left out: %s.",
            *(len(copies), len(utterances), first_few(copies)),
        )
    return kept, contradictions


def _facts(utterance):
    """Return the facts in which copies of a recording must agree."""
    return utterance.label, utterance.speaker, utterance.fold


def _describe(utterance):
    """Describe an utterance in a message."""
    return (
        f"{utterance.wav}, label {utterance.label}, speaker "
        f"{utterance.speaker}, fold {utterance.fold},"
    )


def _log_audio(utterances, audio):
    """Log what is unusual and yet usable, one line per kind."""
    other = [
        u
        for u in utterances
        if audio[u.id].sample_rate != SAMPLE_RATE or audio[u.id].channels != 1
    ]
    if other:
        first = audio[other[0].id]
        logger.warning(
            "%d of %d files are not 16 kHz mono (first: %s, %d Hz, %d "
            "channel%s): they are resampled and %s when read.",
            *(len(other), len(utterances), first_few([other[0].wav])),
            *(first.sample_rate, first.channels),
            "" if first.channels == 1 else "s",
            f"their {first.channel} channel is taken"
            if first.channel
            else "mixed down",
        )
    cancelled = [
        u.wav for u in utterances if audio[u.id].share_of_mean < CANCELLED
    ]
    if cancelled:
        logger.warning(
            "In %d of %d files the channels cancel: their mean has less than "
            "%.0f%% of their power (%s). Choose one of them (--channel left).",
            *(len(cancelled), len(utterances), 100 * CANCELLED),
            first_few(cancelled),
        )
    silent = [u.wav for u in utterances if audio[u.id].silent]
    if silent:
        logger.warning(
            "%d of %d files are silent (all samples are zero) and are kept: "
            "%s.",
            *(len(silent), len(utterances), first_few(silent)),
        )


def check_splits(splits: dict[str, list[Utterance]]) -> None:
    """Check that the classes can be learned and tested.

    Arguments
    ---------
    splits : dict
        "train", "dev" and "test", each a list of Utterance.

    Raises
    ------
    BadInput
        If train has one class only.
    """
    labels = {
        name: {u.label for u in utterances}
        for name, utterances in splits.items()
    }
    if len(labels["train"]) < 2:
        raise BadInput(
            f"All utterances of train have one label "
            f"({first_few(sorted(labels['train']))}), so that there is nothing "
            "to learn in this fold: spread the classes over more speakers."
        )
    absent = set().union(*labels.values()) - labels["train"]
    if absent:
        logger.warning(
            "No utterance of train has the label %s: it cannot be learned in "
            "this fold.",
            first_few(sorted(absent)),
        )
