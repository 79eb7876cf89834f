"""EmoDB: acted emotion, in German.

Content
    The Berlin Database of Emotional Speech: ten actors, ten sentences, seven
    emotions; 535 utterances, 0.41 hours, 16 kHz. Twenty listeners named the
    emotion of each and judged whether it sounds natural. A file name such as
    03a01Fa.wav consists of speaker 03, sentence a01, emotion F and take a.
Licence
    CC0-1.0, as stated for version 1.1.0 in audEERING's `datasets/emodb`.
Source
    http://emodb.bilderbar.info/
Citation
    F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss: "A database
    of German emotional speech", Interspeech 2005.
Splits
    Five folds of two speakers: (03, 12), (08, 13), (09, 14), (10, 15) and
    (11, 16); dev is a random fifth of the other four, or whole speakers of
    them.
"""

from __future__ import annotations

import os
import re

from speechbrain.utils.logger import get_logger

from data_prep.archive import Archive
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

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}
FEMALE = ("08", "09", "13", "14", "16")
MALE = ("03", "10", "11", "12", "15")
FOLDS = {
    speaker: fold
    for fold, pair in enumerate(
        [("03", "12"), ("08", "13"), ("09", "14"), ("10", "15"), ("11", "16")],
        start=1,
    )
    for speaker in pair
}
WHAT = "EmoDB, with its files in a folder wav"
NAME = re.compile(
    r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[A-Z])(?P<take>[a-z]*)"
)


CARD = CorpusCard(
    name="EmoDB",
    identifier="emodb",
    language="de",
    nature="ten actors, ten sentences, in German",
)
ARCHIVE = Archive(
    url="http://emodb.bilderbar.info/download/download.zip",
    members=r"(?:.*/)?(wav/\d\d[ab]\d\d[A-Z][a-z]*\.wav|erkennung\.txt)",
    recordings=535,
    most=400_000_000,
    licence="CC0-1.0, as audEERING's datasets/emodb states",
    # Of the copy that all results of recipes/EMODB are of.
    contents="cca8be65dd0e048ffd0b873da4b7def7983078ade8da7279dd3f0b0496b713b9",
)


def read(
    data_folder: str | os.PathLike | None,
    csv_file: str | os.PathLike | None = None,
    number_of_folds: int = 5,
) -> list[Utterance]:
    """Read all utterances.

    Arguments
    ---------
    data_folder : str or pathlib.Path
        The folder that contains `wav`, or the folder `wav` itself.
    csv_file : None
        EmoDB needs no list.
    number_of_folds : int
        Not used: EmoDB has five folds here.

    Returns
    -------
    list of Utterance
        Sorted by id. `extra` has gender, sentence and take, and, if there is
        a file erkennung.txt, `recognised` and `naturalness`: the share of
        listeners, 0 to 1, who named the emotion and who found it natural.

    Raises
    ------
    BadInput
        If the folder is not EmoDB.
    """
    refuse_list(csv_file, "EmoDB")
    data_folder = existing_folder(data_folder, WHAT)
    inside = (data_folder / "wav").is_dir()
    folder = data_folder / "wav" if inside else data_folder
    listeners = _read_listeners(folder.parent) or _read_listeners(folder)
    utterances, others = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != ".wav" or path.name.startswith("."):
            continue
        match = NAME.fullmatch(path.stem)
        if not match:
            others.append(path.name)
            continue
        for what, known in (("speaker", FOLDS), ("emotion", EMOTIONS)):
            if match[what] not in known:
                raise BadInput(
                    f"The name of {path} has the {what} {match[what]}, which "
                    f"EmoDB does not have (it has {', '.join(known)}): correct "
                    "the name, or take the file out of the folder."
                )
        female = match["speaker"] in FEMALE
        utterances.append(
            Utterance(
                id=path.stem,
                wav=f"wav/{path.name}" if inside else path.name,
                label=EMOTIONS[match["emotion"]],
                speaker=match["speaker"],
                fold=FOLDS[match["speaker"]],
                extra={
                    "gender": "female" if female else "male",
                    "sentence": match["sentence"],
                    "take": match["take"],
                    **listeners.get(path.stem, {}),
                },
            )
        )
    if not utterances:
        raise BadInput(
            f"The folder {data_folder} is not EmoDB, it has no file such as "
            f"wav/03a01Fa.wav: set data_folder to the folder that contains {WHAT}."
        )
    if others:
        logger.warning(
            "%d files in %s are not named like EmoDB's and are left out: %s.",
            *(len(others), folder, first_few(others)),
        )
    missing = sorted(set(FOLDS) - {u.speaker for u in utterances})
    if missing:
        logger.warning(
            "EmoDB has ten speakers, but %s has no recording of %s: compare it "
            "with the release.",
            *(folder, first_few(missing, limit=10)),
        )
    return sorted(utterances, key=lambda utterance: utterance.id)


def _read_listeners(folder):
    """Read the judgements of the listeners: utterance id -> two shares."""
    path = folder / "erkennung.txt"
    if not path.is_file():
        return {}
    listeners = {}
    for line in read_text(path).split("\n"):
        cells = [cell.strip() for cell in line.split("\t")]
        try:
            _, file, recognised, naturalness = cells
            listeners[file.rpartition(".")[0]] = {
                "recognised": _share(recognised),
                "naturalness": _share(naturalness),
            }
        except ValueError:
            # The heading, and lines without numbers.
            continue
    return listeners


def _share(percent):
    """Turn "65,00" into 0.65."""
    return round(float(percent.replace(",", ".")) / 100, 6)
