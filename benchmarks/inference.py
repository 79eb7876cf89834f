#!/usr/bin/env python3
"""Speed and memory of an exported model, beside the bare encoder.

    python -m benchmarks.inference exported/NAME [--threads 2] [--repeats 5]

Prints Markdown: the machine, and per row what was measured. Recordings are
noise of 1 to 12 seconds; what they hold does not matter to the time.
"""

import argparse
import importlib.metadata
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import soundfile
import torch
from speechbrain.inference.classifiers import EncoderClassifier

import predict
from bad_input import one_sentence
from modules.audio import read_waveform

ROOT = pathlib.Path(__file__).parents[1]

FIRST_ANSWER = """
import sys, time
start = time.perf_counter()
import predict
model, _ = predict.load_model(sys.argv[1])
predict.predict(model, [sys.argv[2]])
print(time.perf_counter() - start)
"""

PEAK = """
import resource, sys
import predict
model, _ = predict.load_model(sys.argv[1])
predict.predict(model, [sys.argv[2]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run_fresh(script, *arguments):
    """Run a script in a process of its own; return the number it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.split()[-1])


def timed(work):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def side_by_side(one, other, repeats):
    """Time two calls in turn; return the median of each, and of the ratio.

    In turn, because a machine's speed drifts; the ratio of neighbours is
    steadier than the ratio of the medians.
    """
    one(), other()  # the first call pays for what is set up once
    pairs = [(timed(one), timed(other)) for _ in range(repeats)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(b / a for a, b in pairs),
    )


def write_noise(path, seconds, rate=16000):
    """Write noise, a minute at a time."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as out:
        while seconds > 0:
            size = round(min(seconds, 60) * rate)
            out.write(0.1 * rng.standard_normal(size))
            seconds -= 60


def machine():
    """Return one line: processor, cores in use, versions."""
    processor = platform.processor() or platform.machine()
    try:
        for line in open("/proc/cpuinfo", encoding="utf-8"):
            if line.startswith("model name"):
                processor = line.split(":")[1].strip()
                break
    except OSError:
        pass
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("torch", "transformers", "speechbrain")
    )
    return (
        f"{processor}, {torch.get_num_threads()} of {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {versions}"
    )


def measure(source, count, repeats, hour):
    """Return rows (what, value) of the table."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        lengths = np.random.default_rng(1).uniform(1, 12, count)
        files = []
        for i, seconds in enumerate(lengths):
            files.append(str(folder / f"{i:03d}.wav"))
            write_noise(files[-1], seconds)
        first = [run_fresh(FIRST_ANSWER, source, files[0]) for _ in range(3)]
        rows.append(
            (
                "time to first answer, fresh process, of which most is imports",
                f"{statistics.median(first):.1f} s",
            )
        )
        model, _ = predict.load_model(source)
        waves = [read_waveform(file)[None] for file in files]

        @torch.inference_mode()
        def bare():
            # What anybody would call: the HuggingFace model itself.
            for wave in waves:
                if model.encoder.is_whisper:
                    wrapper = model.encoder.wrapper
                    for window in wave[0].split(wrapper._n_samples):
                        mel = wrapper._get_mel(window[None])
                        wrapper.forward_encoder(mel)
                else:
                    model.encoder.wrapper.model(wave, output_hidden_states=True)

        @torch.inference_mode()
        def whole():
            for wave in waves:
                model(wave)

        encoder, full, ratio = side_by_side(bare, whole, repeats)
        rows += [
            (
                f"bare encoder, per utterance (mean {lengths.mean():.1f} s)",
                f"{1000 * encoder / count:.1f} ms",
            ),
            ("whole model, per utterance", f"{1000 * full / count:.1f} ms"),
            ("whole model over bare encoder", f"{100 * (ratio - 1):+.1f}%"),
        ]

        classifier = EncoderClassifier.from_hparams(
            source=str(source), run_opts={"device": "cpu"}
        )

        def one_by_one():
            for file in files:
                classifier.classify_file(file)

        def together():
            predict.predict(model, files)

        slow, fast, ratio = side_by_side(one_by_one, together, repeats)
        rows += [
            (
                "classify_file, one by one, from files",
                f"{count / slow:.2f} utterances/s",
            ),
            ("predict.py, from files", f"{count / fast:.2f} utterances/s"),
            ("predict.py over classify_file", f"{1 / ratio:.2f} times"),
        ]
        for title, seconds in (("a minute", 60), ("an hour", 3600)):
            if seconds > 60 and not hour:
                continue
            write_noise(folder / "long.wav", seconds)
            peak = run_fresh(PEAK, source, folder / "long.wav")
            rows.append((f"peak memory, {title} in one file", f"{peak:.0f} MB"))
    return rows


def main(arguments=None):
    """Measure from the command line."""
    parser = argparse.ArgumentParser(
        description="Measure speed and memory of an exported model, on CPU."
    )
    parser.add_argument("model", help="folder of export.py")
    parser.add_argument("--utterances", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: PyTorch's choice")
    parser.add_argument(
        "--no_hour", action="store_true", help="leave the hour-long file out"
    )
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with one_sentence(resumes=False):
        model = pathlib.Path(options.model).resolve()
        rows = measure(
            model, options.utterances, options.repeats, not options.no_hour
        )
    print(f"{model.name}: {machine()}\n")
    print("| what | measured |\n|---|---|")
    for what, value in rows:
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
