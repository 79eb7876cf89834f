"""The results of an experiment as text for the terminal."""

import numpy as np
import pandas as pd

from modules.experiments.results_table import METRICS
from modules.training.metrics import format_confusion


def percent(value: float | None) -> str:
    """Return a share in percent, or "-" for None.

    Example
    -------
    >>> percent(0.1234), percent(None)
    ('12.3', '-')
    """
    return "-" if value is None else f"{100 * value:.1f}"


def mean_std(summary: dict, seeds: int) -> str:
    """Return "mean (over folds)", with several seeds "±over seeds" too."""
    text = f"{percent(summary['mean'])} ({percent(summary['std_folds'])})"
    over_seeds = summary["std_seeds"]
    if seeds < 2 or over_seeds is None:
        return text
    return f"{text} ±{percent(over_seeds)}"


def published(system: dict) -> str:
    """Return "mean (std)" of a system's published figures, or ""."""
    return " / ".join(
        f"{one['mean']:.2f}"
        + ("" if one["std"] is None else f" ({one['std']:.2f})")
        for one in system["published"] or []
    )


def published_name(results: dict) -> str:
    """Return the names of the published metrics, such as "WA / UA"."""
    metrics = results["published_metric"].split(" / ")
    return " / ".join(METRICS[metric] for metric in metrics)


def format_table(results: dict) -> str:
    """Return the table of all systems.

    Arguments
    ---------
    results : dict
        From `modules.experiments.analysis.analyse`.
    """
    folds, seeds = len(results["folds"]), len(results["seeds"])
    systems = results["systems"]
    columns = {"runs": [f"{s['finished']}/{folds * seeds}" for s in systems]}
    for metric, name in METRICS.items():
        columns[name] = [mean_std(s[metric], seeds) for s in systems]
    if any(s["published"] for s in systems):
        name = f"published {published_name(results)}"
        columns[name] = [published(s) for s in systems]
    frame = pd.DataFrame(columns, index=[s["system"] for s in systems])
    frame.columns.name = "system"
    legend = f"percent, mean (std over {folds} folds)"
    if seeds > 1:
        legend += f", figures averaged over {seeds} seeds; ±: std over seeds"
    return "\n".join([frame.to_string(), legend, *results["notes"]])


def format_only_system(results: dict) -> str:
    """Return folds and pooled confusion of an experiment's only system."""
    system, labels = results["systems"][0], results["labels"]
    lines = [
        f"fold {fold}: "
        + "  ".join(
            f"{name} {system['by_fold'][metric][fold]:.1%}"
            for metric, name in METRICS.items()
        )
        for fold in system["by_fold"]["WA"]
    ]
    counts = np.array(system["confusion"])
    confusion = format_confusion(labels, counts, system["recall"])
    return "\n".join([*lines, confusion])
