"""Writing SpeechBrain's JSON manifests; `modules.manifest` reads them."""

from __future__ import annotations

import collections
import json
import os
import pathlib
from collections.abc import Iterable

from speechbrain.utils.logger import get_logger

from data_prep.audio_checks import Audio
from data_prep.checks import check_corpus, check_splits
from data_prep.corpus import Utterance
from data_prep.folds import describe_unevenness
from data_prep.split import SPLITS, split
from modules.errors import BadInput
from modules.files import write_text
from modules.manifest import DATA_ROOT

logger = get_logger(__name__)

# Keys with a meaning in a manifest; "id" is SpeechBrain's own.
RESERVED = frozenset(
    "id wav duration label speaker fold sha256 channel".split()
)


def write_manifests(
    utterances: Iterable[Utterance],
    data_folder: str | os.PathLike,
    manifest_folder: str | os.PathLike,
    test_fold: int,
    dev_split: str,
    seed: int,
    channel: str = "mean",
) -> dict[str, pathlib.Path]:
    """Check a corpus, split it and write its manifests.

    Arguments
    ---------
    utterances : iterable of Utterance
        The corpus.
    data_folder : str or pathlib.Path
        The folder of relative paths; "{data_root}" in the manifests.
    manifest_folder : str or pathlib.Path
        The folder of the manifests.
    test_fold : int
        The fold to test on.
    dev_split : str
        "random" or "speaker", see `data_prep.split.split`.
    seed : int
        Chooses dev.
    channel : str
        "mean", "left" or "right": what is read of stereo.

    Returns
    -------
    dict
        "train", "dev" and "test" -> pathlib.Path of the manifest.

    Raises
    ------
    BadInput
        If the corpus cannot be used as it is, or the disk has no room.
    """
    utterances, audio = check_corpus(utterances, data_folder, channel)
    splits = split(utterances, test_fold, dev_split, seed)
    check_splits(splits)
    for sentence in describe_unevenness(utterances):
        logger.warning(sentence)
    folder = pathlib.Path(manifest_folder)
    paths = {name: folder / f"{name}.json" for name in SPLITS}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            entries = {u.id: make_entry(u, audio[u.id]) for u in splits[name]}
            write_text(path, json.dumps(entries, indent=2, ensure_ascii=False))
    except OSError as error:
        raise BadInput(
            f"The manifests cannot be written to {folder} ({error.strerror}): "
            "make room or choose another folder."
        ) from error
    logger.info(
        "Test fold %s: %s.",
        test_fold,
        "; ".join(f"{name} {_counts(splits[name])}" for name in SPLITS),
    )
    return paths


def make_entry(utterance: Utterance, audio: Audio) -> dict:
    """Make the manifest entry of one utterance.

    Arguments
    ---------
    utterance : Utterance
        Where its path is relative, the entry's begins with "{data_root}".
    audio : data_prep.audio_checks.Audio
        Of its recording.
    """
    wav = utterance.wav
    if not os.path.isabs(wav):
        wav = f"{DATA_ROOT}/{wav}"
    entry = {
        **utterance.extra,
        "wav": wav,
        "duration": audio.duration,
        "label": utterance.label,
        "speaker": utterance.speaker,
        "fold": utterance.fold,
        "sha256": audio.sha256,
    }
    return (
        entry if audio.channel is None else entry | {"channel": audio.channel}
    )


def _counts(utterances):
    """Describe a split, e.g. "3 (ang 1, neu 2)"."""
    counts = collections.Counter(u.label for u in utterances)
    listed = ", ".join(f"{label} {counts[label]}" for label in sorted(counts))
    return f"{len(utterances)} ({listed})"
