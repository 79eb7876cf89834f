"""Plots of one system of results.json; see `modules.report.plots`."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from modules.experiments.breakdowns import CURVES
from modules.report.plots import by_epoch, embed, legend_outside, plt, styled


@styled
def draw_confusions(system: dict, labels: list[str]) -> dict:
    """Draw the pooled confusion matrix and a small one of each fold."""
    by_fold = system["confusion_by_fold"]
    columns = max(2, -(-len(by_fold) // 2))
    figure = plt.figure(figsize=(4.6 + 1.9 * columns, 4.4))
    grid = figure.add_gridspec(
        2, 1 + columns, width_ratios=[2.6, *[1] * columns], wspace=0.25
    )
    large = figure.add_subplot(grid[:, 0])
    _confusion(large, system["confusion"], labels, numbers=True)
    large.set(title="all folds", xlabel="predicted", ylabel="true")
    for i, (fold, counts) in enumerate(by_fold.items()):
        axes = figure.add_subplot(grid[i // columns, 1 + i % columns])
        _confusion(axes, counts, [k[:3] for k in labels], numbers=False)
        axes.set_title(f"fold {fold}")
    recalls = [f"{k} {v:.0%}" for k, v in system["recall"].items() if v]
    alt = "Confusion matrices. Recall over all folds: "
    return embed(figure, alt + ", ".join(recalls))


def _confusion(axes, counts, labels, numbers):
    """Draw one matrix, as shares of each true class."""
    counts = np.array(counts)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(shares):
        if numbers:
            color = "white" if share > 0.5 else "black"
            options = {"ha": "center", "va": "center", "fontsize": 8}
            axes.text(j, i, f"{100 * share:.0f}", color=color, **options)
    size = 8 if numbers else 6.5
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(labels)), labels, fontsize=size)
    axes.tick_params(length=0)


@styled
def draw_recalls(system: dict, labels: list[str]) -> dict:
    """Draw recall of each class: a bar over all folds, a dot for each fold."""
    recalls = system["recall_by_fold"]
    figure, axes = plt.subplots(figsize=(max(5, 1.1 * len(labels)), 2.8))
    heights = [100 * (system["recall"][label] or 0) for label in labels]
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
    axes.set(ylim=(0, 103), ylabel="recall in percent")
    legend_outside(axes)
    texts = [f"{k} {h:.0f}" for k, h in zip(labels, heights)]
    alt = "Recall of each class in percent, over all folds: "
    return embed(figure, alt + ", ".join(texts))


@styled
def draw_layer_weights(by_fold: dict) -> dict:
    """Draw the learned weight of each layer, a line for each fold."""
    mean = np.mean(list(by_fold.values()), axis=0)
    count = len(mean)
    figure, axes = plt.subplots(figsize=(max(5, 0.28 * count), 2.8))
    for fold, weights in by_fold.items():
        axes.plot(range(count), weights, "o-", ms=3, label=f"fold {fold}")
    axes.axhline(1 / count, color="#888888", linestyle="--", label="uniform")
    axes.set(xlabel="layer (0: input of the transformer)", ylabel="weight")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    legend_outside(axes)
    return embed(
        figure,
        f"Learned layer weights per fold; on average layer {mean.argmax()} has "
        f"the largest weight, {mean.max():.2f}; a uniform weight is "
        f"{1 / count:.2f}.",
    )


@styled
def draw_curves(by_fold: dict) -> dict:
    """Draw losses and dev accuracy of every epoch, a line for each fold.

    Arguments
    ---------
    by_fold : dict
        From `modules.experiments.breakdowns.learning_curves`.
    """
    figure, panels = plt.subplots(1, 3, figsize=(9, 2.6), layout="tight")
    titles = ["train loss", "dev loss", "dev WA in percent"]
    for axes, key, title in zip(panels, CURVES, titles):
        scale = 100 if key == "dev_WA" else 1
        curves = {
            f"fold {fold}": scale * np.array(own[key])
            for fold, own in by_fold.items()
        }
        by_epoch(axes, curves)
        axes.set_title(title)
    legend_outside(panels[-1])
    last = np.mean([own["dev_WA"][-1] for own in by_fold.values()])
    return embed(
        figure,
        "Learning curves: train loss, dev loss and dev accuracy by epoch; "
        f"after the last epoch dev accuracy is {last:.0%} on average.",
    )
