"""RAVDESS: acted emotion, in English.

Content
    Speech of the Ryerson Audio-Visual Database of Emotional Speech and Song:
    24 actors (even numbers: female), two sentences, eight emotions, two
    intensities; 1440 utterances, 48 kHz. 03-01-06-01-02-01-12.wav has the
    modality, channel, emotion, intensity, sentence, repetition and actor.
Licence
    CC BY-NC-SA 4.0: no commercial use.
Source
    https://zenodo.org/records/1188976, which states size and MD5.
Citation
    S. R. Livingstone, F. A. Russo: "The Ryerson Audio-Visual Database of
    Emotional Speech and Song (RAVDESS)", PLoS ONE 13(5), 2018.
Splits
    Five folds of actors: 1 to 5, 6 to 10, 11 to 15, 16 to 20, 21 to 24. `part`
    chooses normal or strong intensity alone.
"""

from data_prep.archive import Archive
from data_prep.corpus import CorpusCard
from data_prep.file_names import FileNames

EMOTIONS = "neutral calm happiness sadness anger fear disgust surprise".split()
ONE_OR_TWO = {"01": 1, "02": 2}
PARTS = {
    "normal": lambda utterance: utterance.extra["intensity"] == "normal",
    "strong": lambda utterance: utterance.extra["intensity"] == "strong",
}
PATTERN = (
    r"03-01-(?P<label>\d\d)-(?P<intensity>\d\d)-(?P<sentence>\d\d)"
    r"-(?P<take>\d\d)-(?P<speaker>\d\d)"
)
CARD = CorpusCard(
    name="RAVDESS",
    identifier="ravdess",
    language="en",
    nature="24 actors, two sentences, in North American English",
    restricted="CC BY-NC-SA 4.0: no commercial use",
)
ARCHIVE = Archive(
    url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
    members=rf"(?:.*/)?(Actor_\d\d/{PATTERN}\.wav)",
    recordings=1440,
    most=1_500_000_000,
    licence="CC BY-NC-SA 4.0: no commercial use",
    size=208_468_073,
    md5="bc696df654c87fed845eb13823edef8a",
)


def _facts(name):
    """Return what is known of an utterance beside label and speaker."""
    gender = "male" if int(name["speaker"]) % 2 else "female"
    keys = ("sentence", "intensity", "take")
    return {"gender": gender} | {key: name[key] for key in keys}


NAMES = FileNames(
    corpus=CARD.name,
    example="Actor_01/03-01-01-01-01-01-01.wav",
    pattern=PATTERN,
    codes={
        "label": {f"{n:02}": k for n, k in enumerate(EMOTIONS, start=1)},
        "intensity": {"01": "normal", "02": "strong"},
        "sentence": ONE_OR_TWO,
        "take": ONE_OR_TWO,
    },
    folds={f"{actor:02}": (actor - 1) // 5 + 1 for actor in range(1, 25)},
    files="Actor_*/*",
    facts=_facts,
)
read = NAMES.read
