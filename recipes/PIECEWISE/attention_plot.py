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

# Of each of the three utterances.
BINS = 20
UTTERANCES = ("first", "second", "third")


def main(arguments: list[str] | None = None) -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", help="PNG that is written")
    parser.add_argument("systems", nargs="+", help="NAME=FILE.npz")
    options = parser.parse_args(arguments)
    with one_sentence():
        systems = {}
        for system in options.systems:
            name, equals, path = system.rpartition("=")
            if not equals:
                raise BadInput(f"{system} has no name: give NAME={path}")
            systems[name] = load(path)
        save_figure(draw(systems), options.figure, dpi=90)


def places_of(found: dict[str, np.ndarray]) -> np.ndarray:
    """Return which of three the labelled utterances are: 0, 1 or 2.

    Arguments
    ---------
    found : dict
        See `recipes.PIECEWISE.attention.collect`.
    """
    last = found["end"] == found["lengths"]
    return np.where(found["begin"] == 0, 0, np.where(last, 2, 1))


def mean_curve(
    found: dict[str, np.ndarray], chosen: np.ndarray, place: int
) -> np.ndarray:
    """Return the mean weight along recordings.

    Arguments
    ---------
    found : dict
        See `recipes.PIECEWISE.attention.collect`.
    chosen : numpy.ndarray
        Which of its recordings; bool.
    place : int
        Of the labelled utterance in each of them.

    Returns
    -------
    curve : numpy.ndarray
        Weight over the uniform one, mean over recordings and runs, [3 * BINS].
        The labelled utterance is stretched to a third, in its place, and what
        is before and behind it to the rest.
    """
    x = (np.arange(3 * BINS) + 0.5) / BINS
    curves = []
    for i, (weights, inside) in enumerate(each(found)):
        if chosen[i]:
            edges = [0, found["begin"][i], found["end"][i], len(inside)]
            frames = np.interp(x, [0, place, place + 1, 3], edges)
            curves.append((weights / weights.mean())[frames.astype(int)])
    return np.mean(curves, axis=0)


def draw(systems: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Return the figure of several systems, a panel for each place.

    Arguments
    ---------
    systems : dict
        Name -> what `recipes.PIECEWISE.attention.collect` returned.
    """
    places = {name: places_of(found) for name, found in systems.items()}
    shown = np.unique(np.concatenate(list(places.values())))
    figure = Figure(figsize=(2 + 2.5 * len(shown), 3))
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    x = (np.arange(3 * BINS) + 0.5) / BINS
    for place, axes in zip(shown, panels):
        axes.axvspan(place, place + 1, color="tab:orange", alpha=0.15)
        axes.axhline(1, color="tab:gray", linestyle=":", linewidth=1)
        axes.set_xticks([0.5, 1.5, 2.5], UTTERANCES)
        for i, (name, found) in enumerate(systems.items()):
            neutral = found["label"] == NEUTRAL
            for chosen, line in ((~neutral, "-"), (neutral, "--")):
                chosen = chosen & (places[name] == place)
                if chosen.any():
                    curve = mean_curve(found, chosen, place)
                    axes.plot(x, curve, line, color=f"C{i}")
    for i, name in enumerate(systems):
        axes.plot([], [], color=f"C{i}", label=plain_text(name))
    label = "dashed: recordings that\nare neutral throughout"
    axes.plot([], [], "--", color="black", label=label)
    panels[0].set_ylabel("weight / uniform weight")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


if __name__ == "__main__":
    main()
