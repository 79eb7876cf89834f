"""Logistic regression and its search for C by size of the corpus.

    python -m benchmarks.linear [--utterances 500,1500,5500] [--classes 4]

Embeddings are **random**: 24 x 1024 means, as of WavLM large, and 32 640
correlations, of 10 speakers and a few classes with a decaying spectrum. Each
size is a process of its own.
"""

import argparse
import resource
import time

import numpy as np
import torch

from benchmarks.measure import describe_machine, fresh_process
from modules.training.logistic_regression import choose_C, fit, rotate

VALUES = 24 * 1024 + 32640
DIRECTIONS = 400


def random_embeddings(count, classes, speakers=10, seed=0):
    """Return random embeddings [count, values], labels and speakers.

    The values have a total variance of about 1; classes and speakers differ
    in their means, and the spectrum decays.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    labels = torch.arange(count) % classes
    voices = torch.arange(count) // classes % speakers
    powers = torch.arange(1, DIRECTIONS + 1) ** -0.5
    hidden = (
        normal(count, DIRECTIONS) + 0.7 * normal(classes, DIRECTIONS)[labels]
    )
    hidden += normal(speakers, DIRECTIONS)[voices]
    axes = normal(DIRECTIONS, VALUES)
    inputs = (hidden * powers) @ axes
    for part in inputs.split(4096, dim=1):
        part += normal(*part.shape)
        part -= part.mean(dim=0)
        part /= part.std(dim=0) * VALUES**0.5
    return inputs, labels, [f"speaker{v}" for v in voices.tolist()]


def measure(count, classes):
    """Return seconds of rotation, search and last fit, and peak memory."""
    inputs, labels, speakers = random_embeddings(count, classes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    targets = torch.nn.functional.one_hot(labels, classes).double()
    times = [(time.perf_counter(), time.process_time())]
    rotated, back = rotate(inputs)
    times.append((time.perf_counter(), time.process_time()))
    C, _ = choose_C(rotated, targets, labels, speakers, progress=True)
    times.append((time.perf_counter(), time.process_time()))
    back(fit(rotated, targets, C)[0])
    times.append((time.perf_counter(), time.process_time()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, cpu = np.diff(np.array(times), axis=0).T
    return seconds, cpu, C, before / 2**20, peak / 2**20


def main(arguments=None):
    """Print one line per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", default="500,1500,5500")
    parser.add_argument("--classes", type=int, default=4)
    options = parser.parse_args(arguments)
    print(describe_machine())
    for count in map(int, options.utterances.split(",")):
        with fresh_process() as process:
            seconds, cpu, C, before, peak = process.submit(
                measure, count, options.classes
            ).result()
        rotation, search, last = seconds
        print(
            f"{count} utterances, {options.classes} classes: rotation "
            f"{rotation:.1f} s, search {search:.1f} s, last fit {last:.1f} s "
            f"({cpu.sum():.0f} s of a core), C {C:g}, peak {peak:.2f} GiB of "
            f"which the embeddings and PyTorch {before:.2f}"
        )


if __name__ == "__main__":
    main()
