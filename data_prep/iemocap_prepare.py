"""IEMOCAP: dyadic acted emotion, in English.

Content
    The Interactive Emotional Dyadic Motion Capture database: five sessions,
    each with one woman and one man, scripted and improvised; about 12 hours
    in 10 039 utterances, 16 kHz. Several annotators gave each utterance an
    emotion and its valence, activation and dominance.
Licence
    Under a licence of USC SAIL, for research; it may not be passed on.
Source
    https://sail.usc.edu/iemocap/ (request form)
Citation
    C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N.
    Chang, S. Lee, S. S. Narayanan: "IEMOCAP: Interactive emotional dyadic
    motion capture database", Language Resources and Evaluation 42, 2008.
Splits
    Those of SUPERB: four classes, neu, hap (with exc), ang and sad, 5531
    utterances; every session is tested on once, so there are five folds; dev
    is a random fifth of the other four sessions, or whole speakers of them.
    `classes` chooses others, `part` improvised or scripted dialogues alone.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping

from speechbrain.utils.logger import get_logger

from data_prep.corpus import (
    CorpusCard,
    Utterance,
    existing_folder,
    first_few,
    read_text,
    refuse_list,
)
from modules.errors import BadInput

logger = get_logger(__name__)

SESSIONS = (1, 2, 3, 4, 5)
# Those of the protocol.
CLASSES = "neu,hap+exc,ang,sad"
# Of the corpus; xxx: no majority.
LABELS = "neu hap exc ang sad fru sur fea dis oth xxx".split()
PARTS = {
    "improvised": lambda utterance: "_impro" in utterance.extra["dialogue"],
    "scripted": lambda utterance: "_script" in utterance.extra["dialogue"],
}
GENDERS = {"F": "female", "M": "male"}
DIMENSIONS = ("valence", "activation", "dominance")
WHAT = "IEMOCAP_full_release, with Session1 to Session5 in it"
REMEDY = "copy the file again from the IEMOCAP release"

# [6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5, 2.5, 2.5]
_NUMBER = r"\d+\.?\d*"
UTTERANCE_LINE = re.compile(
    rf"\[(?P<start>{_NUMBER}) - (?P<end>{_NUMBER})\]\s+"
    r"(?P<id>Ses0(?P<session>\d)[FM]_\w+_(?P<letter>[FM])\w+)\s+"
    r"(?P<label>[a-z]+)\s+"
    rf"\[(?P<dimensions>{_NUMBER}, *{_NUMBER}, *{_NUMBER})\]"
)
# C-F1:<TAB>Neutral; Frustration;<TAB>(comment)
# A-E3:<TAB>val 3; act 2; dom  2;<TAB>(comment)
ANNOTATOR_LINE = re.compile(r"(?P<who>[AC]-\w+):\s*(?P<what>[^(]*?)\s*\(")
RATING = re.compile(rf"(val|act|dom)\s+({_NUMBER})(?![\d.])")


CARD = CorpusCard(
    name="IEMOCAP",
    identifier="iemocap",
    language="en",
    nature="actors in dyadic scenes, in English",
    restricted="IEMOCAP is under a licence for research: check it before you "
    "publish weights trained on it",
)


def read(
    data_folder: str | os.PathLike | None,
    csv_file: str | os.PathLike | None = None,
) -> list[Utterance]:
    """Read the utterances of all labels.

    Arguments
    ---------
    data_folder : str or pathlib.Path
        IEMOCAP_full_release or the folder that contains it.
    csv_file : None
        IEMOCAP needs no list.

    Returns
    -------
    list of Utterance
        Sorted by id. `extra` has session, gender, dialogue, start and end in
        seconds, valence, activation, dominance, and `annotators`: name ->
        list of emotions, or -> dict of ratings.

    Raises
    ------
    BadInput
        If the folder is not IEMOCAP, or a session or a part of a label file
        is missing.
    """
    refuse_list(csv_file, "IEMOCAP")
    data_folder = existing_folder(data_folder, WHAT)
    root = data_folder
    if (data_folder / "IEMOCAP_full_release").is_dir():
        root = data_folder / "IEMOCAP_full_release"
    present = [n for n in SESSIONS if (root / f"Session{n}").is_dir()]
    if not present:
        raise BadInput(
            f"The folder {data_folder} is not IEMOCAP, it has no Session1: "
            f"set data_folder to {WHAT}."
        )
    prefix = "" if root == data_folder else f"{root.name}/"
    utterances, without_label = [], []
    for session in SESSIONS:
        found = _read_session(root, session)
        without_label += sorted(
            _wavs(root, session) - {utterance.wav for utterance in found}
        )
        utterances += [
            dataclasses.replace(u, wav=prefix + u.wav) for u in found
        ]
    if without_label:
        # A label file that ends early at the end of an utterance looks whole;
        # its audio without labels is then the only sign.
        logger.warning(
            "%d audio files have no line in EmoEvaluation (%s): a label file "
            "may be cut short; compare it with the IEMOCAP release.",
            *(len(without_label), first_few(without_label)),
        )
    return sorted(utterances, key=lambda utterance: utterance.id)


def facts(utterance: Utterance, classes: Mapping[str, str]) -> dict[str, float]:
    """Return the share of annotators who named the class, if there are any.

    Annotators write the names out ("Happiness"); the speakers themselves
    (C-F, C-M) are not counted.

    Arguments
    ---------
    utterance : Utterance
        With its label in the corpus.
    classes : dict
        Label -> class.

    Returns
    -------
    dict
        ``agreement``: the share, 0 to 1, of the outside annotators (C-E...)
        who named an emotion of the utterance's class.
    """
    chosen = [
        {classes.get(name[:3].lower()) for name in names}
        for who, names in utterance.extra["annotators"].items()
        if who.startswith("C-E")
    ]
    if not chosen:
        return {}
    named = sum(classes[utterance.label] in own for own in chosen)
    return {"agreement": round(named / len(chosen), 6)}


def _subfolder(root, session, *parts):
    """Return a folder of a session, which must be there."""
    folder = root.joinpath(f"Session{session}", *parts)
    if not folder.is_dir():
        raise BadInput(
            f"Session {session} of IEMOCAP is missing, there is no folder "
            f"{folder}: all five sessions are needed, so copy it from the "
            "IEMOCAP release."
        )
    return folder


def _wavs(root, session):
    """List the audio of a session, relative to root."""
    # One listing per folder is many times faster than a look at every file.
    wavs = set()
    with os.scandir(_subfolder(root, session, "sentences", "wav")) as dialogues:
        for dialogue in dialogues:
            if dialogue.name.startswith(".") or not dialogue.is_dir():
                continue
            wavs.update(
                f"Session{session}/sentences/wav/{dialogue.name}/{name}"
                for name in os.listdir(dialogue.path)
                if name.endswith(".wav") and not name.startswith(".")
            )
    return wavs


def _read_session(root, session):
    """Read all utterances of a session, whatever their label."""
    folder = _subfolder(root, session, "dialog", "EmoEvaluation")
    # Copies made on a Mac have a resource fork "._x.txt" beside every x.txt.
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix == ".txt"
        and not path.name.startswith(".")
        and path.is_file()
    )
    if not files:
        raise BadInput(
            f"Session {session} of IEMOCAP has no label files in {folder}: "
            "copy them from the IEMOCAP release."
        )
    return [u for path in files for u in _read_labels(path, session)]


def _read_labels(path, session):
    """Read a label file, which must be whole."""
    blocks = []
    for line in read_text(path).split("\n"):
        line = line.strip()
        if line.startswith("["):
            blocks.append([line])
        elif blocks and line and not line.startswith("%"):
            blocks[-1].append(line)
    if not blocks:
        raise BadInput(
            f"The label file {path} is cut short, it has no line "
            f"'[start - end] utterance label': {REMEDY}."
        )
    # The end of the file is where a broken copy shows: the last utterance
    # must have the kinds of annotators that the first one has, and its last
    # line must end as an annotator's line does.
    last = blocks[-1]
    kinds = [{line[:2] for line in block[1:]} for block in (blocks[0], last)]
    whole = (
        len(last) > 1
        and kinds[0] & {"A-", "C-"} <= kinds[1]
        and last[-1].endswith(")")
    )
    if not whole:
        raise BadInput(
            f"The label file {path} is cut short, the annotators of its last "
            f"utterance are incomplete ({last[0]!r}): {REMEDY}."
        )
    return [_read_block(block, path, session) for block in blocks]


def _read_block(lines, path, session):
    """Read the line of an utterance and its annotators' lines."""
    match = UTTERANCE_LINE.fullmatch(lines[0])
    if not match or int(match["session"]) != session:
        raise BadInput(
            f"The label file {path} is cut short or damaged at "
            f"{lines[0]!r}: {REMEDY}."
        )
    if match["label"] not in LABELS:
        raise BadInput(
            f"The label file {path} gives {match['id']} the label "
            f"{match['label']!r}, which IEMOCAP does not have: {REMEDY}."
        )
    annotators = {}
    for line in lines[1:]:
        annotator = ANNOTATOR_LINE.match(line)
        if annotator and annotator["who"].startswith("C-"):
            names = (name.strip() for name in annotator["what"].split(";"))
            annotators[annotator["who"]] = [name for name in names if name]
        elif annotator:
            annotators[annotator["who"]] = {
                name: float(value)
                for name, value in RATING.findall(annotator["what"])
            }
    dialogue = match["id"].rpartition("_")[0]
    values = map(float, match["dimensions"].split(","))
    return Utterance(
        id=match["id"],
        wav=f"Session{session}/sentences/wav/{dialogue}/{match['id']}.wav",
        label=match["label"],
        # The letter in "Ses01F" names who wore the markers, not who speaks;
        # and dialogue names have one to three parts, so only the last part
        # of the id is safe.
        speaker=f"Ses0{session}{match['letter']}",
        fold=session,
        extra={
            "session": session,
            "gender": GENDERS[match["letter"]],
            "dialogue": dialogue,
            "start": float(match["start"]),
            "end": float(match["end"]),
            **dict(zip(DIMENSIONS, values)),
            "annotators": annotators,
        },
    )
