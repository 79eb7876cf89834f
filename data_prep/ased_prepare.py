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

import dataclasses

from data_prep.corpus import CorpusCard
from data_prep.file_names import FileNames

EMOTIONS = {"n": "neutral", "f": "fear", "h": "happy", "s": "sad", "a": "angry"}
CARD = CorpusCard(
    name="ASED",
    identifier="ased",
    language="am",
    nature="65 speakers, 27 sentences, in Amharic",
    restricted="no licence is stated: ask its authors before you publish",
)
NAMES = FileNames(
    corpus=CARD.name,
    example="05Angry/a5-03-01-02-50.wav",
    pattern=r"(?P<label>[A-Za-z])\d-\d\d-\d\d-(?P<gender>\d\d)-(?P<speaker>\d\d)",
    codes={
        "label": EMOTIONS | {k.upper(): v for k, v in EMOTIONS.items()},
        "gender": {"01": "female", "02": "male"},
    },
)


def read(data_folder, csv_file=None):
    """Read all utterances, see `FileNames.read`; ids are in lower case."""
    utterances = NAMES.read(data_folder, csv_file)
    return [dataclasses.replace(u, id=u.id.lower()) for u in utterances]
