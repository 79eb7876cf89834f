"""Plots that compare systems, each a data URI with a text alternative."""

import base64
import functools
import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

matplotlib.use("Agg")
from matplotlib import pyplot as plt

BLUE, ORANGE, GREY = "#2a5d84", "#d1803c", "#888888"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.prop_cycle": matplotlib.rcsetup.cycler(
        color=[BLUE, ORANGE, "#5a8f5a", "#9c5a8a", "#8a7a3a", "#5f5f5f"]
    ),
    "legend.frameon": False,
    "svg.hashsalt": "report",
}


def styled(draw: Callable) -> Callable:
    """Make a function draw in the report's style."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with plt.rc_context(STYLE):
            return draw(*args, **kwargs)

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


def by_epoch(axes, curves: dict, **options) -> None:
    """Draw name -> value of each epoch, a line for each name."""
    for name, values in curves.items():
        epochs = range(1, len(values) + 1)
        axes.plot(epochs, values, label=name, linewidth=1.2, **options)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)


def legend_outside(axes) -> None:
    """Draw the legend to the right of the axes."""
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1.03), fontsize=7.5)


@styled
def draw_overview(systems: list[dict], with_published: bool) -> dict:
    """Draw WA of each system: mean, interval, folds and published figure."""
    names = [system["system"] for system in systems]
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.33 * len(names)))
    means = [100 * system["WA"]["mean"] for system in systems]
    for y, (system, mean) in enumerate(zip(systems, means)):
        edges = 100 * np.array(system["interval"]["WA"])
        folds = [100 * value for value in system["by_fold"]["WA"].values()]
        axes.plot(edges, [y, y], color=BLUE, linewidth=2)
        axes.plot(folds, [y] * len(folds), "|", color=GREY, ms=8)
        axes.plot(mean, y, "o", color=BLUE, ms=6)
        if with_published and system["published"]:
            axes.plot(system["published"][0]["mean"], y, "D", color=ORANGE)
    handles = {
        "mean and 95% interval": plt.Line2D([], [], color=BLUE, marker="o"),
        "one fold": plt.Line2D([], [], color=GREY, marker="|", linestyle=""),
    }
    if with_published:
        handles["published"] = plt.Line2D(
            [], [], color=ORANGE, marker="D", linestyle=""
        )
    axes.legend(
        handles.values(),
        handles,
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
    figures = "; ".join(f"{n} {mean:.1f}" for n, mean in zip(names, means))
    return embed(figure, f"WA of every system in percent: {figures}")


def _matrices(names: list[str], comparisons: list[dict]) -> tuple:
    """Return differences in points and corrected p, [systems, systems]."""
    places = {name: i for i, name in enumerate(names)}
    differences = np.full((len(names), len(names)), np.nan)
    corrected = np.full_like(differences, np.nan)
    for pair in comparisons:
        i, j = places[pair["first"]], places[pair["second"]]
        differences[i, j] = 100 * pair["difference"]
        differences[j, i] = -differences[i, j]
        corrected[i, j] = corrected[j, i] = pair["p_max"]
    return differences, corrected


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
    differences, corrected = _matrices(names, comparisons)
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
            # Adding 0 turns -0.0 into 0.0.
            f"{round(value, 1) + 0:+.1f}" + ("*" if significant else ""),
            ha="center",
            va="center",
            fontsize=7.5,
            fontweight="bold" if significant else "normal",
            color="white" if abs(value) > 0.65 * largest else "black",
        )
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
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
    figure, axes = plt.subplots(figsize=(6.5, 3.2))
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(curves)))
    last = []
    for i, (name, folds) in enumerate(curves.items()):
        shortest = min(map(len, folds))
        mean = 100 * np.mean([fold[:shortest] for fold in folds], axis=0)
        style = ["-", "--", "-.", ":"][i % 4]
        by_epoch(axes, {name: mean}, color=colors[i], linestyle=style)
        last.append(f"{name} {mean[-1]:.0f}%")
    axes.set_ylabel("dev WA in percent")
    legend_outside(axes)
    alt = "Dev accuracy by epoch, after the last: "
    return embed(figure, alt + "; ".join(last))


@styled
def draw_reliability(systems: list[dict]) -> dict:
    """Draw reliability diagrams of systems with calibration side by side."""
    figure, all_axes = plt.subplots(
        1,
        len(systems),
        figsize=(max(4.2, 3.3 * len(systems)), 3.4),
        sharey=True,
        squeeze=False,
        layout="tight",
    )
    alts = []
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
        axes.set(title=system["system"], xlabel="confidence", aspect="equal")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="upper left", fontsize=7.5)
        alts.append(
            f"{system['system']}: expected calibration error "
            f"{own['ece'][0]:.1%} before and {own['ece'][1]:.1%} after "
            "temperature scaling"
        )
    all_axes[0][0].set_ylabel("accuracy")
    return embed(figure, "Reliability diagrams: " + "; ".join(alts))


@styled
def draw_coverage(systems: list[dict]) -> dict:
    """Draw the accuracy of the most confident answers of systems."""
    figure, axes = plt.subplots(figsize=(6.5, 3.2))
    alts = []
    for system in systems:
        own = system["coverage"]
        shares, heights = own["coverage"], own["accuracy"]
        axes.plot(
            [100 * share for share in shares],
            [100 * height for height in heights],
            drawstyle="steps-post",
            label=system["system"],
        )
        half = min(range(len(shares)), key=lambda i: abs(shares[i] - 0.5))
        alts.append(
            f"{system['system']} {heights[half]:.0%} for the most confident "
            f"half, {heights[-1]:.0%} for all"
        )
    axes.set_xlabel("coverage: utterances that are answered, in percent")
    axes.set_ylabel("accuracy in percent")
    axes.set_xlim(0, 100)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.legend(loc="lower left")
    return embed(figure, "Accuracy by coverage: " + "; ".join(alts))


@styled
def draw_agreement(lines: dict) -> dict:
    """Draw accuracy against the annotators' agreement.

    Arguments
    ---------
    lines : dict
        System -> list of `modules.experiments.breakdowns.agreement`.
    """
    figure, axes = plt.subplots(figsize=(6.5, 2.9))
    alts = []
    for name, bins in lines.items():
        middles = [50 * (own["low"] + own["high"]) for own in bins]
        heights = [100 * own["accuracy"] for own in bins]
        axes.plot(middles, heights, "o-", ms=5, label=name)
        alts.append(
            f"{name} {heights[0]:.0f}% at the lowest agreement, "
            f"{heights[-1]:.0f}% at the highest"
        )
    axes.set_xlabel("share of annotators who chose the label, in percent")
    axes.set_ylabel("accuracy in percent")
    axes.legend(loc="best")
    return embed(figure, "Accuracy by agreement: " + "; ".join(alts))
