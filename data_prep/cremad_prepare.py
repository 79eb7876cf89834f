"""CREMA-D: acted emotion, in English.

Content
    The Crowd-sourced Emotional Multimodal Actors Dataset: 91 actors (48 male,
    43 female), twelve sentences, six emotions; 7442 utterances, 16 kHz. A file
    name such as 1001_DFA_ANG_XX.wav consists of actor, sentence, emotion and
    intensity (LO, MD, HI, XX: not specified).
Licence
    Open Database License, its contents Database Contents License.
Source
    https://github.com/CheyneyComputerScience/CREMA-D; the download is its
    mirror https://gitlab.com/cs-cooper-lab/crema-d-mirror. Neither states a
    digest of the archive, so none is checked.
Citation
    H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma:
    "CREMA-D: Crowd-sourced emotional multimodal actors dataset", IEEE
    Transactions on Affective Computing 5(4), 2014.
Splits
    Five folds of actors: every fifth one, from 1001, is in the first fold.
"""

from data_prep.archive import Archive
from data_prep.corpus import CorpusCard
from data_prep.file_names import FileNames

EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear"}
EMOTIONS |= {"HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
PATTERN = (
    r"(?P<speaker>10\d\d)_(?P<sentence>[A-Z]{3})_(?P<label>[A-Z]{3})"
    r"_(?P<intensity>[A-Z]{1,2})"
)
CARD = CorpusCard(
    name="CREMA-D",
    identifier="cremad",
    language="en",
    nature="91 actors, twelve sentences, in English",
    restricted="Open Database License: attribute, share a database alike",
)
ARCHIVE = Archive(
    url="https://gitlab.com/cs-cooper-lab/crema-d-mirror/-/archive/main/"
    "crema-d-mirror-main.zip?path=AudioWAV",
    members=rf"(?:.*/)?(AudioWAV/{PATTERN}\.wav)",
    recordings=7442,
    most=2_000_000_000,
    licence="Open Database License, contents Database Contents License",
)
NAMES = FileNames(
    corpus=CARD.name,
    example="AudioWAV/1001_DFA_ANG_XX.wav",
    pattern=PATTERN,
    # One published file has the intensity X.
    codes={"label": EMOTIONS, "intensity": ("LO", "MD", "HI", "XX", "X")},
    folds={str(actor): (actor - 1001) % 5 + 1 for actor in range(1001, 1092)},
    files="AudioWAV/*",
)
read = NAMES.read
