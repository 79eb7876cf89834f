"""Plots of one system; see `modules.report.plots`."""

import numpy as np

from modules.experiments.breakdowns import CURVES
from modules.report.plots import embed, plt, styled


@styled
def draw_confusions(system: dict, labels: list[str]) -> dict:
    """Draw the pooled confusion matrix and a small one of each fold.

    Arguments
    ---------
    system : dict
        Of results.json.
    labels : list of str
    """
    pooled = np.array(system["confusion"])
    by_fold = system["confusion_by_fold"]
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
        _confusion(axes, np.array(counts), labels, numbers=False)
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
def draw_recalls(system: dict, labels: list[str]) -> dict:
    """Draw recall of each class: a bar over all folds, a dot for each fold.

    Arguments
    ---------
    system : dict
        Of results.json.
    labels : list of str
    """
    pooled, recalls = system["recall"], system["recall_by_fold"]
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
def draw_layer_weights(by_fold: dict) -> dict:
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
        "Learned layer weights per fold; on average layer "
        f"{int(mean.argmax())} has the largest weight, {mean.max():.2f}; a "
        f"uniform weight is {1 / count:.2f}.",
    )


@styled
def draw_curves(by_fold: dict) -> dict:
    """Draw losses and dev accuracy of every epoch, a line for each fold.

    Arguments
    ---------
    by_fold : dict
        From `modules.experiments.breakdowns.learning_curves`.
    """
    figure, panels = plt.subplots(1, 3, figsize=(9, 2.6))
    titles = ["train loss", "dev loss", "dev WA in percent"]
    for axes, key, title in zip(panels, CURVES, titles):
        for fold, curves in by_fold.items():
            scale = 100 if key == "dev_WA" else 1
            axes.plot(
                range(1, len(curves[key]) + 1),
                scale * np.array(curves[key]),
                linewidth=1.2,
                label=f"fold {fold}",
            )
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    last = np.mean([curves["dev_WA"][-1] for curves in by_fold.values()])
    return embed(
        figure,
        "Learning curves: train loss, dev loss and dev accuracy by epoch; "
        f"after the last epoch dev accuracy is {last:.0%} on average.",
    )
