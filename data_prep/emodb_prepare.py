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

import dataclasses
import os
import pathlib

from speechbrain.utils.logger import get_logger

from data_prep.archive import Archive
from data_prep.corpus import CorpusCard, Utterance, first_few, read_text
from data_prep.file_names import FileNames

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
PAIRS = (("03", "12"), ("08", "13"), ("09", "14"), ("10", "15"), ("11", "16"))
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


def _facts(name):
    """Return what is known of an utterance beside label and speaker."""
    gender = "female" if name["speaker"] in FEMALE else "male"
    return {"gender": gender, **{k: name[k] for k in ("sentence", "take")}}


NAMES = FileNames(
    corpus=CARD.name,
    example="wav/03a01Fa.wav",
    pattern=r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<label>[A-Z])"
    r"(?P<take>[a-z]*)",
    codes={"label": EMOTIONS},
    folds={s: n for n, pair in enumerate(PAIRS, start=1) for s in pair},
    files="wav/*",
    facts=_facts,
)


def read(
    data_folder: str | os.PathLike | None,
    csv_file: str | os.PathLike | None = None,
) -> list[Utterance]:
    """Read all utterances.

    Arguments
    ---------
    data_folder : str or pathlib.Path
        The folder that contains `wav`, or the folder `wav` itself.
    csv_file : None
        EmoDB needs no list.

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
    folder = pathlib.Path(data_folder or "")
    inside = (folder / "wav").is_dir()
    names = NAMES if inside else dataclasses.replace(NAMES, files="*")
    utterances = names.read(data_folder, csv_file)
    if inside:
        listeners = _read_listeners(folder) or _read_listeners(folder / "wav")
    else:
        listeners = _read_listeners(folder.parent) or _read_listeners(folder)
    for utterance in utterances:
        utterance.extra.update(listeners.get(utterance.id, {}))
    missing = sorted(set(names.folds or ()) - {u.speaker for u in utterances})
    if missing:
        logger.warning(
            "EmoDB has ten speakers, but %s has no recording of %s: compare it "
            "with the release.",
            *(folder, first_few(missing, limit=10)),
        )
    return utterances


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
