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

from data_prep.corpus import CorpusCard
from data_prep.file_names import FileNames

SPEAKERS = ("1157", "1234", "1358", "1984", "6783", "7895")
CARD = CorpusCard(
    name="TurEV-DB",
    identifier="turev-db",
    language="tr",
    nature="six speakers, single words, in Turkish",
    restricted="CC BY-NC-ND 4.0: no commercial use, no derivatives",
)
NAMES = FileNames(
    corpus=CARD.name,
    example="Angry/1157_kz_acik.wav",
    pattern=r"(?P<label>[^/]+)/(?P<speaker>\d{4})_[a-z]+_(?P<sentence>[^/]+)",
    codes={"label": {k: k.lower() for k in ("Angry", "Calm", "Happy", "Sad")}},
    folds={speaker: n for n, speaker in enumerate(SPEAKERS, start=1)},
)
read = NAMES.read
