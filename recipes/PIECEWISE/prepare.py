"""EmoDB's utterances between two neutral ones of the same speaker.

    python -m recipes.PIECEWISE.prepare EMODB_FOLDER OUTPUT_FOLDER

Emotion that fills only a part of a recording: each utterance of EmoDB stands
between two neutral ones of its speaker, with 0.1 s of silence before and
behind it. The label is its own. An utterance that is neutral itself stands
between two other neutral ones. The folds are EmoDB's, so that no speaker is in
two of them.
"""

import argparse
import csv
import io
import os
import pathlib
import random

import numpy as np
import soundfile

from data_prep.corpus import Utterance
from data_prep.emodb_prepare import read
from modules.audio import SAMPLE_RATE
from modules.errors import BadInput, one_sentence
from modules.files import write_text

LIST = "piecewise.csv"
NEUTRAL = "neutral"
SEED = 1986
SILENCE = SAMPLE_RATE // 10
COLUMNS = "path label speaker fold begin end before after".split()


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("emodb", help="the folder of EmoDB that contains wav/")
    parser.add_argument("output_folder", help="gets wav/ and the list of it")
    options = parser.parse_args(arguments)
    with one_sentence():
        path = prepare(options.emodb, options.output_folder)
        print(f"--corpus csv --csv_file {path}")


def prepare(
    emodb: str | os.PathLike,
    output_folder: str | os.PathLike,
    seed: int = SEED,
) -> pathlib.Path:
    """Write the recordings and their list.

    Arguments
    ---------
    emodb : str or pathlib.Path
        The folder of EmoDB that contains ``wav``.
    output_folder : str or pathlib.Path
        Gets ``wav`` and ``piecewise.csv``.
    seed : int
        Draws the neutral utterances before and behind.

    Returns
    -------
    path : pathlib.Path
        The list: path, label, speaker, fold, begin and end of the emotional
        part in seconds, and the ids of the utterances before and behind.

    Raises
    ------
    BadInput
        If the folder is not EmoDB, a speaker has too few neutral utterances,
        or the disk has no room.
    """
    utterances = read(emodb)
    triples = draw(utterances, seed)
    folder = pathlib.Path(output_folder)
    rows = [dict(zip(COLUMNS, COLUMNS))]
    try:
        (folder / "wav").mkdir(parents=True, exist_ok=True)
        for before, middle, after in triples:
            parts = [
                _samples(pathlib.Path(emodb) / u.wav)
                for u in (before, middle, after)
            ]
            path = f"wav/{middle.id}.wav"
            soundfile.write(folder / path, join(parts), SAMPLE_RATE)
            begin = len(parts[0]) + SILENCE
            end = begin + len(parts[1])
            rows.append(
                {
                    "path": path,
                    "label": middle.label,
                    "speaker": middle.speaker,
                    "fold": middle.fold,
                    "begin": begin / SAMPLE_RATE,
                    "end": end / SAMPLE_RATE,
                    "before": before.id,
                    "after": after.id,
                }
            )
        text = io.StringIO()
        csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(rows)
        write_text(folder / LIST, text.getvalue())
    except OSError as problem:
        raise BadInput(
            f"{folder} cannot be written to ({problem}): make room or choose "
            "another folder"
        ) from problem
    return folder / LIST


def draw(
    utterances: list[Utterance], seed: int
) -> list[tuple[Utterance, Utterance, Utterance]]:
    """Draw two neutral utterances of the same speaker for each utterance.

    Arguments
    ---------
    utterances : list of Utterance
        Of EmoDB.
    seed : int
        Of the draw, which does not depend on the order of ``utterances``.

    Returns
    -------
    triples : list of tuple
        Before, middle, after; sorted by the id of the middle one.

    Raises
    ------
    BadInput
        If a speaker has fewer than two other neutral utterances.
    """
    generator = random.Random(seed)
    utterances = sorted(utterances, key=lambda u: u.id)
    triples = []
    for middle in utterances:
        others = [
            u
            for u in utterances
            if u.speaker == middle.speaker
            and u.label == NEUTRAL
            and u.id != middle.id
        ]
        if len(others) < 2:
            raise BadInput(
                f"speaker {middle.speaker} has {len(others)} neutral "
                f"utterances beside {middle.id}, and two are needed: use the "
                "whole of EmoDB"
            )
        before, after = generator.sample(others, 2)
        triples.append((before, middle, after))
    return triples


def join(parts: list[np.ndarray]) -> np.ndarray:
    """Return waveforms one after the other, 0.1 s of silence between them.

    Example
    -------
    >>> len(join([np.ones(5, "int16"), np.ones(5, "int16")]))
    1610
    """
    silence = np.zeros(SILENCE, dtype=parts[0].dtype)
    joined = [piece for part in parts for piece in (silence, part)]
    return np.concatenate(joined[1:])


def _samples(path):
    """Return the samples of a recording, which stay as they are."""
    samples, rate = soundfile.read(path, dtype="int16")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise BadInput(
            f"{path} has {rate} Hz and not one channel of {SAMPLE_RATE} Hz: "
            "use EmoDB as it was released"
        )
    return samples


if __name__ == "__main__":
    main()
