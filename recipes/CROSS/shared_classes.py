"""Corpora in one set of classes: labels.yaml is applied, recordings checked."""

import collections
import dataclasses
import pathlib
import random

import yaml
from speechbrain.utils.logger import get_logger

from data_prep import corpora
from data_prep.checks import check_corpus
from data_prep.manifest import make_entry
from modules.errors import BadInput

logger = get_logger(__name__)

LABELS = pathlib.Path(__file__).with_name("data") / "labels.yaml"


@dataclasses.dataclass
class Corpus:
    """A corpus whose labels are shared classes.

    Attributes
    ----------
    name : str
        As on the command line.
    entries : dict
        Manifest entries by utterance.
    left_out : dict
        Label without a shared class -> number of its utterances.
    """

    name: str
    entries: dict[str, dict]
    left_out: dict[str, int]


def read_label_map(
    path: str | pathlib.Path = LABELS,
) -> dict[str, dict[str, str]]:
    """Read which labels are which shared class.

    Arguments
    ---------
    path : str or pathlib.Path
        YAML: corpus, or "all", -> shared class -> list of labels.

    Returns
    -------
    dict
        Corpus, or "all", -> label in lower case -> shared class.

    Raises
    ------
    BadInput
        If it is no such file, or a label has two classes.

    Example
    -------
    >>> read_label_map()["turev"]
    {'calm': 'neutral'}
    """
    try:
        tables = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
        found = {"all": {}}
        for corpus, classes in tables.items():
            own = found.setdefault(str(corpus).lower(), {})
            for shared, labels in classes.items():
                for label in map(str, labels):
                    if own.setdefault(label.lower(), shared) != shared:
                        raise BadInput(
                            f"{path}: {label} is {own[label.lower()]} and "
                            f"{shared}: keep one"
                        )
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as problem:
        reason = " ".join(str(problem).split())
        raise BadInput(
            f"{path} is no map of labels ({reason:.80}): write it as "
            "recipes/CROSS/data/labels.yaml"
        ) from problem
    return found


def read_corpus(
    argument: str, label_map: dict, most: int | None = None
) -> Corpus:
    """Read, map, draw and check the utterances of a corpus.

    Arguments
    ---------
    argument : str
        ``NAME=FOLDER`` with the name of a corpus of data_prep, in any case;
        or ``NAME=LIST.csv``.
    label_map : dict
        From `read_label_map`.
    most : int
        At most so many utterances, drawn at random, the same each time.

    Raises
    ------
    BadInput
        If it cannot be read, or has fewer than two shared classes.
    """
    name, equals, place = argument.partition("=")
    if not (name and equals and place):
        raise BadInput(f"{argument} is no corpus: write it as NAME=FOLDER")
    if place.lower().endswith(".csv"):
        # The folds play no role here; two can be made of few speakers.
        utterances = corpora.read("csv", None, place, number_of_folds=2)
        folder = pathlib.Path()
    else:
        utterances = corpora.read(name.lower(), place)
        folder = pathlib.Path(place).resolve()
    classes = label_map["all"] | label_map.get(name.lower(), {})
    kept, left_out = [], collections.Counter()
    for utterance in sorted(utterances, key=lambda utterance: utterance.id):
        shared = classes.get(utterance.label.lower())
        if shared is None:
            left_out[utterance.label] += 1
            continue
        wav = str(folder / utterance.wav)
        kept.append(dataclasses.replace(utterance, label=shared, wav=wav))
    if len({utterance.label for utterance in kept}) < 2:
        raise BadInput(
            f"{argument} has fewer than two classes of labels.yaml (its labels "
            f"are {', '.join(sorted({u.label for u in utterances})):.100}): "
            "add its labels there, or give --labels"
        )
    if most and len(kept) > most:
        kept = random.Random(0).sample(kept, most)
    return _checked(name, kept, dict(sorted(left_out.items())))


def _checked(name, utterances, left_out):
    """Check the recordings; return the corpus."""
    if left_out:
        listed = ", ".join(f"{k} {n}" for k, n in left_out.items())
        logger.info(f"{name}: without a shared class, left out: {listed}")
    # Speakers of a list may be in several folds of it.
    utterances = [
        dataclasses.replace(u, fold=1, split=None) for u in utterances
    ]
    utterances, audio = check_corpus(utterances, "")
    entries = {}
    for utterance in utterances:
        entry = make_entry(utterance, audio[utterance.id])
        own = {"corpus": name, "speaker": f"{name}/{utterance.speaker}"}
        entries[f"{name}/{utterance.id}"] = entry | own
    return Corpus(name, entries, left_out)
