"""All figures of an experiment as plain data, and the files that hold them.

`analyse` computes, `write_results` writes results.json and results.csv; the
terminal and the report show what is in them and compute nothing.
"""

import json

import pandas as pd

from modules.experiments import breakdowns
from modules.experiments.compare import compare, intervals
from modules.experiments.plan import Plan
from modules.experiments.provenance import provenance
from modules.experiments.results_table import METRICS, Row, Table
from modules.files import whole_file, write_json


def analyse(table: Table) -> dict:
    """Return all figures of an experiment, the content of results.json.

    ``systems`` has one dict for each system, ``comparisons`` one for each
    pair of systems; ``best`` is the system with the best dev accuracy.
    """
    plan, rows, published = table.plan, table.finished, table.plan.published
    best = breakdowns.best_on_dev(rows)
    pairs, speakers, utterances = compare(rows)
    siblings = breakdowns.smoothing_siblings(plan, best, rows)
    shown = _example_row(plan, rows)
    results = {
        "title": plan.title,
        "labels": table.labels,
        "folds": plan.folds,
        "seeds": plan.seeds,
        "published_source": published.source if published else "",
        "published_metric": published.metric if published else "WA",
        "notes": table.notes,
        "best": best.name,
        "smoothing_siblings": [row.name for row in siblings],
        "systems": [_system(table, row) for row in table.rows],
        "comparisons": pairs,
        "speakers": speakers,
        "utterances": utterances,
        "examples": breakdowns.confident_examples(shown, table.labels),
        "provenance": provenance(table),
    }
    # As a reader of results.json gets it: keys are texts.
    return json.loads(json.dumps(results))


def _example_row(plan: Plan, rows: list[Row]) -> Row:
    """Return the row whose utterances are shown: with attention, if any."""
    attentive = [
        row
        for row in rows
        if plan.resolved[row.name].get("pooling") == "attentive_corr"
    ]
    return breakdowns.best_on_dev(attentive or rows)


def _system(table: Table, row: Row) -> dict:
    """Return the figures of one system."""
    by_fold, by_seed = row.by_fold(), row.by_seed()
    published = table.plan.published
    figures = {
        "system": row.name,
        "row": row.system.row,
        "column": row.system.column,
        "label_smoothing": breakdowns.smoothing(table.plan, row),
        "finished": len(row.runs),
        "missing": [
            {"fold": fold, "seed": seed, "name": run.name, "why": why}
            for (fold, seed), (run, why) in row.missing.items()
        ],
        "published": published.figures.get(row.name) if published else None,
        **{metric: row.summary(metric) for metric in METRICS},
        "by_fold": {m: by_fold[m].to_dict() for m in METRICS},
        "by_seed": {m: by_seed[m].to_dict() for m in METRICS},
        "dev_WA": row.dev(),
    }
    return figures | (_of_runs(row, table.labels) if row.runs else {})


def _of_runs(row: Row, labels: list[str]) -> dict:
    """Return the figures of a system that need a finished run."""
    confusions = {fold: row.confusion(fold) for fold in row.by_fold().index}
    pooled = row.confusion()
    return {
        "interval": intervals(row, len(labels)),
        "confusion": pooled.tolist(),
        "confusion_by_fold": {k: v.tolist() for k, v in confusions.items()},
        "recall": breakdowns.recall(pooled, labels),
        "recall_by_fold": {
            fold: breakdowns.recall(counts, labels)
            for fold, counts in confusions.items()
        },
        "by_gender": breakdowns.by_gender(row, labels),
        "calibration": breakdowns.calibrate(row),
        "coverage": breakdowns.coverage(row),
        "agreement": breakdowns.agreement(row),
        "learning_curves": breakdowns.learning_curves(row),
        "layer_weights": breakdowns.layer_weights(row),
    }


def write_results(table: Table, results: dict) -> None:
    """Write results.json (from `analyse`) and results.csv (a line per run)."""
    folder = table.plan.output_folder
    lines = [line for row in table.rows for line in _lines(row, table.labels)]
    with whole_file(folder / "results.csv") as partial:
        pd.DataFrame(lines).to_csv(partial, index=False)
    write_json(folder / "results.json", results)


def _lines(row: Row, labels: list[str]) -> list[dict]:
    """Return the lines of results.csv of one system."""
    lines = []
    for key in sorted([*row.runs, *row.missing]):
        line = {"system": row.name, "fold": key[0], "seed": key[1]}
        if key in row.missing:
            line["status"] = row.missing[key][1]
        else:
            scores = row.scores[key]
            line["status"] = "finished"
            line |= {metric: f"{scores[metric]:.6f}" for metric in METRICS}
            line["dev_WA"] = row.runs[key].results["dev_WA"]
            line |= {f"recall_{k}": scores["recall"][k] for k in labels}
        lines.append(line)
    return lines
