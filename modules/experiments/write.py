"""A table on the terminal, as results.csv and as results.json."""

import json

import numpy as np

from modules.experiments.results_table import METRICS
from modules.files import write_rows, write_text
from modules.training.metrics import format_confusion


def percent(value):
    """Return 0.123 as "12.3", and "-" for nothing."""
    return "-" if value is None else f"{100 * value:.1f}"


def mean_std(summary, seeds):
    """Return "mean (over folds)", and the deviation over seeds if told."""
    text = f"{percent(summary['mean'])} ({percent(summary['std_folds'])})"
    return f"{text} ±{percent(summary['std_seeds'])}" if seeds > 1 else text


def published(plan, row):
    """Return "mean (std)" of published figures, or ""."""
    figure = plan.published.get(row.name)
    if not figure:
        return ""
    return " / ".join(
        f"{one['mean']:.2f}"
        + ("" if one["std"] is None else f" ({one['std']:.2f})")
        for one in (figure, figure.get("second"))
        if one
    )


def published_name(plan):
    """Return what the published figures are, such as "WA" or "WA / UA"."""
    metrics = plan.published_metric.split(" / ")
    return " / ".join(METRICS[metric] for metric in metrics)


def format_table(table):
    """Return the table for the terminal."""
    plan = table.plan
    head = ["system", "runs", *METRICS.values()]
    if plan.published:
        head.append(f"published {published_name(plan)}")
    lines = [head]
    for row in table.rows:
        total = len(row.runs) + len(row.missing)
        lines.append(
            [
                row.name,
                f"{len(row.runs)}/{total}",
                *(mean_std(row.summary(m), len(plan.seeds)) for m in METRICS),
            ]
            + ([published(plan, row)] if plan.published else [])
        )
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]
    seeds = len(plan.seeds)
    legend = f"percent, mean (std over {len(plan.folds)} folds)"
    if seeds > 1:
        legend += f", figures averaged over {seeds} seeds; ±: std over seeds"
    return "\n".join([*text, legend, *table.notes])


def format_folds(table):
    """Return one line per fold of a table's only system."""
    row = table.rows[0]
    by_metric = {metric: row.by_fold(metric) for metric in METRICS}
    return "\n".join(
        f"fold {fold}: "
        + "  ".join(
            f"{name} {by_metric[metric][fold]:.1%}"
            for metric, name in METRICS.items()
        )
        for fold in by_metric["WA"]
    )


def format_pooled_confusion(table, row):
    """Return the confusion over all folds and seeds, for the terminal."""
    counts = row.confusion()
    sums = counts.sum(axis=1)
    recall = {
        label: counts[i, i] / sums[i] if sums[i] else None
        for i, label in enumerate(table.labels)
    }
    return format_confusion(table.labels, counts, recall)


def write_table(table):
    """Write results.csv (a line per run) and results.json (all figures)."""
    plan = table.plan
    rows, systems = [], []
    for row in table.rows:
        for (fold, seed), run in row.runs.items():
            rows.append(
                {
                    "system": row.name,
                    "fold": fold,
                    "seed": seed,
                    "status": "finished",
                    **{m: f"{run.scores[m]:.6f}" for m in METRICS},
                    "dev_WA": run.results.get("dev_WA"),
                    **{
                        f"recall_{k}": run.scores["recall"][k]
                        for k in table.labels
                    },
                }
            )
        for (fold, seed), (_, why) in row.missing.items():
            rows.append(
                {"system": row.name, "fold": fold, "seed": seed, "status": why}
            )
        systems.append(
            {
                "system": row.name,
                "finished": len(row.runs),
                "missing": [
                    {"fold": f, "seed": s, "why": why}
                    for (f, s), (_, why) in row.missing.items()
                ],
                "published": plan.published.get(row.name),
                **{m: row.summary(m) for m in METRICS},
                "by_fold": {m: row.by_fold(m) for m in METRICS},
                "by_seed": {m: row.by_seed(m) for m in METRICS},
                "dev_WA": row.dev(),
                "confusion": np.asarray(row.confusion()).tolist()
                if row.runs
                else None,
            }
        )
    names = list(max(rows, key=len))
    write_rows(
        plan.output_folder / "results.csv",
        [{name: line.get(name, "") for name in names} for line in rows],
    )
    results = {
        "title": plan.title,
        "labels": table.labels,
        "folds": plan.folds,
        "seeds": plan.seeds,
        "published_source": plan.published_source,
        "published_metric": plan.published_metric,
        "notes": table.notes,
        "systems": systems,
    }
    return results


def write_results_json(plan, results):
    """Write results.json, whole."""
    write_text(
        plan.output_folder / "results.json",
        json.dumps(results, indent=2) + "\n",
    )
