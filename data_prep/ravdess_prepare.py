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
    Five folds of actors: 1 to 5, 6 to 10, 11 to 15, 16 to 20, 21 to 24.
"""

from __future__ import annotations

import re

from data_prep.archive import Archive
from data_prep.corpus import CorpusCard, Utterance, existing_folder, refuse_list
from modules.errors import BadInput

EMOTIONS = "neutral calm happiness sadness anger fear disgust surprise".split()
NAME = re.compile(r"03-01-0([1-8])-0([12])-0([12])-0([12])-([01]\d|2[0-4])")
CARD = CorpusCard(
    name="RAVDESS",
    identifier="ravdess",
    language="en",
    nature="24 actors, two sentences, in North American English",
    restricted="CC BY-NC-SA 4.0: no commercial use",
)
ARCHIVE = Archive(
    url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
    members=rf"(?:.*/)?(Actor_\d\d/{NAME.pattern}\.wav)",
    recordings=1440,
    most=1_500_000_000,
    licence="CC BY-NC-SA 4.0: no commercial use",
    size=208_468_073,
    md5="bc696df654c87fed845eb13823edef8a",
)


def read(data_folder, csv_file=None, number_of_folds=5) -> list[Utterance]:
    """Return all utterances; see `data_prep.emodb_prepare.read`."""
    refuse_list(csv_file, "RAVDESS")
    folder = existing_folder(data_folder, "RAVDESS, with Actor_01 and others")
    utterances = []
    for path in sorted(folder.glob("Actor_*/[!.]*.wav")):
        match = NAME.fullmatch(path.stem)
        if not match:
            raise BadInput(
                f"{path} is not named as RAVDESS names speech: correct it."
            )
        emotion, intensity, sentence, take, actor = map(int, match.groups())
        utterances.append(
            Utterance(
                id=path.stem,
                wav=path.relative_to(folder).as_posix(),
                label=EMOTIONS[emotion - 1],
                speaker=f"{actor:02}",
                fold=(actor - 1) // 5 + 1,
                extra={
                    "gender": "male" if actor % 2 else "female",
                    "sentence": sentence,
                    "intensity": ("normal", "strong")[intensity - 1],
                    "take": take,
                },
            )
        )
    if not utterances:
        raise BadInput(
            f"The folder {folder} is not RAVDESS: it has no file such as "
            "Actor_01/03-01-01-01-01-01-01.wav."
        )
    return utterances
