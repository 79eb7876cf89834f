"""Which utterances of a corpus are used, and of which class each is."""

from __future__ import annotations

import collections
import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping

from data_prep.corpus import Utterance, first_few
from data_prep.identity import normal_form
from modules.errors import BadInput
from modules.labels import parse_classes


def choose_part(
    utterances: list[Utterance],
    corpus: str,
    parts: Mapping[str, Callable[[Utterance], bool]],
    part: str | None,
) -> list[Utterance]:
    """Return the utterances of one part of a corpus.

    Arguments
    ---------
    utterances : list of Utterance
        The corpus.
    corpus : str
        Its name, for messages.
    parts : dict
        Name of a part -> whether an utterance is in it.
    part : str
        One of them; None: all of the corpus.

    Raises
    ------
    BadInput
        If the corpus has no such part, or nothing in it.
    """
    if part is None:
        return utterances
    if part not in parts:
        remedy = (
            f"choose one of {', '.join(parts)}" if parts else "leave it out"
        )
        raise BadInput(
            f"part is {part!r:.80}, which {corpus} does not have: {remedy}."
        )
    chosen = [u for u in utterances if parts[part](u)]
    if not chosen:
        raise BadInput(
            f"No utterance of {corpus} is in the part {part}: leave part out, "
            "or copy the corpus again."
        )
    return chosen


def choose_classes(
    utterances: Iterable[Utterance],
    classes: str,
    facts: Callable[[Utterance, Mapping[str, str]], dict] | None = None,
    must_exist: bool = True,
) -> list[Utterance]:
    """Return the utterances of some classes, labelled with these.

    Arguments
    ---------
    utterances : iterable of Utterance
        With the labels of the corpus.
    classes : str
        See `modules.labels.parse_classes`. Capitals and blanks make no
        difference; a class that a label names is spelled as in the corpus.
    facts : callable, optional
        Returns what the class of an utterance decides beside its label, given
        the utterance and normalised label -> class.
    must_exist : bool
        Whether a label that no utterance has is refused; False for the
        classes of a corpus by default, of which a copy may be a part.

    Returns
    -------
    list of Utterance
        `extra` has the label of the corpus as `corpus_label`.

    Raises
    ------
    BadInput
        If a label is unknown or named twice, or there are fewer than two
        classes; the sentence counts the labels of the corpus.

    Example
    -------
    >>> corpus = [
    ...     Utterance("1", "1.wav", "joy", "ann", 1),
    ...     Utterance("2", "2.wav", "glad", "ann", 1),
    ...     Utterance("3", "3.wav", "calm", "eve", 2),
    ...     Utterance("4", "4.wav", "fear", "eve", 2),
    ... ]
    >>> [u.label for u in choose_classes(corpus, "joy+glad,calm")]
    ['joy', 'joy', 'calm']
    """
    utterances = list(utterances)
    counts = collections.Counter(u.label for u in utterances)
    found = [f"{label} {counts[label]}" for label in sorted(counts)]
    given, remedy = f"{classes!r:.80}", f"choose from {first_few(found, 40)}."
    try:
        named = parse_classes(classes)
    except ValueError as problem:
        raise BadInput(f"classes {given}: {problem}: {remedy}") from problem
    known = {normal_form(label): label for label in counts}
    chosen, spelling = {}, {}
    for label, name in named.items():
        key = normal_form(label)
        if key not in known and must_exist:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {known[near[0]]}? " if near else ""
            raise BadInput(
                f"classes {given}: no utterance has the label "
                f"{label!r:.80}: {hint}{remedy}"
            )
        if key in chosen:
            raise BadInput(
                f"classes {given}: the label {label!r:.80} is named twice: "
                f"{remedy}"
            )
        if named.get(name) == name:
            name = known.get(normal_form(name), name)
        chosen[key] = spelling.setdefault(normal_form(name), name)
    if len(set(chosen.values())) < 2:
        raise BadInput(
            f"classes {given}: this is one class, so that there is "
            f"nothing to learn: {remedy}"
        )
    return [
        _relabelled(u, chosen, facts)
        for u in utterances
        if normal_form(u.label) in chosen
    ]


def _relabelled(utterance, chosen, facts):
    """Return an utterance with its class as label."""
    extra = utterance.extra | {"corpus_label": utterance.label}
    if facts:
        extra |= facts(utterance, chosen)
    label = chosen[normal_form(utterance.label)]
    return dataclasses.replace(utterance, label=label, extra=extra)


def describe_choice(classes: str | None, part: str | None) -> str:
    """Describe what of a corpus is used, for readers; "" for all of it.

    Example
    -------
    >>> describe_choice("ang,hap+exc", "improvised")
    '; the part improvised; classes ang, hap+exc'
    """
    text = f"; the part {part}" if part else ""
    if classes:
        names = (" ".join(name.split()) for name in classes.split(","))
        text += f"; classes {', '.join(names)}"
    return text
