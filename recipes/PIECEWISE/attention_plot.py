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
from recipes.PIECEWISE.prepare import NEUTRAL

# Of each of the three parts: before, emotional, behind.
BINS = 20


def main(arguments: list[str] | None = None) -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", help="PNG that is written")
    parser.add_argument("systems", nargs="+", help="NAME=FILE.npz")
    options = parser.parse_args(arguments)
    with one_sentence():
        curves, neutral = {}, {}
        for system in options.systems:
            name, equals, path = system.rpartition("=")
            if not equals:
                raise BadInput(f"{system} has no name: give NAME={path}")
            found = load(path)
            emotional = found["label"] != NEUTRAL
            curves[name] = mean_curve(found, emotional)
            if not emotional.all():
                neutral[name] = mean_curve(found, ~emotional)
        save_figure(draw(curves, neutral), options.figure, dpi=90)


def mean_curve(found: dict[str, np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """Return the mean weight along the three parts of recordings.

    Arguments
    ---------
    found : dict
        See `recipes.PIECEWISE.attention.collect`.
    chosen : numpy.ndarray
        Which of its recordings; bool.

    Returns
    -------
    curve : numpy.ndarray
        Weight over the uniform one, mean over recordings and runs, at `BINS`
        places of each part, whose lengths are normalised; [3 * BINS].
    """
    curves = []
    for (weights, inside), wanted in zip(each(found), chosen):
        if not wanted:
            continue
        begin = inside.argmax()
        edges = [0, begin, begin + inside.sum(), len(weights)]
        places = [
            np.linspace(first, max(first, last - 1), BINS).round().astype(int)
            for first, last in zip(edges, edges[1:])
        ]
        places = np.concatenate(places).clip(max=len(weights) - 1)
        curves.append((weights / weights.mean())[places])
    return np.mean(curves, axis=0)


def draw(
    curves: dict[str, np.ndarray], neutral: dict[str, np.ndarray]
) -> Figure:
    """Return the figure of several systems.

    Arguments
    ---------
    curves, neutral : dict
        Name -> what `mean_curve` returned of recordings with an emotional part
        and of those that are neutral throughout.
    """
    figure = Figure(figsize=(8, 3))
    axes = figure.subplots()
    axes.axvspan(0, 1, color="tab:orange", alpha=0.15)
    axes.axhline(1, color="tab:gray", linestyle=":", linewidth=1)
    x = (np.arange(3 * BINS) + 0.5) / BINS - 1
    for i, (name, curve) in enumerate(curves.items()):
        axes.plot(x, curve, color=f"C{i}", label=plain_text(name))
        if name in neutral:
            axes.plot(x, neutral[name], color=f"C{i}", linestyle="--")
    if neutral:
        label = "dashed: recordings that are neutral throughout"
        axes.plot([], [], color="black", linestyle="--", label=label)
    axes.set_xticks([-0.5, 0.5, 1.5], ["before", "middle", "behind"])
    axes.set_ylabel("weight / uniform weight")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


if __name__ == "__main__":
    main()
