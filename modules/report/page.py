"""The report as one HTML page, from results that are already computed."""

import datetime
import pathlib

import jinja2

from modules.experiments.calibration import BINS
from modules.experiments.plan import Plan
from modules.experiments.results_table import METRICS
from modules.experiments.significance import (
    DRAWN_FLIPS,
    EXACT_SPEAKERS,
    RESAMPLES,
)
from modules.experiments.text import (
    mean_std,
    percent,
    published,
    published_name,
)
from modules.files import write_text
from modules.report import plots, system_plots
from modules.report.example_utterances import show_examples

# A matrix of more systems cannot be read on any screen.
MOST_IN_MATRIX = 16
MOST_DIAGRAMS = 4


def write_report(plan: Plan, results: dict) -> pathlib.Path:
    """Write report.html beside results.csv and results.json.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan
        Locates the recordings of the example utterances.
    results : dict
        From `modules.experiments.analysis.analyse`.

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
    environment.filters |= {"percent": percent, "published": published}
    systems = [s for s in results["systems"] if s["finished"]]
    best = next(s for s in systems if s["system"] == results["best"])
    shown = [s for s in systems if s["system"] in results["smoothing_siblings"]]
    page = environment.get_template("template.html").render(
        results=results,
        metrics=METRICS,
        published_name=published_name(results),
        mean_std=lambda summary: mean_std(summary, len(results["seeds"])),
        best=best,
        date=datetime.date.today().isoformat(),
        resamples=RESAMPLES,
        drawn_flips=DRAWN_FLIPS,
        exact_flips=2 ** results["speakers"]
        if results["speakers"] <= EXACT_SPEAKERS
        else None,
        bins=BINS,
        overview=_overview(results, systems),
        grid=_grid(results),
        matrix=_matrix(results, systems),
        views=[
            _view(system, results["labels"])
            for system in [best, *(s for s in systems if s is not best)]
        ],
        curves=_curves(systems),
        examples=show_examples(plan, results["examples"]),
        diagrams=_diagrams(shown),
        agreement=_agreement(shown),
        hyperparams=_hyperparams(plan),
    )
    path = plan.output_folder / "report.html"
    write_text(path, page)
    return path


def _overview(results: dict, systems: list[dict]) -> dict:
    """Return the plot of every system's WA."""
    is_wa = results["published_metric"].startswith("WA")
    return plots.draw_overview(
        [s["system"] for s in systems],
        [
            {
                "mean": 100 * s["WA"]["mean"],
                "interval": [100 * edge for edge in s["interval"]["WA"]],
                "folds": [100 * v for v in s["by_fold"]["WA"].values()],
                "published": s["published"][0]["mean"]
                if s["published"] and is_wa
                else None,
            }
            for s in systems
        ],
    )


def _grid(results: dict) -> dict | None:
    """Return systems by rows and columns of the grid; None without one."""
    systems = results["systems"]
    columns = list(dict.fromkeys(s["column"] for s in systems if s["column"]))
    if not columns:
        return None
    cells = {(s["row"], s["column"]): s for s in systems}
    rows = dict.fromkeys(s["row"] for s in systems if s["column"])
    return {
        "columns": columns,
        "rows": {
            row: [cells.get((row, column)) for column in columns]
            for row in rows
        },
    }


def _matrix(results: dict, systems: list[dict]) -> dict | None:
    """Return the plot of all differences, unless there are too many."""
    names = [s["system"] for s in systems]
    if not results["comparisons"] or len(names) > MOST_IN_MATRIX:
        return None
    return plots.draw_pairs(names, results["comparisons"])


def _view(system: dict, labels: list[str]) -> dict:
    """Return a system and its plots."""
    curves, weights = system["learning_curves"], system["layer_weights"]
    return {
        "system": system,
        "confusion": system_plots.draw_confusions(system, labels),
        "recall": system_plots.draw_recalls(system, labels),
        "curves": system_plots.draw_curves(curves) if curves else None,
        "weights": system_plots.draw_layer_weights(weights)
        if weights
        else None,
    }


def _curves(systems: list[dict]) -> dict | None:
    """Return the plot of all systems' dev accuracy, or None."""
    curves = {
        s["system"]: [fold["dev_WA"] for fold in s["learning_curves"].values()]
        for s in systems
        if s["learning_curves"]
    }
    return plots.draw_all_curves(curves) if len(curves) > 1 else None


def _diagrams(systems: list[dict]) -> dict | None:
    """Return the plot of the systems' calibration, or None."""
    known = [s for s in systems if s["calibration"]][:MOST_DIAGRAMS]
    return plots.draw_reliability(known) if known else None


def _agreement(systems: list[dict]) -> dict | None:
    """Return accuracy against agreement of the systems, or None."""
    lines = {
        s["system"]: s["agreement"]
        for s in systems[:MOST_DIAGRAMS]
        if s["agreement"]
    }
    if not lines:
        return None
    return {"plot": plots.draw_agreement(lines), "lines": lines}


def _hyperparams(plan: Plan) -> dict | None:
    """Return the hyperparameter file of the first finished run, or None."""
    for run in plan.runs:
        path = run.folder / "hyperparams.yaml"
        if run.finished and path.exists():
            text = path.read_text(encoding="utf-8", errors="replace")
            return {"run": run.name, "text": text}
    return None
