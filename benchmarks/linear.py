"""Logistic regression and its search for C by size of the corpus.

    python -m benchmarks.linear [--utterances 500,1500,5500] [--classes 4]
    python -m benchmarks.linear --utterances 500,1500 --classes 2,4,8 --plot

Embeddings are **random**: 24 x 1024 means, as of WavLM large, and 32 640
correlations, of 10 speakers and a few classes with a decaying spectrum. Each
size is a process of its own. ``--plot`` puts the measured sizes in the place of
those in benchmarks/linear.csv and draws all of them as benchmarks/linear.png.
"""

import argparse
import itertools
import pathlib
import resource
import time

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks.measure import describe_machine, fresh_process
from modules.files import write_text
from modules.models.standardization import Standardization
from modules.plots import save_figure
from modules.training.logistic_regression import choose_C, fit
from modules.training.parts import Parts

CSV = pathlib.Path(__file__).with_suffix(".csv")
SIZE = ["utterances", "classes"]

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


def measure(count, classes, progress=True):
    """Return seconds of rotation, search and last fit, and peak memory."""
    inputs, labels, speakers = random_embeddings(count, classes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    targets = torch.nn.functional.one_hot(labels, classes).double()
    standardization = Standardization({"all": VALUES})
    standardization.fit(inputs)
    times = [(time.perf_counter(), time.process_time())]
    rotated, back = Parts(inputs, standardization).combine({"all": 1.0})
    times.append((time.perf_counter(), time.process_time()))
    C, _, _ = choose_C(rotated, targets, labels, speakers, progress=progress)
    times.append((time.perf_counter(), time.process_time()))
    back(fit(rotated, targets, C)[0])
    times.append((time.perf_counter(), time.process_time()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, cpu = np.diff(np.array(times), axis=0).T
    return seconds, cpu, C, before / 2**20, peak / 2**20


def draw(table):
    """Return a figure: seconds of a core against utterances, by classes.

    Arguments
    ---------
    table : pandas.DataFrame
        Columns "utterances", "classes" and "core_seconds".
    """
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for classes, own in table.sort_values(SIZE).groupby("classes"):
        axes.loglog(
            own["utterances"],
            own["core_seconds"],
            marker="o",
            label=f"{classes} classes",
        )
    counts = sorted(set(table["utterances"]))
    axes.set_xticks(counts, [f"{count:g}" for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("utterances")
    axes.set_ylabel("seconds of a core")
    axes.set_title("Logistic regression and its search for C")
    axes.legend()
    return figure


def keep(measured, path=CSV):
    """Put measured sizes into the table of a file, draw it beside the file.

    Arguments
    ---------
    measured : list of dict
        "utterances", "classes", "core_seconds" and "run", which describes
        the run.
    path : pathlib.Path
        A CSV file with these columns, or none yet.
    """
    table = pd.DataFrame(measured)
    if path.exists():
        table = pd.concat([pd.read_csv(path), table])
    table = table.drop_duplicates(SIZE, keep="last").sort_values(SIZE)
    write_text(path, table.to_csv(index=False))
    save_figure(draw(table), path.with_suffix(".png"), dpi=100)


def main(arguments=None):
    """Print one line per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", default="500,1500,5500")
    parser.add_argument("--classes", default="4")
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args(arguments)
    machine = describe_machine()
    print(machine)
    measured = []
    for size in itertools.product(
        map(int, options.utterances.split(",")),
        map(int, options.classes.split(",")),
    ):
        with fresh_process() as process:
            result = process.submit(measure, *size).result()
        print(describe(*size, *result), flush=True)
        measured.append(
            dict(zip(SIZE, size))
            | {"core_seconds": round(result[1].sum(), 1), "run": machine}
        )
    if options.plot:
        keep(measured)


def describe(count, classes, seconds, cpu, C, before, peak):
    """Return the line of what `measure` returned."""
    rotation, search, last = seconds
    return (
        f"{count} utterances, {classes} classes: rotation {rotation:.1f} s, "
        f"search {search:.1f} s, last fit {last:.1f} s ({cpu.sum():.1f} s of "
        f"a core), C {C:g}, peak {peak:.2f} GiB of which the embeddings and "
        f"PyTorch {before:.2f}"
    )


if __name__ == "__main__":
    main()
