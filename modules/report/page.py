"""The whole report, from a table to report.html."""

import datetime
import pathlib

import jinja2
import numpy as np

from modules.experiments import breakdowns
from modules.experiments.compare import compare, intervals
from modules.experiments.results_table import METRICS
from modules.experiments.significance import BINS, RESAMPLES, reliability
from modules.experiments.write import mean_std, percent, published
from modules.files import write_text
from modules.report import plots, system_plots
from modules.report.example_utterances import close_up
from modules.report.provenance import provenance

# A matrix of more systems cannot be read on any screen.
MOST_IN_MATRIX = 16


def write_report(table, results):
    """Write report.html beside results.csv and results.json.

    Arguments
    ---------
    table : modules.experiments.results_table.Table
        With at least one finished run.
    results : dict
        From `modules.experiments.write.write_table`; gets intervals, comparisons and
        calibration added.

    Returns
    -------
    path : pathlib.Path
        Of report.html.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    rows = table.finished
    best = breakdowns.representative(rows)
    overview = _overview(table, rows)
    pairs = _pairs(rows)
    calibration = _calibration(table, rows, best)
    results["comparisons"] = pairs["pairs"]
    for own in results["systems"]:
        if own["system"] in overview["intervals"]:
            own["interval"] = overview["intervals"][own["system"]]
            own["calibration"] = calibration["saved"].get(own["system"])
    page = environment.get_template("template.html").render(
        plan=table.plan,
        table=table,
        labels=table.labels,
        metrics=METRICS,
        best=best,
        date=datetime.date.today().isoformat(),
        resamples=RESAMPLES,
        bins=BINS,
        overview=overview,
        pairs=pairs,
        systems=[_system(table, row) for row in _first(best, rows)],
        curves=_curves(rows),
        utterances=_utterances(table, rows),
        calibration=calibration,
        agreement=_agreement(table, rows, best),
        provenance=provenance(table),
    )
    path = table.plan.output_folder / "report.html"
    write_text(path, page)
    return path


def _first(best, rows):
    """Return the rows, the best on dev first."""
    return [best, *(row for row in rows if row is not best)]


def _overview(table, rows):
    """Return the table, and its picture."""
    plan = table.plan
    classes = len(table.labels)
    own = {row.name: intervals(row, classes) for row in rows}
    lines = []
    for row in table.rows:
        interval = own.get(row.name)
        lines.append(
            {
                "name": row.name,
                "runs": f"{len(row.runs)}/{len(row.runs) + len(row.missing)}",
                "complete": not row.missing,
                "figures": {
                    m: mean_std(row.summary(m), len(plan.seeds))
                    for m in METRICS
                },
                "interval": interval
                and {m: _range(interval[m]) for m in own[row.name]},
                "published": published(plan, row),
                "dev": percent(row.dev()),
            }
        )
    picture = plots.draw_overview(
        [row.name for row in rows],
        [
            {
                "mean": 100 * row.summary("WA")["mean"],
                "interval": [100 * edge for edge in own[row.name]["WA"]],
                "folds": [100 * v for v in row.by_fold("WA").values()],
                "published": plan.published[row.name]["mean"]
                if row.name in plan.published
                and plan.published_metric.startswith("WA")
                else None,
            }
            for row in rows
        ],
    )
    missing = [
        {"name": cell.name, "why": why}
        for row in table.rows
        for cell, why in row.missing.values()
    ]
    # The two floors of a run miss the same cells.
    missing = [one for i, one in enumerate(missing) if one not in missing[:i]]
    return {
        "lines": lines,
        "picture": picture,
        "grid": _grid(table),
        "missing": missing,
        "intervals": own,
    }


def _range(edges):
    """Return an interval in percent."""
    return f"{100 * edges[0]:.1f} to {100 * edges[1]:.1f}"


def _grid(table):
    """Return WA as rows x columns of the experiment file; None without."""
    columns = list(dict.fromkeys(r.system.column for r in table.rows))
    if len(columns) < 2:
        return None
    cells = {(r.system.row, r.system.column): r for r in table.rows}
    names = list(
        dict.fromkeys(r.system.row for r in table.rows if r.system.column)
    )
    seeds = len(table.plan.seeds)
    return {
        "columns": [column for column in columns if column],
        "rows": [
            (
                name,
                [
                    (
                        mean_std(cells[name, column].summary("WA"), seeds),
                        published(table.plan, cells[name, column]),
                    )
                    if (name, column) in cells
                    else ("", "")
                    for column in columns
                    if column
                ],
            )
            for name in names
        ],
    }


def _pairs(rows):
    """Return all comparisons and the matrix of them."""
    pairs, speakers, utterances = compare(rows)
    names = [row.name for row in rows]
    place = {name: i for i, name in enumerate(names)}
    differences = np.full((len(names), len(names)), np.nan)
    corrected = np.full_like(differences, np.nan)
    for pair in pairs:
        i, j = place[pair["first"]], place[pair["second"]]
        differences[i, j] = 100 * pair["difference"]
        differences[j, i] = -differences[i, j]
        corrected[i, j] = corrected[j, i] = pair["p_max"]
    drawn = pairs and len(names) <= MOST_IN_MATRIX
    return {
        "pairs": pairs,
        "sorted": sorted(
            pairs, key=lambda p: (p["p_max"], p["p"], -abs(p["difference"]))
        ),
        "speakers": speakers,
        "utterances": utterances,
        "picture": plots.draw_pairs(names, differences, corrected)
        if drawn
        else None,
    }


def _system(table, row):
    """Return what is shown of one system."""
    labels = table.labels
    folds = sorted({fold for fold, _ in row.runs})
    recalls = breakdowns.recall_by_fold(row, labels)
    pooled = breakdowns.pooled_recall(row, labels)
    curves = breakdowns.learning_curves(row)
    weights = breakdowns.layer_weights(row)
    return {
        "row": row,
        "confusion": system_plots.draw_confusions(
            row.confusion(), {f: row.confusion(f) for f in folds}, labels
        ),
        "recall": system_plots.draw_recalls(recalls, pooled, labels),
        "recalls": recalls,
        "pooled": pooled,
        "folds": {
            fold: {m: row.by_fold(m)[fold] for m in METRICS} for fold in folds
        },
        "genders": breakdowns.by_gender(row, labels),
        "curves": system_plots.draw_curves(curves) if curves else None,
        "weights": system_plots.draw_layer_weights(weights)
        if weights
        else None,
    }


def _curves(rows):
    """Return the picture of all systems' dev accuracy, or None."""
    curves = {}
    for row in rows:
        own = breakdowns.learning_curves(row)
        if own:
            shortest = min(map(len, own.values()))
            curves[row.name] = np.mean(
                [values[:shortest, 2] for values in own.values()], axis=0
            )
    return plots.draw_all_curves(curves) if len(curves) > 1 else None


def _utterances(table, rows):
    """Return chosen utterances of the system that is best on dev.

    Of those with attention, if there are any: that is what is to be seen.
    """
    attentive = [
        row
        for row in rows
        if row.system.is_trained
        and table.plan.resolved[row.system.name]["pooling"] == "attentive_corr"
    ]
    row = breakdowns.representative(attentive or rows)
    return {"row": row} | close_up(table.plan, row, table.labels)


def _calibration(table, rows, best):
    """Return the table of calibration, and diagrams of the best's siblings."""
    known = {}
    for row in rows:
        own = breakdowns.calibration(row)
        if own:
            known[row.name] = own
    shown = [
        row
        for row in breakdowns.smoothing_siblings(table.plan, best, rows)
        if row.name in known
    ]
    panels = []
    for row in shown[:4]:
        own = known[row.name]
        panels.append(
            {
                "title": row.name,
                "before": reliability(own["before"], own["truth"]),
                "after": reliability(own["after"], own["truth"]),
                "ece": own["ece"],
            }
        )
    saved = {
        name: {key: own[key] for key in ("ece", "nll", "temperature")}
        for name, own in known.items()
    }
    return {
        "picture": plots.draw_reliability(panels) if panels else None,
        "saved": saved,
        "siblings": len(shown) > 1,
        "smoothing": {
            row.name: breakdowns.smoothing(table.plan, row)
            if row.system.is_trained
            else None
            for row in rows
        },
    }


def _agreement(table, rows, best):
    """Return the picture and table of accuracy against agreement, or None."""
    siblings = breakdowns.smoothing_siblings(table.plan, best, rows)
    lines = {row.name: breakdowns.agreement(row) for row in siblings[:4]}
    lines = {name: bins for name, bins in lines.items() if bins}
    if not lines:
        return None
    return {"picture": plots.draw_agreement(lines), "lines": lines}
