"""Pictures of the report, each a data URI with words for those who hear it."""

import base64
import io

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

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


def styled(draw):
    """Let a function draw in the report's style."""

    def drawn(*args, **kwargs):
        with plt.rc_context(STYLE):
            return draw(*args, **kwargs)

    drawn.__doc__ = draw.__doc__
    return drawn


def embed(figure, alt, kind="svg", dpi=110):
    """Close a figure and return {"src": data URI, "alt": words}."""
    out = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(
        out, format=kind, dpi=dpi, bbox_inches="tight", metadata=metadata
    )
    plt.close(figure)
    media = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return {"src": data_uri(out.getvalue(), media), "alt": alt}


def data_uri(content, media):
    """Return bytes as a data URI."""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


@styled
def draw_overview(names, figures):
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
        "WA of every system with its interval: "
        + "; ".join(f"{n} {o['mean']:.1f}" for n, o in zip(names, figures)),
    )


@styled
def draw_pairs(names, differences, corrected):
    """Draw the matrix of differences in points; bold where p is below 0.05.

    Arguments
    ---------
    names : list of str
    differences, corrected : numpy.ndarray
        [systems, systems]; NaN on the diagonal.
    """
    side = 1.2 + 0.52 * len(names)
    figure, axes = plt.subplots(figsize=(side + 1.2, side))
    largest = max(1.0, np.nanmax(np.abs(differences)))
    axes.imshow(differences, cmap="RdBu", vmin=-largest, vmax=largest)
    for (i, j), value in np.ndenumerate(differences):
        if i == j:
            continue
        sure = corrected[i, j] < 0.05
        axes.text(
            j,
            i,
            f"{value:+.1f}" + ("*" if sure else ""),
            ha="center",
            va="center",
            fontsize=7.5,
            fontweight="bold" if sure else "normal",
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
def draw_confusions(pooled, by_fold, labels):
    """Draw the pooled confusion matrix and a small one of each fold.

    Arguments
    ---------
    pooled : numpy.ndarray
        Counts [true, predicted].
    by_fold : dict
        Fold -> the same.
    labels : list of str
    """
    columns = max(2, -(-len(by_fold) // 2))
    figure = plt.figure(figsize=(4.6 + 1.9 * columns, 4.4))
    grid = figure.add_gridspec(
        2, 1 + columns, width_ratios=[2.6, *[1] * columns], wspace=0.25
    )
    large = figure.add_subplot(grid[:, 0])
    _confusion(large, pooled, labels, numbers=True)
    large.set_title("all folds")
    large.set_xlabel("predicted")
    large.set_ylabel("true")
    for i, (fold, counts) in enumerate(by_fold.items()):
        axes = figure.add_subplot(grid[i // columns, 1 + i % columns])
        _confusion(axes, counts, labels, numbers=False)
        axes.set_title(f"fold {fold}")
    shares = _shares(pooled)
    return embed(
        figure,
        "Confusion matrices. Recall over all folds: "
        + ", ".join(f"{k} {shares[i, i]:.0%}" for i, k in enumerate(labels)),
    )


def _shares(counts):
    """Return counts as shares of each true class."""
    return counts / counts.sum(axis=1, keepdims=True).clip(min=1)


def _confusion(axes, counts, labels, numbers):
    """Draw one matrix."""
    shares = _shares(counts)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if numbers:
        for (i, j), share in np.ndenumerate(shares):
            axes.text(
                j,
                i,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if share > 0.5 else "black",
            )
    short = labels if numbers else [label[:3] for label in labels]
    size = 8 if numbers else 6.5
    axes.set_xticks(range(len(labels)), short, rotation=90, fontsize=size)
    axes.set_yticks(range(len(labels)), short, fontsize=size)
    axes.tick_params(length=0)


@styled
def draw_recalls(recalls, pooled, labels):
    """Draw recall of each class: a bar over all folds, a dot for each fold.

    Arguments
    ---------
    recalls : dict
        Fold -> label -> recall or None.
    pooled : dict
        Label -> recall or None.
    labels : list of str
    """
    figure, axes = plt.subplots(figsize=(max(5, 1.1 * len(labels)), 2.8))
    heights = [100 * (pooled[label] or 0) for label in labels]
    axes.bar(range(len(labels)), heights, color="#c5d5e2", width=0.65)
    for number, (fold, own) in enumerate(recalls.items()):
        shift = 0.5 * (number + 0.5) / len(recalls) - 0.25
        points = [
            (x + shift, 100 * own[label])
            for x, label in enumerate(labels)
            if own[label] is not None
        ]
        axes.plot(*zip(*points), "o", ms=4, label=f"fold {fold}")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_ylim(0, 103)
    axes.set_ylabel("recall in percent")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return embed(
        figure,
        "Recall of each class, over all folds: "
        + ", ".join(f"{k} {h:.0f}" for k, h in zip(labels, heights)),
    )


@styled
def draw_layer_weights(by_fold):
    """Draw the learned weight of each layer, a line for each fold.

    Arguments
    ---------
    by_fold : dict
        Fold -> weights.
    """
    count = len(next(iter(by_fold.values())))
    figure, axes = plt.subplots(figsize=(max(5, 0.28 * count), 2.8))
    for fold, weights in by_fold.items():
        axes.plot(range(count), weights, "o-", ms=3, label=f"fold {fold}")
    axes.axhline(1 / count, color="#888888", linestyle="--", label="uniform")
    axes.set_xlabel("layer (0: input of the transformer)")
    axes.set_ylabel("weight")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    mean = np.mean(list(by_fold.values()), axis=0)
    return embed(
        figure,
        "Learned layer weights per fold; on average the heaviest is layer "
        f"{int(mean.argmax())} with {mean.max():.2f}, uniform is "
        f"{1 / count:.2f}.",
    )


@styled
def draw_curves(by_fold):
    """Draw losses and dev accuracy of every epoch, a line for each fold.

    Arguments
    ---------
    by_fold : dict
        Fold -> [epochs, 3]; see `report.measure.learning_curves`.
    """
    figure, panels = plt.subplots(1, 3, figsize=(9, 2.6))
    for column, (axes, title) in enumerate(
        zip(panels, ["train loss", "dev loss", "dev WA in percent"])
    ):
        for fold, values in by_fold.items():
            scale = 100 if column == 2 else 1
            axes.plot(
                range(1, len(values) + 1),
                scale * values[:, column],
                linewidth=1.2,
                label=f"fold {fold}",
            )
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    last = np.mean([values[-1, 2] for values in by_fold.values()])
    return embed(
        figure,
        "Learning curves: train loss, dev loss and dev accuracy by epoch; "
        f"after the last epoch dev accuracy is {last:.0%} on average.",
    )


@styled
def draw_all_curves(curves):
    """Draw dev accuracy of every epoch, a line for each system.

    Arguments
    ---------
    curves : dict
        System -> [epochs].
    """
    figure, axes = plt.subplots(figsize=(6.5, 3.2))
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(curves)))
    styles = ["-", "--", "-.", ":"]
    for i, (name, values) in enumerate(curves.items()):
        axes.plot(
            range(1, len(values) + 1),
            100 * values,
            styles[i % 4],
            color=colors[i],
            linewidth=1.3,
            label=name,
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("dev WA in percent")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1.03), fontsize=7.5)
    return embed(
        figure,
        "Dev accuracy by epoch, after the last: "
        + "; ".join(f"{n} {v[-1]:.0%}" for n, v in curves.items()),
    )


@styled
def draw_reliability(panels):
    """Draw reliability diagrams side by side.

    Arguments
    ---------
    panels : list of dict
        ``title`` and two of `tables.statistics.reliability`: ``before`` and
        ``after``; ``ece`` of both.
    """
    figure, all_axes = plt.subplots(
        1,
        len(panels),
        figsize=(max(4.2, 3.3 * len(panels)), 3.4),
        sharey=True,
        squeeze=False,
    )
    for axes, panel in zip(all_axes[0], panels):
        axes.plot([0, 1], [0, 1], color="#aaaaaa", linestyle="--", lw=1)
        for name, mark, ece in zip(("before", "after"), "os", panel["ece"]):
            confidence, accuracy, counts = panel[name]
            known = counts > 0
            axes.plot(
                confidence[known],
                accuracy[known],
                f"{mark}-",
                ms=4,
                lw=1.2,
                label=f"{name} scaling, ECE {100 * ece:.1f}",
            )
        axes.set_title(panel["title"], loc="left")
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
            f"{p['title']}: expected calibration error "
            f"{p['ece'][0]:.1%} before and {p['ece'][1]:.1%} after "
            "temperature scaling"
            for p in panels
        ),
    )


@styled
def draw_agreement(lines):
    """Draw accuracy against the annotators' agreement.

    Arguments
    ---------
    lines : dict
        System -> list of `report.measure.agreement`.
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
