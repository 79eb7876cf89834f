r"""Draw where the attention of systems lies in a recording.

    python -m recipes.PIECEWISE.attention_plot FIGURE.png \
        attentive_corr=A.npz 'middle layer'=B.npz

The files are what ``recipes.PIECEWISE.attention --save`` wrote.
"""

import argparse

import numpy as np
from matplotlib.figure import Figure

from modules.errors import BadInput, one_sentence
from modules.plots import plain_text, save_figure
from recipes.PIECEWISE.attention import each, load

# Of each of the three parts: before, emotional, behind.
BINS = 20


def main(arguments: list[str] | None = None) -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", help="PNG that is written")
    parser.add_argument("systems", nargs="+", help="NAME=FILE.npz")
    options = parser.parse_args(arguments)
    with one_sentence():
        curves = {}
        for system in options.systems:
            name, equals, path = system.rpartition("=")
            if not equals:
                raise BadInput(f"{system} has no name: give NAME={path}")
            curves[name] = mean_curve(load(path))
        save_figure(draw(curves), options.figure)


def mean_curve(found: dict[str, np.ndarray]) -> np.ndarray:
    """Return the mean weight along the three parts of the recordings.

    Arguments
    ---------
    found : dict
        See `recipes.PIECEWISE.attention.collect`.

    Returns
    -------
    curve : numpy.ndarray
        Weight over the uniform one, mean over recordings and runs, at `BINS`
        places of each part, whose lengths are normalised; [3 * BINS].
    """
    curves = []
    for weights, inside in each(found):
        begin = inside.argmax()
        edges = [0, begin, begin + inside.sum(), len(weights)]
        places = [
            np.linspace(first, max(first, last - 1), BINS).round().astype(int)
            for first, last in zip(edges, edges[1:])
        ]
        places = np.concatenate(places).clip(max=len(weights) - 1)
        curves.append((weights / weights.mean())[places])
    return np.mean(curves, axis=0)


def draw(curves: dict[str, np.ndarray]) -> Figure:
    """Return the figure of several systems.

    Arguments
    ---------
    curves : dict
        Name -> what `mean_curve` returned.
    """
    figure = Figure(figsize=(8, 3))
    axes = figure.subplots()
    axes.axvspan(0, 1, color="tab:orange", alpha=0.15)
    axes.axhline(1, color="tab:gray", linestyle="--", linewidth=1)
    x = (np.arange(3 * BINS) + 0.5) / BINS - 1
    for name, curve in curves.items():
        axes.plot(x, curve, label=plain_text(name))
    axes.set_xticks([-0.5, 0.5, 1.5], ["neutral", "emotional", "neutral"])
    axes.set_ylabel("weight / uniform weight")
    axes.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
