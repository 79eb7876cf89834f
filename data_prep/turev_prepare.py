"""TurEV-DB: single words, acted, in Turkish.

Content
    The Turkish Emotion-Voice Database: six speakers, 1735 words of about a
    second, 44.1 kHz, in four folders named by emotion. A file name such as
    1157_kz_acik.wav consists of speaker, emotion and word.
Licence
    CC BY-NC-ND 4.0.
Source
    https://github.com/Xeonen/TurEV-DB
Citation
    S. F. Canpolat, Z. Ormanoglu, D. Zeyrek: "Turkish Emotion Voice Database
    (TurEV-DB)", SLTU-CCURL 2020.
Splits
    Six folds of one speaker: set number_of_folds to 6.
What recurs
    The words: five speakers say 82 words each, with all emotions. The speaker
    1157 has Angry and Sad alone.
"""

from __future__ import annotations

import os
import re

from data_prep.corpus import CorpusCard, Utterance, existing_folder, refuse_list
from modules.errors import BadInput

EMOTIONS = ("Angry", "Calm", "Happy", "Sad")
SPEAKERS = ("1157", "1234", "1358", "1984", "6783", "7895")
NAME = re.compile(r"(\d{4})_[a-z]+_(.+)")
CARD = CorpusCard(
    name="TurEV-DB",
    identifier="turev-db",
    language="tr",
    nature="six speakers, single words, in Turkish",
    restricted="CC BY-NC-ND 4.0: no commercial use, no derivatives",
)


def read(
    data_folder: str | os.PathLike | None,
    csv_file: str | os.PathLike | None = None,
    number_of_folds: int = 6,
) -> list[Utterance]:
    """Read all utterances.

    Arguments
    ---------
    data_folder : str or pathlib.Path
        The folder that contains Angry, or the folder above it.
    number_of_folds : int
        Not used: there are six folds.
    """
    refuse_list(csv_file, "TurEV-DB")
    folder = existing_folder(data_folder, "TurEV-DB, with Sound Source")
    utterances = []
    for path in sorted(folder.rglob("*.wav")):
        match = NAME.fullmatch(path.stem)
        emotion = path.parent.name
        if not match or emotion not in EMOTIONS or match[1] not in SPEAKERS:
            raise BadInput(
                f"{path} is not named as TurEV-DB is, such as "
                "Angry/1157_kz_acik.wav: set data_folder to TurEV-DB alone."
            )
        utterances.append(
            Utterance(
                id=path.stem,
                wav=path.relative_to(folder).as_posix(),
                label=emotion.lower(),
                speaker=match[1],
                fold=SPEAKERS.index(match[1]) + 1,
                extra={"sentence": match[2]},
            )
        )
    return utterances
