#!/usr/bin/env python3
"""Speed and memory of an exported model on a CPU, each beside its alternative.

    python -m benchmarks.inference exported/NAME [--threads 2] [--repeats 5]
                                   [--parts start overhead folder memory]

The model must include its encoder (`export.py --include_encoder`). Recordings
are noise with the durations of IEMOCAP; times do not depend on their contents.
Prints Markdown.
"""

import argparse
import functools
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

import numpy as np
import soundfile
import torch
from speechbrain.inference.interfaces import foreign_class
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import (
    describe_machine,
    fresh_process,
    print_table,
    ratio,
    spread,
    time_beside,
)
from benchmarks.recordings import draw_durations, make_recordings
from modules.audio import SAMPLE_RATE, read_waveform
from modules.errors import one_sentence
from modules.inference.allocator import keep_freed_memory
from modules.inference.loading import load_model
from modules.inference.predictor import predict
from modules.models.whisper_window import encode_window, log_mel

PARTS = ("start", "overhead", "folder", "memory")

FIRST_ANSWER = """
import sys
from speechbrain.inference.interfaces import foreign_class

model = foreign_class(
    source=sys.argv[1],
    pymodule_file="custom_interface.py",
    classname="EmotionClassifier",
    run_opts={"device": "cpu"},
)
model.classify_file(sys.argv[2])
"""

FIRST_HIDDEN_STATES = """
import sys
import soundfile
import torch
from transformers import AutoFeatureExtractor, AutoModel

extractor = AutoFeatureExtractor.from_pretrained(
    sys.argv[1] + "/encoder", trust_remote_code=False
)
model = AutoModel.from_pretrained(
    sys.argv[1] + "/encoder", dtype=torch.float32
)
if model.config.model_type == "whisper":
    model = model.get_encoder()
wave, rate = soundfile.read(sys.argv[2])
inputs = extractor(wave, sampling_rate=rate, return_tensors="pt")
with torch.inference_mode():
    model(inputs[extractor.model_input_names[0]], output_hidden_states=True)
"""


def load_classifier(source):
    """Load a model as its card describes."""
    return foreign_class(
        source=source,
        pymodule_file="custom_interface.py",
        classname="EmotionClassifier",
        run_opts={"device": "cpu"},
    )


@torch.inference_mode()
def run_bare(encoder, wave):
    """Run the HuggingFace model of a `FrozenEncoder` on one [1, samples]."""
    # Beside features of the voice, the pretrained one.
    encoder = getattr(encoder, "first", encoder)
    if encoder.is_whisper:
        size = round(
            encoder.computed_seconds(wave.shape[1] / SAMPLE_RATE) * SAMPLE_RATE
        )
        mel = log_mel(encoder.wrapper, wave[0], size)
        return encode_window(encoder.wrapper.model.encoder, mel)
    return encoder.wrapper.model(wave, output_hidden_states=True)


def measure_start(source, files, repeats):
    """Measure the time from starting Python to the first answer."""

    def start(script):
        subprocess.run(
            [sys.executable, "-c", script, source, files[0]],
            cwd=pathlib.Path(files[0]).parent,
            check=True,
            capture_output=True,
        )

    seconds = time_beside(
        {
            "bare": functools.partial(start, FIRST_HIDDEN_STATES),
            "whole": functools.partial(start, FIRST_ANSWER),
        },
        repeats,
    )
    print_table(
        "A fresh process: imports, loading, one file",
        [
            ["until the first", "time", "times longer"],
            ["hidden states of the bare encoder"]
            + [spread(seconds["bare"], "s", 1), "1"],
            ["answer of `classify_file`", spread(seconds["whole"], "s", 1)]
            + [ratio(seconds["bare"], seconds["whole"])],
        ],
    )


def time_overhead(classifier, files, repeats):
    """Time `classify_file` and the bare encoder, file by file in turn.

    Arguments
    ---------
    classifier : speechbrain.inference.interfaces.Pretrained
        From `load_classifier`.
    files : list of str
        Recordings of at most a window.
    repeats : int
        Rounds that count.

    Returns
    -------
    seconds : dict
        ("bare" or "whole", file) -> list of float, one per round.
    """
    encoder = classifier.hparams.model.encoder
    calls = {}
    for file in files:
        wave = read_waveform(file)[None]
        calls["bare", file] = functools.partial(run_bare, encoder, wave)
        calls["whole", file] = functools.partial(classifier.classify_file, file)
    return time_beside(calls, repeats)


def measure_overhead(source, files, repeats):
    """Print `classify_file` beside the bare encoder."""
    classifier = load_classifier(source)
    encoder = classifier.hparams.model.encoder
    waves = [read_waveform(file)[None] for file in files]
    seconds = time_overhead(classifier, files, repeats)
    turns, quickest = {}, {}
    for way in ("bare", "whole"):
        of_files = [seconds[way, file] for file in files]
        turns[way] = [sum(turn) / len(files) for turn in zip(*of_files)]
        # What no other process disturbed.
        quickest[way] = sum(map(min, of_files)) / len(files)
    print_table(
        f"Per utterance, {len(files)} files one after the other",
        [
            ["what", "time", "quickest turn of each file", "times longer"],
            ["bare encoder, waveform in memory", spread(turns["bare"])]
            + [f"{1000 * quickest['bare']:.1f} ms", "1"],
            ["`classify_file`", spread(turns["whole"])]
            + [f"{1000 * quickest['whole']:.1f} ms"]
            + [
                f"{ratio(turns['bare'], turns['whole'])}, of the quickest "
                f"{quickest['whole'] / quickest['bare']:.3f}"
            ],
        ],
    )
    with FlopCounterMode(display=False) as counter:
        for wave in waves:
            run_bare(encoder, wave)
    rate = counter.get_total_flops() / len(files) / quickest["bare"]
    matrix = torch.randn(2048, 2048)
    product = functools.partial(torch.matmul, matrix, matrix)
    best = min(time_beside({"product": product}, 10)["product"])
    print(
        f"The bare encoder computes at {rate / 1e9:.0f} GFLOP/s, a product of "
        f"matrices of 2048 x 2048 at {2 * 2048**3 / best / 1e9:.0f}: what "
        "calls the same arithmetic can be faster by the quotient at most."
    )


# The models that this process has loaded.
_loaded = {}


def load(source, as_command):
    """Load the model as predict.py does, or as a user."""
    if as_command:
        keep_freed_memory()
        _loaded["model"], _ = load_model(source)
    else:
        _loaded["classifier"] = load_classifier(source)


def classify_one_by_one(files):
    """Classify files one after the other."""
    for file in files:
        _loaded["classifier"].classify_file(file)


def predict_folder(files, jobs=None):
    """Classify files as predict.py does."""
    predict(_loaded["model"], files, jobs=jobs)


def measure_folder(source, files, repeats):
    """Measure predict.py and `classify_file`, each in its own process."""
    with fresh_process() as user, fresh_process() as command:
        user.submit(load, source, False).result()
        command.submit(load, source, True).result()
        ways = {
            "`classify_file`, one by one": (user, classify_one_by_one),
            "`predict.py --jobs 1`": (command, predict_folder, 1),
            "`predict.py`": (command, predict_folder),
        }
        seconds = time_beside(
            {
                name: lambda process=process, work=work, jobs=jobs: (
                    process.submit(work, files, *jobs).result()
                )
                for name, (process, work, *jobs) in ways.items()
            },
            repeats,
        )
    first = next(iter(ways))
    rows = [["what", "time per utterance", "utterances/s", "times faster"]]
    for name in ways:
        per_file = [t / len(files) for t in seconds[name]]
        rate = spread([1 / t for t in per_file], "", 1).strip()
        faster = "1" if name == first else ratio(seconds[name], seconds[first])
        rows.append([name, spread(per_file), rate, faster])
    print_table(f"A folder of {len(files)} files, models loaded", rows)


def find_peak(source, file, as_command):
    """Return the peak of this process's memory in MB."""
    load(source, as_command)
    if file is not None:
        (predict_folder if as_command else classify_one_by_one)([file])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_memory(source, folder, seconds):
    """Measure peak memory: model alone, one minute, a long file."""
    rows = [["peak of the process", "`classify_file`", "`predict.py`"]]
    minute = 0.1 * np.random.default_rng(0).standard_normal(60 * SAMPLE_RATE)
    for title, minutes in (
        ("model loaded", 0),
        ("one minute", 1),
        (f"{seconds // 60} minutes in one file", seconds // 60),
    ):
        file = None
        if minutes:
            file = str(folder / "long.wav")
            with soundfile.SoundFile(file, "w", SAMPLE_RATE, 1) as out:
                for _ in range(minutes):
                    out.write(minute)
        rows.append([title])
        for as_command in (False, True):
            with fresh_process() as process:
                work = process.submit(find_peak, source, file, as_command)
                rows[-1].append(f"{work.result():.0f} MB")
    print_table("Memory", rows)


def main(arguments=None):
    """Measure from the command line."""
    parser = argparse.ArgumentParser(
        description="Measure speed and memory of an exported model, on CPU."
    )
    parser.add_argument("model", help="folder of export.py, encoder included")
    parser.add_argument("--utterances", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: PyTorch's choice")
    parser.add_argument(
        "--long", type=int, default=3600, help="seconds of the longest file"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
        # For the processes that are started.
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    source = str(pathlib.Path(options.model).resolve())
    durations = draw_durations(options.utterances)
    print(describe_machine())
    print(
        f"{pathlib.Path(source).name}; durations {durations.min():.1f} to "
        f"{durations.max():.1f} s, mean {durations.mean():.1f} s"
    )
    with one_sentence(resumes=False), tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        entries = make_recordings(folder, durations)
        files = [entry["wav"] for entry in entries.values()]
        if "start" in options.parts:
            measure_start(source, files, options.repeats)
        if "overhead" in options.parts:
            measure_overhead(source, files, options.repeats)
        if "folder" in options.parts:
            measure_folder(source, files, options.repeats)
        if "memory" in options.parts:
            measure_memory(source, folder, options.long)


if __name__ == "__main__":
    main()
