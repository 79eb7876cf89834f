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

from __future__ import annotations

import re

from data_prep.archive import Archive
from data_prep.corpus import CorpusCard, Utterance, existing_folder, refuse_list
from modules.errors import BadInput

EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear"}
EMOTIONS |= {"HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
# One published file has the intensity X.
NAME = re.compile(
    rf"(10\d\d)_([A-Z]{{3}})_({'|'.join(EMOTIONS)})_(LO|MD|HI|XX|X)"
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
    members=rf"(?:.*/)?(AudioWAV/{NAME.pattern}\.wav)",
    recordings=7442,
    most=2_000_000_000,
    licence="Open Database License, contents Database Contents License",
)


def read(data_folder, csv_file=None, number_of_folds=5) -> list[Utterance]:
    """Return all utterances; see `data_prep.emodb_prepare.read`."""
    refuse_list(csv_file, "CREMA-D")
    folder = existing_folder(data_folder, "CREMA-D, with its folder AudioWAV")
    utterances = []
    for path in sorted(folder.glob("AudioWAV/[!.]*.wav")):
        match = NAME.fullmatch(path.stem)
        if not match:
            raise BadInput(
                f"{path} is not named as CREMA-D names speech: correct it."
            )
        actor, sentence, emotion, intensity = match.groups()
        utterances.append(
            Utterance(
                id=path.stem,
                wav=path.relative_to(folder).as_posix(),
                label=EMOTIONS[emotion],
                speaker=actor,
                fold=(int(actor) - 1001) % 5 + 1,
                extra={"sentence": sentence, "intensity": intensity},
            )
        )
    if not utterances:
        raise BadInput(
            f"The folder {folder} is not CREMA-D: it has no file such as "
            "AudioWAV/1001_DFA_ANG_XX.wav."
        )
    return utterances
