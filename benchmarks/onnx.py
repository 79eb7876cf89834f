#!/usr/bin/env python3
"""An exported model in PyTorch and in ONNX: start, utterances, a folder.

    python -m benchmarks.onnx exported/NAME [--data FOLDER] [--repeats 5]
                              [--other PYTHON SCRIPT MODEL]

The model must have been exported with ``--include_encoder --onnx``. Times are
seconds of a core (user and system), one thread, each way in turn. ``--data``
is a folder of recordings whose probabilities are compared; ``--other`` is an
earlier predict.py with a model of its own, measured in the same turns. Prints
Markdown.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import soundfile
import torch

from benchmarks.measure import describe_machine, print_table, ratio, spread
from modules.audio import SAMPLE_RATE, read_speech
from modules.errors import one_sentence
from modules.inference.allocator import keep_freed_memory
from modules.inference.emotion_onnx import EmotionOnnx
from modules.inference.loading import load_model
from modules.inference.predictor import classify

ROOT = pathlib.Path(__file__).parents[1]
FILES, SECONDS = 25, 2.0
LENGTHS = (1.3, 2.0, 2.5, 3.1, 4.4, 6.0, 9.7)


def core_seconds(command, status=0):
    """Run a process; return its seconds of a core.

    Arguments
    ---------
    command : list
        The second word is a script, in whose folder it runs, or an option.
    status : int
        With which it must end.

    Raises
    ------
    RuntimeError
        If it ends with another status, with its last line.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        list(map(str, command)),
        cwd=pathlib.Path(command[1]).parent,
        capture_output=True,
        text=True,
    )
    if done.returncode != status:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise RuntimeError(f"{command[1]} ended with {done.returncode}: {last}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def time_processes(model, repeats, folder, other=None):
    """Time fresh processes: one recording, and a folder of them.

    Arguments
    ---------
    model : pathlib.Path
        Exported with its encoder and as ONNX.
    repeats : int
        Rounds.
    folder : pathlib.Path
        Scratch.
    other : list
        Command of an earlier predict.py.

    Returns
    -------
    seconds : dict
        (way, number of recordings) -> list of float, seconds of a core.
    """
    rng = np.random.default_rng(0)
    files = []
    for number in range(FILES):
        samples = 0.1 * rng.standard_normal(round(SECONDS * SAMPLE_RATE))
        files.append(folder / f"{number}.wav")
        soundfile.write(files[-1], samples, SAMPLE_RATE)
    predict = [sys.executable, ROOT / "predict.py", model]
    ways = {
        "`predict.py`": [*predict],
        "`predict.py --engine onnx`": [*predict, "--engine", "onnx"],
        "`emotion_onnx.py`": [sys.executable, model / "emotion_onnx.py"],
    }
    if other:
        ways = {"earlier `predict.py`": other} | ways
    seconds = {(way, n): [] for way in ways for n in (1, FILES)}
    for _ in range(repeats):
        for (way, count), times in seconds.items():
            script, *options = ways[way][1:]
            command = [ways[way][0], script, *options[:1], *files[:count]]
            times.append(core_seconds([*command, *options[1:]]))
    return seconds


def measure_processes(model, other, repeats, folder):
    """Print fresh processes: one recording, and a folder of them."""
    seconds = time_processes(model, repeats, folder, other)
    audio = FILES * SECONDS
    title = [f"{FILES} files", "a second of audio", "the same, model loaded"]
    rows = [["way", "first answer", *title]]
    for way in dict.fromkeys(way for way, _ in seconds):
        one, many = seconds[way, 1], seconds[way, FILES]
        more = [(b - a) / (audio - SECONDS) for a, b in zip(one, many)]
        all_of_it = [second / audio for second in many]
        rows.append([way, *map(spread, (one, many, all_of_it, more))])
    print_table(f"Fresh processes, {FILES} files of {SECONDS:.0f} s", rows)


def time_utterances(model, engine, repeats, lengths=LENGTHS):
    """Time both engines in this process, utterance by utterance.

    Returns
    -------
    seconds : dict
        Length -> (seconds of a core with torch by round, with ONNX).
    """
    rng = np.random.default_rng(1)
    seconds = {}
    for length in lengths:
        samples = 0.1 * rng.standard_normal(round(length * SAMPLE_RATE))
        waveform = samples.astype("float32")
        tensor = torch.from_numpy(waveform)
        calls = (
            lambda tensor=tensor: classify(model, [tensor], "cpu"),
            lambda waveform=waveform: engine.run(waveform),
        )
        times = ([], [])
        for turn in range(repeats + 1):
            for call, own in zip(calls, times):
                started = time.process_time()
                call()
                if turn:  # the first one does not count
                    own.append(time.process_time() - started)
        seconds[length] = times
    return seconds


def measure_utterances(model, engine, repeats):
    """Print both engines, utterance by utterance."""
    rows = [["utterance", "torch", "ONNX", "times faster"]]
    for length, times in time_utterances(model, engine, repeats).items():
        rows.append([f"{length} s", *map(spread, times), ratio(*times[::-1])])
    print_table("Seconds of a core per utterance, models loaded", rows)


def compare(model, engine, folder):
    """Print the largest difference of a probability over recordings."""
    files = sorted(pathlib.Path(folder).rglob("*.wav"))
    largest, same = 0.0, 0
    for file in files:
        waveform = read_speech(file)
        ours = classify(model, [waveform], "cpu")[0].exp().numpy()
        theirs = engine.classify_file(file)
        largest = max(largest, np.abs(ours - theirs).max())
        same += int(ours.argmax() == theirs.argmax())
    print(
        f"\n{len(files)} recordings: largest difference of a probability "
        f"{largest:.1e}, the same emotion for {same}."
    )


def main(arguments=None):
    """Measure from the command line."""
    parser = argparse.ArgumentParser(
        description="Measure a model in PyTorch and in ONNX, on a CPU."
    )
    parser.add_argument("model", help="folder of export.py --onnx")
    parser.add_argument("--data", help="folder of recordings to compare")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--other", nargs=3, metavar=("PYTHON", "SCRIPT", "MODEL")
    )
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes
    torch.set_num_threads(1)
    keep_freed_memory()
    source = pathlib.Path(options.model).resolve()
    print(describe_machine())
    with one_sentence(resumes=False), tempfile.TemporaryDirectory() as folder:
        measure_processes(
            source, options.other, options.repeats, pathlib.Path(folder)
        )
        model, _ = load_model(source)
        engine = EmotionOnnx(source, threads=1)
        measure_utterances(model, engine, options.repeats)
        if options.data:
            compare(model, engine, options.data)


if __name__ == "__main__":
    main()
