"""ASED: acted emotion, in Amharic.

Content
    The Amharic Speech Emotion Dataset, version 1: 65 speakers, 2474 short
    sentences, 16 kHz, each accepted by five of eight judges, in five folders.
    A file name such as a5-03-01-02-50.wav consists of emotion, sentence,
    repetition, gender (01 female) and speaker.
Licence
    None is stated.
Source
    https://github.com/wgwangang/ASED_V1
Citation
    E. A. Retta et al.: "A New Amharic Speech Emotion Dataset and
    Classification Benchmark", ACM TALLIP 22, 2023.
Splits
    Whole speakers are dealt into folds. Five files have another gender than
    the other files of their number; the number alone is the speaker.
What recurs
    Each emotion has five sentences of its own, 01 to 05, so that the words
    may give the emotion away; 06 and 07 are common to all emotions.
"""

from __future__ import annotations

import os
import re

from data_prep.corpus import CorpusCard, Utterance, existing_folder, refuse_list
from data_prep.folds import deal_speakers
from modules.errors import BadInput

EMOTIONS = {"n": "neutral", "f": "fear", "h": "happy", "s": "sad", "a": "angry"}
NAME = re.compile(r"([nfhsa])\d-(\d\d)-(\d\d)-(0[12])-(\d\d)", re.IGNORECASE)
CARD = CorpusCard(
    name="ASED",
    identifier="ased",
    language="am",
    nature="65 speakers, 27 sentences, in Amharic",
    restricted="no licence is stated: ask its authors before you publish",
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
        The folder that contains 01Neutral and others.
    number_of_folds : int
        How many folds the speakers are dealt into.
    """
    refuse_list(csv_file, "ASED")
    folder = existing_folder(data_folder, "ASED, with 01Neutral and others")
    matches = {p: NAME.fullmatch(p.stem) for p in sorted(folder.rglob("*.wav"))}
    wrong = sorted(str(path) for path, match in matches.items() if not match)
    if wrong or not matches:
        raise BadInput(
            f"{wrong[0] if wrong else folder} is not named as ASED is, such "
            "as 05Angry/a5-03-01-02-50.wav: set data_folder to ASED alone."
        )
    named = {path: match for path, match in matches.items() if match}
    labels = [EMOTIONS[match[1].lower()] for match in named.values()]
    speakers = [match[5] for match in named.values()]
    folds = deal_speakers(speakers, labels, number_of_folds)
    found = zip(named.items(), labels, speakers)
    return [
        Utterance(
            id=path.stem.lower(),
            wav=path.relative_to(folder).as_posix(),
            label=label,
            speaker=speaker,
            fold=folds[speaker],
            extra={"gender": "female" if match[4] == "01" else "male"},
        )
        for (path, match), label, speaker in found
    ]
