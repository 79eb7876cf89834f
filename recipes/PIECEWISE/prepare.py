"""EmoDB's utterances beside two neutral ones of the same speaker.

    python -m recipes.PIECEWISE.prepare EMODB_FOLDER OUTPUT_FOLDER

Emotion that fills only a part of a recording: each utterance of EmoDB is the
first, second or third of three, the other two are neutral ones of its speaker,
and between them are 0.1 s of silence. The label is its own. An utterance that
is neutral itself stands beside two other neutral ones. The folds are EmoDB's,
so that no speaker is in two of them.
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
COLUMNS = "path label speaker fold begin end first second third".split()


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("emodb", help="the folder of EmoDB that contains wav/")
    parser.add_argument("output_folder", help="gets wav/ and the list of it")
    add = parser.add_argument
    add(
        "--order",
        choices=("drawn", "middle"),
        default="drawn",
        help="place of the labelled utterance; middle: always the second",
    )
    options = parser.parse_args(arguments)
    with one_sentence():
        path = prepare(
            options.emodb, options.output_folder, order=options.order
        )
        print(f"--corpus csv --csv_file {path}")


def prepare(
    emodb: str | os.PathLike,
    output_folder: str | os.PathLike,
    seed: int = SEED,
    order: str = "drawn",
) -> pathlib.Path:
    """Write the recordings and their list.

    Arguments
    ---------
    emodb : str or pathlib.Path
        The folder of EmoDB that contains ``wav``.
    output_folder : str or pathlib.Path
        Gets ``wav`` and ``piecewise.csv``.
    seed : int
        Draws the neutral utterances and the places.
    order : str
        "drawn", or "middle": the labelled utterance is always the second.

    Returns
    -------
    path : pathlib.Path
        The list: path, label, speaker, fold, begin and end of the labelled
        utterance in seconds, and the ids of the three utterances.

    Raises
    ------
    BadInput
        If the folder is not EmoDB, a speaker has too few neutral utterances,
        or the disk has no room.
    """
    utterances = read(emodb)
    places = draw_places(utterances, seed)
    folder = pathlib.Path(output_folder)
    rows: list[dict] = [dict(zip(COLUMNS, COLUMNS))]
    try:
        (folder / "wav").mkdir(parents=True, exist_ok=True)
        for own, others in draw(utterances, seed):
            place = places[own.id] if order == "drawn" else 1
            three = [*others[:place], own, *others[place:]]
            parts = [_samples(pathlib.Path(emodb) / u.wav) for u in three]
            path = f"wav/{own.id}.wav"
            soundfile.write(folder / path, join(parts), SAMPLE_RATE)
            begin = sum(len(part) + SILENCE for part in parts[:place])
            end = begin + len(parts[place])
            times = begin / SAMPLE_RATE, end / SAMPLE_RATE
            about = path, own.label, own.speaker, own.fold, *times
            rows.append(dict(zip(COLUMNS, [*about, *(u.id for u in three)])))
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
) -> list[tuple[Utterance, list[Utterance]]]:
    """Draw two neutral utterances of the same speaker for each utterance.

    Arguments
    ---------
    utterances : list of Utterance
        Of EmoDB.
    seed : int
        Of the draw, which does not depend on the order of ``utterances``.

    Returns
    -------
    drawn : list of tuple
        Each utterance, sorted by id, and two neutral ones.

    Raises
    ------
    BadInput
        If a speaker has fewer than two other neutral utterances.
    """
    generator = random.Random(seed)
    drawn = []
    utterances = sorted(utterances, key=lambda u: u.id)
    for own in utterances:
        others = [
            u
            for u in utterances
            if u.speaker == own.speaker
            and u.label == NEUTRAL
            and u.id != own.id
        ]
        if len(others) < 2:
            raise BadInput(
                f"speaker {own.speaker} has {len(others)} neutral "
                f"utterances beside {own.id}, and two are needed: use the "
                "whole of EmoDB"
            )
        drawn.append((own, generator.sample(others, 2)))
    return drawn


def draw_places(utterances: list[Utterance], seed: int) -> dict[str, int]:
    """Draw which of three each utterance, by its id, is: 0, 1 or 2.

    The places of a speaker are as even as their number allows, and so are
    those of each label of a speaker.

    Arguments
    ---------
    utterances : list of Utterance
        Of EmoDB.
    seed : int
        Of the draw, which does not depend on the order of ``utterances``.
    """
    utterances = sorted(utterances, key=lambda u: u.id)
    random.Random(seed).shuffle(utterances)
    utterances.sort(key=lambda u: (u.speaker, u.label))
    return {u.id: i % 3 for i, u in enumerate(utterances)}


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
