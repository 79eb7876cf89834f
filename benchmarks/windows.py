#!/usr/bin/env python3
"""Whisper at the utterance's own length, and in windows of 30 s.

    python -m benchmarks.windows ENCODER --data FOLDER [--utterances 100]

Encodes recordings of a folder, each with both windows in turn, one thread.
Seconds of a core (user and system). Prints Markdown.
"""

import argparse
import pathlib
import sys
import time

import torch

from benchmarks.measure import describe_machine, print_table, ratio, spread
from modules.audio import SAMPLE_RATE, read_speech
from modules.errors import one_sentence
from modules.models.encoder import FrozenEncoder

WINDOWS = {"`fit`": "fit", "30 s": None}


def choose_recordings(folder, count):
    """Return waveforms of a folder, spread over its sorted files."""
    files = sorted(pathlib.Path(folder).rglob("*.wav"))
    step = max(1, len(files) // count)
    return [read_speech(file) for file in files[::step][:count]]


def time_windows(encoder_hub, waveforms, rounds):
    """Encode with both windows, utterance by utterance in turn.

    Arguments
    ---------
    encoder_hub : str
        A Whisper.
    waveforms : list of torch.Tensor
        [samples].
    rounds : int
        How often all are encoded; one utterance has been before.

    Returns
    -------
    seconds : dict
        Window -> list of float, seconds of a core of each round.
    """
    encoders = {
        title: FrozenEncoder(encoder_hub, whisper_window=window)
        for title, window in WINDOWS.items()
    }
    seconds = {title: [] for title in WINDOWS}
    for encoder in encoders.values():
        encoder(waveforms[0][None])
    for _ in range(rounds):
        totals = dict.fromkeys(WINDOWS, 0.0)
        for waveform in waveforms:
            for title, encoder in encoders.items():
                start = time.process_time()
                encoder(waveform[None])
                totals[title] += time.process_time() - start
        for title, total in totals.items():
            seconds[title].append(total)
    return seconds


def main(arguments=None):
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("encoder", help="a Whisper: folder or name on the Hub")
    parser.add_argument("--data", required=True, help="folder of recordings")
    parser.add_argument("--utterances", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(describe_machine(), flush=True)
    with one_sentence(resumes=False):
        waveforms = choose_recordings(options.data, options.utterances)
        seconds = time_windows(options.encoder, waveforms, options.rounds)
    audio = sum(map(len, waveforms)) / SAMPLE_RATE
    rows = [["window", "seconds of a core", "times faster"]]
    for title, own in seconds.items():
        faster = ratio(own, seconds["30 s"])
        rows.append([title, spread(own, "s", 1), faster])
    print_table(
        f"Encoding {len(waveforms)} utterances, {audio:.0f} s of audio", rows
    )


if __name__ == "__main__":
    main(sys.argv[1:])
