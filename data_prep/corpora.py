"""All corpora: each is a file `data_prep/<corpus>_prepare.py`, found by name.

`docs/adding.md` adds one.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import pathlib
import types

from data_prep.classes import choose_classes, choose_part, describe_choice
from data_prep.corpus import CorpusCard, Utterance
from data_prep.folds import deal_utterances
from data_prep.manifest import write_manifests
from modules.errors import BadInput

_SUFFIX = "_prepare"
# In the folder of the demo's corpus, which has the layout of IEMOCAP.
_SYNTHETIC_MARKER = "SYNTHETIC.txt"
_SYNTHETIC = CorpusCard(
    name="the demo's synthetic corpus",
    identifier="synthetic",
    language="en",
    nature="speech of espeak-ng, a synthesiser: no human spoke, so results on "
    "it mean nothing for human emotion",
)


def names() -> list[str]:
    """Return the names of all corpora.

    Example
    -------
    >>> names()
    ['ased', 'audiofolder', 'cremad', 'csv', 'emodb', 'iemocap', 'ravdess', 'turev']
    """
    folder = pathlib.Path(__file__).parent
    return sorted(
        path.stem.removesuffix(_SUFFIX)
        for path in folder.glob(f"[!._]*{_SUFFIX}.py")
    )


def _find(corpus: str) -> types.ModuleType:
    """Import the file of a corpus."""
    known = names()
    if corpus not in known:
        near = difflib.get_close_matches(str(corpus).lower(), known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise BadInput(
            f"corpus {corpus!r} is unknown: {hint}choose one of "
            f"{', '.join(known)}."
        )
    return importlib.import_module(f"{__package__}.{corpus}{_SUFFIX}")


def card(
    corpus: str,
    data_folder: str | os.PathLike | None,
    classes: str | None = None,
    part: str | None = None,
) -> CorpusCard:
    """Return what the card of a model states about its training corpus.

    Arguments
    ---------
    corpus : str
        One of `names()`.
    data_folder : str or pathlib.Path or None
        The folder of the recordings.
    classes, part : str, optional
        What of the corpus is used, see `read`.

    Returns
    -------
    CorpusCard
        That of the demo, if its corpus is in the folder.

    Raises
    ------
    BadInput
        If there is no such corpus.

    Example
    -------
    >>> card("emodb", None).language
    'de'
    >>> card("iemocap", None, "ang,hap+exc", "improvised").nature[-43:]
    '; the part improvised; classes ang, hap+exc'
    """
    marker = pathlib.Path(data_folder or ".") / _SYNTHETIC_MARKER
    own = _SYNTHETIC if marker.is_file() else _find(corpus).CARD
    nature = own.nature + describe_choice(classes, part)
    return dataclasses.replace(own, nature=nature)


def read(
    corpus: str,
    data_folder: str | os.PathLike | None,
    csv_file: str | os.PathLike | None = None,
    number_of_folds: int = 5,
    classes: str | None = None,
    part: str | None = None,
    columns: str | None = None,
) -> list[Utterance]:
    """Read the utterances of a corpus, unchecked.

    Arguments
    ---------
    corpus, data_folder, csv_file, number_of_folds, classes, part, columns
        As for `prepare`.

    Raises
    ------
    BadInput
        If there is no such corpus or it cannot be read.

    Example
    -------
    >>> utterances = read("emodb", "data/emodb")  # doctest: +SKIP
    """
    module = _find(corpus)
    named = {"columns": _columns(module, columns)} if columns else {}
    utterances = module.read(data_folder, csv_file, **named)
    parts = getattr(module, "PARTS", {})
    utterances = choose_part(utterances, corpus, parts, part)
    chosen = classes or getattr(module, "CLASSES", None)
    if chosen:
        utterances = choose_classes(
            utterances, chosen, getattr(module, "facts", None), bool(classes)
        )
    return deal_utterances(utterances, number_of_folds)


def _columns(module, text):
    """Read ``label=emotion,speaker=who``: column -> name in the list."""
    known = getattr(module, "COLUMNS", ())
    pairs = [pair.partition("=")[::2] for pair in text.split(",")]
    columns = {name.strip(): given.strip() for name, given in pairs}
    if len(columns) < len(pairs) or not all(columns.values()):
        raise BadInput(
            f"columns {text!r:.200} is not NAME=COLUMN,...: write such as "
            "label=emotion,speaker=who."
        )
    for name in columns:
        if name not in known:
            remedy = f"name {', '.join(known)}" if known else "leave it out"
            raise BadInput(
                f"columns names {name!r:.80}, which this corpus does not have: "
                f"{remedy}."
            )
    return columns


def prepare(
    corpus: str,
    data_folder: str | os.PathLike | None,
    csv_file: str | os.PathLike | None,
    manifest_folder: str | os.PathLike,
    test_fold: int,
    dev_split: str = "random",
    seed: int = 1,
    number_of_folds: int = 5,
    channel: str = "mean",
    classes: str | None = None,
    part: str | None = None,
    columns: str | None = None,
) -> dict[str, pathlib.Path]:
    """Prepare the manifests of one held-out fold of a corpus.

    Arguments
    ---------
    corpus : str
        One of `names()`.
    data_folder : str or pathlib.Path or None
        The folder of the recordings; None for a corpus with absolute paths.
    csv_file : str or pathlib.Path
        The list of utterances, of a corpus that has one.
    manifest_folder : str or pathlib.Path
        The folder of the manifests.
    test_fold : int
        The fold to test on, from 1.
    dev_split : str
        "random" or "speaker", see `data_prep.split.split`.
    seed : int
        Chooses dev.
    number_of_folds : int
        Number of folds, of a corpus whose folds are not fixed.
    channel : str
        "mean", "left" or "right": what is read of stereo.
    classes : str
        Which labels make which classes, see `modules.labels.parse_classes`;
        None: those of the corpus.
    part : str
        A part of the corpus, such as "improvised" of IEMOCAP; None: all.
    columns : str
        Of a list with other names of its columns: "label=emotion".

    Returns
    -------
    dict
        "train", "dev" and "test" -> pathlib.Path of the manifest.

    Raises
    ------
    BadInput
        If there is no such corpus or it cannot be used as it is.

    Example
    -------
    >>> paths = prepare(
    ...     "emodb", "data/emodb", None, "manifests", test_fold=1
    ... )  # doctest: +SKIP
    """
    utterances = read(
        corpus, data_folder, csv_file, number_of_folds, classes, part, columns
    )
    return write_manifests(
        utterances,
        data_folder or ".",
        manifest_folder,
        test_fold,
        dev_split,
        seed,
        channel,
    )
