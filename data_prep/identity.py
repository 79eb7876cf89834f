"""Names of speakers and labels: which can be used, and which are the same.

Spreadsheets and people write one name in several ways: 3 and 3.0, Happy and
happy. Two spellings of a speaker would put one person into train and test,
two spellings of a label would make two classes.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Iterable

from speechbrain.utils.logger import get_logger

from data_prep.corpus import Utterance, first_few
from modules.errors import BadInput

logger = get_logger(__name__)

# What programs write for an empty cell. "Nan" is a given name, so the case of
# that one decides.
MISSING = ("", "nan", "NaN", "NAN", "NA", "<NA>", "NaT")
MISSING_IN_ANY_CASE = ("none", "null", "n/a", "#n/a", "#na")
# predictions.csv has these columns beside one for each class.
COLUMNS_OF_PREDICTIONS = ("utterance", "speaker", "truth", "prediction")
# Between a label and its number in SpeechBrain's label_encoder.txt.
SEPARATOR = " => "


def is_missing(name: str) -> bool:
    """Return whether a cell is empty or has a program's word for that.

    Example
    -------
    >>> is_missing("NaN"), is_missing(" "), is_missing("Nan")
    (True, True, False)
    """
    name = name.strip()
    return name in MISSING or name.lower() in MISSING_IN_ANY_CASE


def is_broken(text: str) -> bool:
    """Return whether a text has line breaks, control or broken characters.

    Example
    -------
    >>> is_broken("a\\nb"), is_broken("a b")
    (True, False)
    """
    return any(
        unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text
    )


def wrong_speaker(speaker: str) -> str | None:
    """Return why a name cannot be used, or None if it can.

    Example
    -------
    >>> wrong_speaker("")
    'is empty: fill it in'
    """
    if not speaker.strip():
        return "is empty: fill it in"
    if is_missing(speaker):
        return (
            "is what programs write into an empty cell: fill it in, or, if it "
            "is a name, spell it in another way"
        )
    if is_broken(speaker):
        return (
            "has a line break, control character or broken character: delete it"
        )
    return None


def wrong_label(label: str) -> str | None:
    """Return why a label cannot be used, or None if it can.

    Example
    -------
    >>> wrong_label("truth")
    'is a column of predictions.csv: rename it, e.g. to truth_'
    """
    if label.strip().lower() in COLUMNS_OF_PREDICTIONS:
        return f"is a column of predictions.csv: rename it, e.g. to {label}_"
    if SEPARATOR in label:
        return (
            f"contains {SEPARATOR!r}, which separates label and number in "
            "label_encoder.txt: rename it"
        )
    return wrong_speaker(label)


def normal_form(name: str) -> str:
    """Return the form in which two spellings of one name are equal.

    Unicode compatibility forms, invisible characters, blanks, capitals (but
    for names of one letter, which are codes) and the ``.0`` that spreadsheets
    append to whole numbers make no difference.

    Example
    -------
    >>> normal_form(" Happy"), normal_form("3.0"), normal_form("03")
    ('happy', '3', '03')
    """
    name = unicodedata.normalize("NFKC", name)
    visible = (c for c in name if unicodedata.category(c) != "Cf")
    name = " ".join("".join(visible).split())
    if len(name) > 1:
        name = name.lower()
    return re.sub(r"^([+-]?\d+)[.,]0+$", r"\1", name)


def loose_form(name: str) -> str:
    """Return the form in which names are equal that may be one.

    Beside what `normal_form` leaves out, leading zeros make no difference.

    Example
    -------
    >>> loose_form("S1_03"), loose_form("03.0")
    ('s1_3', '3')
    """
    # The zeros of 1.05 are no padding.
    return re.sub(r"(?<![\d.,])0+(?=\d)", "", normal_form(name).lower())


def one_spelling(names: Iterable[str], what: str) -> dict[str, str]:
    """Choose one spelling for all that mean the same.

    Spellings with one `normal_form` are merged, with a line in the log.
    Spellings that differ in leading zeros (03 and 3), or in the case of a
    single letter (a and A), are refused: a spreadsheet that drops zeros makes
    them from one name, but lists that were joined make them from two, and a
    wrong guess would put one person into train and test or make two people
    one.

    Arguments
    ---------
    names : iterable of str
        All names, as often as they occur.
    what : str
        "speaker" or "label", for the messages.

    Returns
    -------
    dict
        Name -> the most frequent spelling of it.

    Raises
    ------
    BadInput
        If names differ in leading zeros or the case of a single letter.

    Example
    -------
    >>> one_spelling(["glad", "Glad", "glad", "calm"], "label")
    {'calm': 'calm', 'glad': 'glad', 'Glad': 'glad'}
    """
    counts = collections.Counter(names)
    similar = collections.defaultdict(lambda: collections.defaultdict(list))
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        similar[loose_form(name)][normal_form(name)].append(name)
    unclear = [list(forms.values()) for forms in similar.values()]
    unclear = [groups for groups in unclear if len(groups) > 1]
    if unclear:
        pairs = [" and ".join(repr(g[0]) for g in groups) for groups in unclear]
        raise BadInput(
            f"Some {what}s may be the same or not ({first_few(pairs)}): write "
            f"each {what} in one way, or make different ones differ in more "
            "than leading zeros or the case of one letter, e.g. a3 and b3."
        )
    groups = sorted(g for forms in similar.values() for g in forms.values())
    merged = [
        f"{group[0]!r} is also written {', '.join(map(repr, group[1:]))}"
        for group in groups
        if len(group) > 1
    ]
    if merged:
        logger.warning(
            "%d %s%s several spellings, which are merged: %s.",
            *(len(merged), what, " has" if len(merged) == 1 else "s have"),
            first_few(merged, limit=20),
        )
    return {name: group[0] for group in groups for name in group}


def unify(utterances: Iterable[Utterance]) -> list[Utterance]:
    """Give every speaker and every label one spelling.

    Arguments
    ---------
    utterances : iterable of Utterance
        The corpus.

    Returns
    -------
    list of Utterance
        The same utterances.

    Raises
    ------
    BadInput
        If a name cannot be used or two may be the same, see `one_spelling`.
    """
    utterances = list(utterances)
    for utterance in utterances:
        for what, name, wrong in (
            ("label", utterance.label, wrong_label),
            ("speaker", utterance.speaker, wrong_speaker),
        ):
            reason = wrong(name)
            if reason:
                raise BadInput(
                    f"The utterance {first_few([utterance.id])} has the {what} "
                    f"{name!r}, which {reason}."
                )
    labels = one_spelling((u.label for u in utterances), "label")
    speakers = one_spelling((u.speaker for u in utterances), "speaker")
    return [
        dataclasses.replace(
            u, label=labels[u.label], speaker=speakers[u.speaker]
        )
        for u in utterances
    ]
