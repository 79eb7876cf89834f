"""What all corpora share: splits, validation and JSON manifests.

A corpus file (`iemocap_prepare.py`, ...) only reads its corpus into a list of
`Utterance`; everything that decides what is trained and tested on is here, so
that it is decided once.
"""

import collections
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import random

import numpy as np
import soundfile
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from modules.errors import BadInput

logger = get_logger(__name__)

SAMPLE_RATE = 16000
# What the convolutions of WavLM, HuBERT and wav2vec 2.0 need for one frame.
SAMPLES_PER_FRAME = 400
SPLITS = ("train", "dev", "test")
DEV_SPLITS = ("random", "speaker")
# Keys that a manifest gives a meaning to; "id" is SpeechBrain's own.
RESERVED = ("id", "wav", "duration", "label", "speaker", "fold", "sha256")

PROBLEMS = {
    "id": "Two utterances have the same id ({}): give each its own.",
    "twice": "A file is in two entries ({}): keep one of them.",
    "label": "An utterance has no label ({}): fill it in or leave it out.",
    "other label": "A label is not among the allowed ones ({}): correct it or "
    "leave the utterance out.",
    "speaker": "A speaker is in the test set and in train or dev ({}): give "
    "all utterances of a speaker the same fold.",
    "missing": "There is no such audio file: {}; put it there or take its "
    "utterance out.",
    "empty": "An audio file has 0 bytes: {}; copy it again or take its "
    "utterance out.",
    "broken": "An audio file cannot be opened: {}; copy it again or take its "
    "utterance out.",
    "short": "An audio file is shorter than one frame of the encoder (25 ms): "
    "{}; take its utterance out.",
    "not finite": "An audio file holds NaN or infinite samples: {}; export it "
    "again or take its utterance out.",
}


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One recording with its label, as a corpus file finds it.

    Arguments
    ---------
    id : str
        Name of the utterance, unique in the corpus.
    wav : str
        Path relative to the data folder, with forward slashes, or absolute.
    label : str
        The emotion.
    speaker : str
        Who speaks.
    fold : int
        The fold, from 1, in which the utterance is tested.
    extra : dict
        Whatever else the corpus knows, as JSON holds it.
    """

    id: str
    wav: str
    label: str
    speaker: str
    fold: int
    extra: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Audio:
    """What one read of an audio file tells.

    Arguments
    ---------
    sample_rate : int
        Samples per second.
    channels : int
        Number of channels.
    duration : float
        Seconds.
    silent : bool
        Whether all samples are zero.
    sha256 : str
        Of the file's bytes.
    """

    sample_rate: int
    channels: int
    duration: float
    silent: bool
    sha256: str


def first_few(names, limit=3):
    """Name the first few things of a list that may be long.

    Arguments
    ---------
    names : iterable of str
        The names, in order.
    limit : int
        How many to name.

    Returns
    -------
    str
        E.g. "a, b, c and 2 more".
    """
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def read_text(path):
    """Read a text file of unknown encoding and line ends.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.

    Returns
    -------
    str
        Its text with "\\n" as line end.

    Raises
    ------
    BadInput
        If the file cannot be read.
    """
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror}): put the file there "
            "or correct the path."
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def existing_folder(folder, what):
    """Check that a data folder is there and not empty.

    Arguments
    ---------
    folder : str or pathlib.Path
        The folder.
    what : str
        What it should hold, for the message.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    BadInput
        If it does not exist, is not a folder or is empty.
    """
    remedy = f"set data_folder to the folder that holds {what}"
    if not folder:
        raise BadInput(f"data_folder is not set: {remedy}.")
    folder = pathlib.Path(folder)
    if not folder.exists():
        raise BadInput(f"The folder {folder} does not exist: {remedy}.")
    if not folder.is_dir():
        raise BadInput(f"{folder} is a file, not a folder: {remedy}.")
    if not any(folder.iterdir()):
        raise BadInput(f"The folder {folder} is empty: {remedy}.")
    return folder


def split(utterances, test_fold, dev_split, seed, dev_share=0.2):
    """Split a corpus into train, dev and test.

    Arguments
    ---------
    utterances : iterable of Utterance
        The corpus, in any order: the order makes no difference.
    test_fold : int
        The fold to test on.
    dev_split : str
        "random": dev is a random part of the other folds and shares speakers
        with train, as in SUPERB. "speaker": dev is made of whole speakers.
    seed : int
        Chooses dev.
    dev_share : float
        Dev's share of the utterances that are not tested on. Whole speakers
        come as near to it as they do in one pass.

    Returns
    -------
    dict
        "train", "dev" and "test", each a list of Utterance sorted by id.

    Raises
    ------
    BadInput
        If the fold or the kind of split is unknown, or nothing is left to
        train on.
    """
    utterances = sorted(utterances, key=_by_id)
    if dev_split not in DEV_SPLITS:
        raise BadInput(
            f"dev_split {dev_split!r} is unknown: choose one of "
            f"{', '.join(DEV_SPLITS)}."
        )
    folds = sorted({utterance.fold for utterance in utterances})
    if test_fold not in folds:
        raise BadInput(
            f"test_fold {test_fold!r} is not among the folds: choose one of "
            f"{', '.join(map(str, folds))}."
        )
    test = [u for u in utterances if u.fold == test_fold]
    rest = [u for u in utterances if u.fold != test_fold]
    if len(rest) < 2:
        raise BadInput(
            f"Outside test_fold {test_fold} there are {len(rest)} utterances, "
            "too few for train and dev: spread the corpus over more folds."
        )
    generator = random.Random(seed)
    target = dev_share * len(rest)
    if dev_split == "random":
        size = min(max(round(target), 1), len(rest) - 1)
        dev = {u.id for u in generator.sample(rest, size)}
    else:
        speakers = _dev_speakers(rest, target, generator)
        dev = {u.id for u in rest if u.speaker in speakers}
    return {
        "train": [u for u in rest if u.id not in dev],
        "dev": [u for u in rest if u.id in dev],
        "test": test,
    }


def _dev_speakers(utterances, target, generator):
    """Choose speakers with about `target` utterances between them."""
    labels = collections.defaultdict(collections.Counter)
    for utterance in utterances:
        labels[utterance.speaker][utterance.label] += 1
    left = collections.Counter(utterance.label for utterance in utterances)
    order = sorted(labels)
    generator.shuffle(order)

    def keeps_every_class(speaker):
        return all(left[k] > count for k, count in labels[speaker].items())

    # A speaker too large to bring dev nearer to its target than no dev at all
    # is still better than no dev, so the smallest such one is the way out.
    possible = [s for s in order if keeps_every_class(s)]
    if not possible:
        raise BadInput(
            "dev_split speaker leaves train without a class, whichever of the "
            f"{len(order)} speakers is taken for dev: use dev_split random."
        )
    chosen, size = [], 0
    for speaker in possible:
        larger = size + sum(labels[speaker].values())
        nearer = abs(larger - target) < abs(size - target)
        if nearer and keeps_every_class(speaker):
            chosen.append(speaker)
            left -= labels[speaker]
            size = larger
    if not chosen:
        chosen = [min(possible, key=lambda s: sum(labels[s].values()))]
    return set(chosen)


def validate(splits, data_folder, labels=None):
    """Check a manifest before anyone trains on it.

    Everything wrong with it is collected and reported at once. Audio of
    another rate or with several channels and silent audio is not an error,
    but worth a line in the log.

    Arguments
    ---------
    splits : dict
        "train", "dev" and "test", each a list of Utterance.
    data_folder : str or pathlib.Path
        What relative paths are relative to.
    labels : iterable of str, optional
        The allowed labels; any, by default.

    Returns
    -------
    dict
        Utterance id -> Audio.

    Raises
    ------
    BadInput
        With one sentence for each kind of problem.
    """
    problems = collections.defaultdict(list)
    utterances = _all(splits)
    _check_entries(utterances, data_folder, labels, problems)
    _check_leaks(splits, problems)
    audio = {}
    # A progress bar is for waits, and small corpora have none.
    for utterance in tqdm(
        utterances, "checking audio", disable=len(utterances) < 1000
    ):
        path = os.path.join(data_folder, utterance.wav)
        try:
            audio[utterance.id] = inspect_audio(path)
        except _Unusable as problem:
            problems[problem.kind].append(path)
    if problems:
        raise BadInput(
            " ".join(
                sentence.format(first_few(problems[kind]))
                for kind, sentence in PROBLEMS.items()
                if kind in problems
            )
        )
    _log_oddities(splits, audio)
    return audio


class _Unusable(Exception):
    """An audio file with a problem; `kind` is a key of `PROBLEMS`."""

    def __init__(self, kind):
        super().__init__(kind)
        self.kind = kind


def inspect_audio(path):
    """Read an audio file once and tell all that a manifest needs of it.

    Arguments
    ---------
    path : str
        The file.

    Returns
    -------
    Audio
        What the file is like.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise _Unusable("missing") from None
    except OSError:
        raise _Unusable("broken") from None
    if not content:
        raise _Unusable("empty")
    try:
        samples, sample_rate = soundfile.read(
            io.BytesIO(content), dtype="float32", always_2d=True
        )
    except (soundfile.SoundFileError, ValueError, TypeError):
        # soundfile takes a file that it does not know for a headerless one
        # and then complains about missing arguments, hence the last two.
        raise _Unusable("broken") from None
    if len(samples) * SAMPLE_RATE < SAMPLES_PER_FRAME * sample_rate:
        raise _Unusable("short")
    if not np.isfinite(samples).all():
        raise _Unusable("not finite")
    return Audio(
        sample_rate=sample_rate,
        channels=samples.shape[1],
        duration=len(samples) / sample_rate,
        silent=not samples.any(),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _all(splits):
    """List the utterances of all splits, sorted by id."""
    return sorted((u for part in splits.values() for u in part), key=_by_id)


def _by_id(utterance):
    return utterance.id


def _check_entries(utterances, data_folder, labels, problems):
    """Collect what is wrong with ids, files and labels as they are listed."""
    allowed = None if labels is None else set(labels)
    ids, files = set(), {}
    for utterance in utterances:
        # Links and "a/../b" are other names of the same file.
        file = os.path.realpath(os.path.join(data_folder, utterance.wav))
        if utterance.id in ids:
            problems["id"].append(utterance.id)
        if file in files:
            problems["twice"].append(
                f"{utterance.wav}, of {files[file]} and {utterance.id}"
            )
        if not utterance.label.strip():
            problems["label"].append(utterance.wav)
        elif allowed is not None and utterance.label not in allowed:
            problems["other label"].append(
                f"{utterance.label!r} of {utterance.wav}"
            )
        ids.add(utterance.id)
        files[file] = utterance.id


def _check_leaks(splits, problems):
    """Collect speakers of the test set that are heard in train or dev."""
    tested = {u.speaker for u in splits["test"]}
    heard = {
        u.speaker for name in splits if name != "test" for u in splits[name]
    }
    if tested & heard:
        problems["speaker"] = sorted(tested & heard)


def _log_oddities(splits, audio):
    """Log what is unusual and yet usable, one line per kind."""
    utterances = _all(splits)
    other = [
        u
        for u in utterances
        if audio[u.id].sample_rate != SAMPLE_RATE or audio[u.id].channels != 1
    ]
    if other:
        first = audio[other[0].id]
        logger.warning(
            "%d of %d files are not 16 kHz mono (first: %s, %d Hz, %d "
            "channel%s): they are resampled and mixed down when read.",
            *(len(other), len(utterances), other[0].wav),
            *(first.sample_rate, first.channels),
            "" if first.channels == 1 else "s",
        )
    silent = [u.wav for u in utterances if audio[u.id].silent]
    if silent:
        logger.warning(
            "%d of %d files are silent (all samples are zero) and are kept: "
            "%s.",
            *(len(silent), len(utterances), first_few(silent)),
        )
    learned = {u.label for u in splits["train"]}
    unheard = {u.label for u in utterances} - learned
    if unheard:
        logger.warning(
            "No utterance of train has the label %s: it cannot be learned in "
            "this fold.",
            first_few(sorted(unheard)),
        )


def write_manifests(
    utterances, data_folder, manifest_folder, test_fold, dev_split, seed
):
    """Split a corpus, check it and write SpeechBrain's JSON manifests.

    Arguments
    ---------
    utterances : iterable of Utterance
        The corpus.
    data_folder : str or pathlib.Path
        What relative paths are relative to; "{data_root}" in the manifests.
    manifest_folder : str or pathlib.Path
        Where the manifests go.
    test_fold : int
        The fold to test on.
    dev_split : str
        "random" or "speaker", see `split`.
    seed : int
        Chooses dev.

    Returns
    -------
    dict
        "train", "dev" and "test" -> pathlib.Path of the manifest.

    Raises
    ------
    BadInput
        If the corpus cannot be used as it is, or the disk has no room.
    """
    splits = split(utterances, test_fold, dev_split, seed)
    audio = validate(splits, data_folder)
    folder = pathlib.Path(manifest_folder)
    paths = {name: folder / f"{name}.json" for name in splits}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            entries = {u.id: _entry(u, audio[u.id]) for u in splits[name]}
            _write_atomically(path, entries)
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


def _entry(utterance, audio):
    """Make the manifest entry of one utterance."""
    wav = _escape(utterance.wav)
    if not os.path.isabs(utterance.wav):
        wav = "{data_root}/" + wav
    return {
        **_escape(utterance.extra),
        "wav": wav,
        "duration": audio.duration,
        "label": _escape(utterance.label),
        "speaker": _escape(utterance.speaker),
        "fold": utterance.fold,
        "sha256": audio.sha256,
    }


def _escape(value):
    """Keep braces as they are through SpeechBrain's `str.format_map`."""
    if isinstance(value, str):
        return value.replace("{", "{{").replace("}", "}}")
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return value


def _write_atomically(path, entries):
    """Write a JSON file such that a killed run never leaves half of it."""
    # With the process id in its name, two folds that are prepared at once
    # do not write into each other's file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=2, ensure_ascii=False)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _counts(utterances):
    """Describe a split, e.g. "3 (ang 1, neu 2)"."""
    counts = collections.Counter(u.label for u in utterances)
    listed = ", ".join(f"{label} {counts[label]}" for label in sorted(counts))
    return f"{len(utterances)} ({listed})"
