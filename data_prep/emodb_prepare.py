"""EmoDB: acted emotion, in German.

Content
    The Berlin Database of Emotional Speech: ten actors, ten sentences, seven
    emotions; 535 utterances, 0.41 hours, 16 kHz. Twenty listeners named the
    emotion of each and said whether it sounds natural. A file name such as
    03a01Fa.wav tells speaker 03, sentence a01, emotion F and take a.
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

import re

from speechbrain.utils.logger import get_logger

from data_prep.manifest import (
    Utterance,
    existing_folder,
    first_few,
    read_text,
    write_manifests,
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


def prepare_emodb(
    data_folder, manifest_folder, test_fold, dev_split="random", seed=1
):
    """Prepare the manifests of one held-out fold.

    Arguments
    ---------
    data_folder : str or pathlib.Path
        The folder that holds `wav` and, if there is one, `erkennung.txt`.
    manifest_folder : str or pathlib.Path
        Where the manifests go.
    test_fold : int
        The fold to test on, 1 to 5.
    dev_split : str
        "random" or "speaker", see `data_prep.manifest.split`.
    seed : int
        Chooses dev.

    Returns
    -------
    dict
        "train", "dev" and "test" -> pathlib.Path of the manifest.
    """
    return write_manifests(
        read_emodb(data_folder),
        data_folder,
        manifest_folder,
        test_fold,
        dev_split,
        seed,
    )


def read_emodb(data_folder):
    """Read all utterances.

    Arguments
    ---------
    data_folder : str or pathlib.Path
        The folder that holds `wav`, or the folder `wav` itself.

    Returns
    -------
    list of Utterance
        Sorted by id. `extra` holds gender, sentence and take, and, where
        listeners were asked, `recognised` and `naturalness`: the share of
        listeners, 0 to 1, who named the emotion and who found it natural.

    Raises
    ------
    BadInput
        If the folder is not EmoDB.
    """
    data_folder = existing_folder(data_folder, WHAT)
    inside = (data_folder / "wav").is_dir()
    folder = data_folder / "wav" if inside else data_folder
    listeners = _read_listeners(folder.parent) or _read_listeners(folder)
    utterances, others = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != ".wav" or path.name.startswith("."):
            continue
        match = NAME.fullmatch(path.stem)
        if (
            not match
            or match["speaker"] not in FOLDS
            or match["emotion"] not in EMOTIONS
        ):
            others.append(path.name)
            continue
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
            f"wav/03a01Fa.wav: set data_folder to the folder that holds {WHAT}."
        )
    if others:
        logger.warning(
            "%d files in %s are not named like EmoDB's and are left out: %s.",
            *(len(others), folder, first_few(others)),
        )
    missing = sorted(set(FOLDS) - {u.speaker for u in utterances})
    if missing:
        logger.warning(
            "EmoDB has ten speakers, but %s holds nothing of %s: compare it "
            "with the release.",
            *(folder, first_few(missing, limit=10)),
        )
    return sorted(utterances, key=lambda utterance: utterance.id)


def _read_listeners(folder):
    """Read what the listeners said: utterance id -> two shares."""
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
            # The heading, and lines that tell nothing.
            continue
    return listeners


def _share(percent):
    """Turn "65,00" into 0.65."""
    return round(float(percent.replace(",", ".")) / 100, 6)
