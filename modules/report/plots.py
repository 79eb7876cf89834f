"""Plots of the report, each a data URI with a text alternative."""

import base64
import io
from collections.abc import Callable

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 9,
    "axes.prop_cycle": matplotlib.cycler(
        color=["#2a5d84", "#d1803c", "#5a8f5a", "#9c5a8a", "#8a7a3a", "#5f5f5f"]
    ),
    "legend.frameon": False,
    "svg.hashsalt": "report",
}


def styled(draw: Callable) -> Callable:
    """Make a function draw in the report's style."""

    def drawn(*args, **kwargs):
        with plt.rc_context(STYLE):
            return draw(*args, **kwargs)

    drawn.__doc__ = draw.__doc__
    return drawn


def embed(figure: Figure, alt: str, kind: str = "svg", dpi: int = 110) -> dict:
    """Close a figure and return {"src": data URI, "alt": text alternative}."""
    out = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(
        out, format=kind, dpi=dpi, bbox_inches="tight", metadata=metadata
    )
    plt.close(figure)
    media = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return {"src": data_uri(out.getvalue(), media), "alt": alt}


def data_uri(content: bytes, media: str) -> str:
    """Return bytes as a data URI."""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


@styled
def draw_overview(names: list[str], figures: list[dict]) -> dict:
    """Draw each system's mean, interval, folds and published figure.

    Arguments
    ---------
    names : list of str
        Systems, from the top.
    figures : list of dict
        In percent: ``mean``, ``interval`` (low, high), ``folds`` (list),
        ``published`` (or None).
    """
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.33 * len(names)))
    for y, own in enumerate(figures):
        axes.plot(own["interval"], [y, y], color="#2a5d84", linewidth=2)
        axes.plot(
            own["folds"], [y] * len(own["folds"]), "|", color="#888888", ms=8
        )
        axes.plot(own["mean"], y, "o", color="#2a5d84", ms=6)
        if own["published"] is not None:
            axes.plot(own["published"], y, "D", color="#d1803c", ms=5)
    handles = [
        plt.Line2D([], [], color="#2a5d84", marker="o"),
        plt.Line2D([], [], color="#888888", marker="|", linestyle="", ms=8),
    ]
    words = ["mean and 95% interval", "one fold"]
    if any(own["published"] is not None for own in figures):
        handles.append(
            plt.Line2D([], [], color="#d1803c", marker="D", linestyle="")
        )
        words.append("published")
    axes.legend(
        handles,
        words,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        borderaxespad=0.2,
    )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("WA in percent")
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    return embed(
        figure,
        "WA of every system with its interval, in percent: "
        + "; ".join(f"{n} {o['mean']:.1f}" for n, o in zip(names, figures)),
    )


@styled
def draw_pairs(names: list[str], comparisons: list[dict]) -> dict:
    """Draw the matrix of differences in points; bold where p is below 0.05.

    Arguments
    ---------
    names : list of str
        Systems, from the top and from the left.
    comparisons : list of dict
        From `modules.experiments.compare.compare`.
    """
    place = {name: i for i, name in enumerate(names)}
    differences = np.full((len(names), len(names)), np.nan)
    corrected = np.full_like(differences, np.nan)
    for pair in comparisons:
        i, j = place[pair["first"]], place[pair["second"]]
        differences[i, j] = 100 * pair["difference"]
        differences[j, i] = -differences[i, j]
        corrected[i, j] = corrected[j, i] = pair["p_max"]
    side = 1.2 + 0.52 * len(names)
    figure, axes = plt.subplots(figsize=(side + 1.2, side))
    largest = max(1.0, np.nanmax(np.abs(differences)))
    axes.imshow(differences, cmap="RdBu", vmin=-largest, vmax=largest)
    for (i, j), value in np.ndenumerate(differences):
        if i == j:
            continue
        significant = corrected[i, j] < 0.05
        axes.text(
            j,
            i,
            f"{value:+.1f}" + ("*" if significant else ""),
            ha="center",
            va="center",
            fontsize=7.5,
            fontweight="bold" if significant else "normal",
            color="white" if abs(value) > 0.65 * largest else "black",
        )
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return embed(
        figure,
        "Differences in accuracy, row minus column, in points; the table "
        "below has the same figures.",
    )


@styled
def draw_all_curves(curves: dict) -> dict:
    """Draw dev accuracy of every epoch, a line for each system.

    Arguments
    ---------
    curves : dict
        System -> a list of values by epoch for each fold; the mean over the
        folds is drawn, as far as all of them went.
    """
    means = {}
    for name, folds in curves.items():
        shortest = min(map(len, folds))
        means[name] = np.mean([fold[:shortest] for fold in folds], axis=0)
    figure, axes = plt.subplots(figsize=(6.5, 3.2))
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(curves)))
    styles = ["-", "--", "-.", ":"]
    for i, (name, values) in enumerate(means.items()):
        axes.plot(
            range(1, len(values) + 1),
            100 * values,
            styles[i % 4],
            color=colors[i],
            linewidth=1.3,
            label=name,
        )
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("dev WA in percent")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1.03), fontsize=7.5)
    return embed(
        figure,
        "Dev accuracy by epoch, after the last: "
        + "; ".join(f"{n} {v[-1]:.0%}" for n, v in means.items()),
    )


@styled
def draw_reliability(systems: list[dict]) -> dict:
    """Draw reliability diagrams side by side.

    Arguments
    ---------
    systems : list of dict
        Of results.json, with ``calibration``.
    """
    figure, all_axes = plt.subplots(
        1,
        len(systems),
        figsize=(max(4.2, 3.3 * len(systems)), 3.4),
        sharey=True,
        squeeze=False,
    )
    for axes, system in zip(all_axes[0], systems):
        own = system["calibration"]
        axes.plot([0, 1], [0, 1], color="#aaaaaa", linestyle="--", lw=1)
        for name, mark, ece in zip(("before", "after"), "os", own["ece"]):
            axes.plot(
                own[name]["confidence"],
                own[name]["accuracy"],
                f"{mark}-",
                ms=4,
                lw=1.2,
                label=f"{name} scaling, ECE {100 * ece:.1f}",
            )
        axes.set_title(system["system"], loc="left")
        axes.set_xlabel("confidence")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_aspect("equal")
        axes.legend(loc="upper left", fontsize=7.5)
    all_axes[0][0].set_ylabel("accuracy")
    figure.tight_layout()
    return embed(
        figure,
        "Reliability diagrams: "
        + "; ".join(
            f"{s['system']}: expected calibration error "
            f"{s['calibration']['ece'][0]:.1%} before and "
            f"{s['calibration']['ece'][1]:.1%} after temperature scaling"
            for s in systems
        ),
    )


@styled
def draw_agreement(lines: dict) -> dict:
    """Draw accuracy against the annotators' agreement.

    Arguments
    ---------
    lines : dict
        System -> list of `modules.experiments.breakdowns.agreement`.
    """
    figure, axes = plt.subplots(figsize=(6.5, 2.9))
    for name, bins in lines.items():
        middles = [50 * (own["low"] + own["high"]) for own in bins]
        heights = [100 * own["accuracy"] for own in bins]
        axes.plot(middles, heights, "o-", ms=5, label=name)
    axes.set_xlabel("share of annotators who chose the label, in percent")
    axes.set_ylabel("accuracy in percent")
    axes.legend(loc="best")
    return embed(
        figure,
        "Accuracy against agreement: "
        + "; ".join(
            f"{name} {bins[0]['accuracy']:.0%} where fewest agree, "
            f"{bins[-1]['accuracy']:.0%} where most do"
            for name, bins in lines.items()
        ),
    )
