"""The report as one HTML page, from results that are already computed."""

import datetime
import pathlib

import jinja2

from modules.experiments import text
from modules.experiments.calibration import BINS
from modules.experiments.plan import Plan
from modules.experiments.results_table import METRICS
from modules.experiments.significance import (
    DRAWN_FLIPS,
    EXACT_SPEAKERS,
    RESAMPLES,
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
    """
    systems = [s for s in results["systems"] if s["finished"]]
    systems.sort(key=lambda system: system["system"] != results["best"])
    speakers = results["speakers"]
    page = (
        _environment()
        .get_template("template.html")
        .render(
            results=results,
            metrics=METRICS,
            published_name=text.published_name(results),
            mean_std=lambda own: text.mean_std(own, len(results["seeds"])),
            date=datetime.date.today().isoformat(),
            resamples=RESAMPLES,
            drawn_flips=DRAWN_FLIPS,
            exact_flips=2**speakers if speakers <= EXACT_SPEAKERS else None,
            bins=BINS,
            grid=_grid(results["systems"]),
            views=[_view(system, results["labels"]) for system in systems],
            examples=show_examples(plan, results["examples"]),
            hyperparams=_hyperparams(plan),
            **_plots(results),
        )
    )
    path = plan.output_folder / "report.html"
    write_text(path, page)
    return path


def _environment() -> jinja2.Environment:
    """Return the template's environment."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = text.percent
    environment.filters["published"] = text.published
    return environment


def _grid(systems: list[dict]) -> dict | None:
    """Return systems by rows and columns of the grid; None without one."""
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


def _view(system: dict, labels: list[str]) -> dict:
    """Return a system and its plots."""
    curves, weights = system["learning_curves"], system["layer_weights"]
    return {
        "system": system,
        "confusion": system_plots.draw_confusions(system, labels),
        "recall": system_plots.draw_recalls(system, labels),
        "curves": curves and system_plots.draw_curves(curves),
        "weights": weights and system_plots.draw_layer_weights(weights),
    }


def _plots(results: dict) -> dict:
    """Return the plots that compare systems; an empty value without data."""
    systems = [s for s in results["systems"] if s["finished"]]
    names = [s["system"] for s in systems]
    pairs = results["comparisons"] if len(names) <= MOST_IN_MATRIX else []
    curves = {
        s["system"]: [fold["dev_WA"] for fold in s["learning_curves"].values()]
        for s in systems
        if s["learning_curves"]
    }
    alike = [s for s in systems if s["system"] in results["smoothing_siblings"]]
    calibrated = [s for s in alike if s["calibration"]][:MOST_DIAGRAMS]
    lines = {s["system"]: s["agreement"] for s in alike if s["agreement"]}
    lines = dict(list(lines.items())[:MOST_DIAGRAMS])
    is_wa = results["published_metric"].startswith("WA")
    with_published = is_wa and any(s["published"] for s in systems)
    return {
        "overview": plots.draw_overview(systems, with_published),
        "matrix": pairs and plots.draw_pairs(names, pairs),
        "all_curves": len(curves) > 1 and plots.draw_all_curves(curves),
        "diagrams": calibrated and plots.draw_reliability(calibrated),
        "coverage": plots.draw_coverage(alike[:MOST_DIAGRAMS]),
        "agreement": lines and plots.draw_agreement(lines),
        "agreement_lines": lines,
    }


def _hyperparams(plan: Plan) -> dict | None:
    """Return the hyperparameter file of the first finished run, or None."""
    for run in plan.runs:
        path = run.folder / "hyperparams.yaml"
        if run.finished and path.exists():
            content = path.read_text(encoding="utf-8", errors="replace")
            return {"run": run.name, "text": content}
    return None
