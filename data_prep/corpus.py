"""What a corpus file returns, and what it needs to read its corpus.

A corpus file is `data_prep/<corpus>_prepare.py`. It has a function
``read(data_folder, csv_file)`` that returns a list of `Utterance`, and a
constant ``CARD``, a `CorpusCard`. It may have ``CLASSES``, the classes by
default, ``PARTS``, name -> whether an utterance is in that part, and ``facts``,
see `data_prep.classes.choose_classes`. One that reads a list has ``COLUMNS``,
the columns that may have other names there, and ``read`` a third argument
``columns``, see `data_prep.csv_prepare.read`.
"""

from __future__ import annotations

import codecs
import dataclasses
import os
import pathlib
from collections.abc import Iterable

from modules.errors import BadInput


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One recording with its label.

    Arguments
    ---------
    id : str
        Name of the utterance, unique in the corpus.
    wav : str
        Path relative to the data folder, with forward slashes, or absolute.
    label : str
        The emotion.
    speaker : str
        Name of the speaker.
    fold : int or None
        The fold, from 1, in which the utterance is tested; 0 if it is tested
        in none; None if whole speakers are to be dealt into folds.
    extra : dict
        Other facts about the utterance, as JSON values.
    split : str, optional
        "train", "dev" or "test", if the corpus comes with a split; None if
        the folds decide.

    Example
    -------
    >>> Utterance("a01", "wav/a01.wav", "calm", "ann", fold=1).label
    'calm'
    """

    id: str
    wav: str
    label: str
    speaker: str
    fold: int | None
    extra: dict = dataclasses.field(default_factory=dict)
    split: str | None = None


@dataclasses.dataclass(frozen=True)
class CorpusCard:
    """What the card of a model states about its training corpus.

    Arguments
    ---------
    name : str
        Name of the corpus, for readers.
    identifier : str
        Name of the corpus on the HuggingFace Hub.
    language : str, optional
        Code of the language; None if it is not known.
    nature : str
        The kind of speech.
    restricted : str
        What to consider before weights are published, or "".
    """

    name: str
    identifier: str
    language: str | None
    nature: str
    restricted: str = ""


def own_recordings(name: str) -> CorpusCard:
    """Return the card of recordings that the user lists.

    Arguments
    ---------
    name : str
        What they are given as, for readers.
    """
    return CorpusCard(
        name=name,
        identifier="own-recordings",
        language=None,
        nature="of an origin that this recipe does not know",
        restricted="the licence of these recordings and the consent of the "
        "people in them decide whether weights trained on them may be published",
    )


def first_few(names: Iterable, limit: int = 3) -> str:
    """Name the first few items of a list that may be long.

    Arguments
    ---------
    names : iterable
        The items, in order.
    limit : int
        How many to name.

    Returns
    -------
    str
        The names, with control characters and broken text escaped.

    Example
    -------
    >>> first_few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    names = [_printable(str(name)) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _printable(text):
    """Escape the characters that a terminal would interpret."""
    return "".join(
        char if char.isprintable() else repr(char)[1:-1] for char in text
    )


def read_text(path: str | os.PathLike) -> str:
    """Read a text file of unknown encoding and line ends.

    Arguments
    ---------
    path : str or pathlib.Path
        The file: UTF-8, UTF-16 with a byte order mark, or Latin-1.

    Returns
    -------
    str
        Its text with "\\n" as line end.

    Raises
    ------
    BadInput
        If the file cannot be read.
    """
    path = pathlib.Path(path)
    # Every run of a table reads the file again, and reading a pipe waits.
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} is not a file: correct the path.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror}): put the file there "
            "or correct the path."
        ) from error
    # Spreadsheets export "Unicode text" as UTF-16.
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def existing_folder(
    folder: str | os.PathLike | None, what: str
) -> pathlib.Path:
    """Check that a data folder exists and is not empty.

    Arguments
    ---------
    folder : str or pathlib.Path
        The folder.
    what : str
        What the folder must contain, for the message.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    BadInput
        If it does not exist, is not a folder, is empty or cannot be read.
    """
    remedy = f"set data_folder to the folder that contains {what}"
    if not folder:
        raise BadInput(f"data_folder is not set: {remedy}.")
    folder = pathlib.Path(folder)
    try:
        if not folder.exists():
            raise BadInput(f"The folder {folder} does not exist: {remedy}.")
        if not folder.is_dir():
            raise BadInput(f"{folder} is a file, not a folder: {remedy}.")
        if not any(folder.iterdir()):
            raise BadInput(f"The folder {folder} is empty: {remedy}.")
    except OSError as error:
        raise BadInput(
            f"The folder {folder} cannot be read ({error.strerror}): {remedy}."
        ) from error
    return folder


def refuse_list(csv_file: str | os.PathLike | None, corpus: str) -> None:
    """Refuse a list of utterances that would not be read.

    Arguments
    ---------
    csv_file : str or pathlib.Path or None
        The setting of the user.
    corpus : str
        Name of the corpus, for the message.

    Raises
    ------
    BadInput
        If there is a list.
    """
    if csv_file:
        raise BadInput(
            f"csv_file is set to {csv_file}, but {corpus} is read without a "
            "list: leave csv_file out, or set corpus to csv."
        )
