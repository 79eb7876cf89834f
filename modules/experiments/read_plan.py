"""Reading a plan from a hyperparameter file or an experiment file."""

import dataclasses
import json
import pathlib
import re

from modules.errors import BadInput
from modules.experiments.experiment_file import (
    ROOT,
    is_experiment,
    read_experiment_file,
)
from modules.experiments.plan import FLOOR, Plan, System, as_options
from modules.training.experiment import load_experiment, read_hparams_file
from modules.training.settings import settings

# Given to every cell by the table itself.
OWN_KEYS = {
    "test_fold": "all folds are run",
    "seed": "give --seeds 1,2,3",
    "output_folder": "give it after the file, without =",
    "system": "the experiment file names the systems",
}
# What differs from cell to cell, or may move.
_NOT_OF_A_SYSTEM = re.compile(r"test_fold|seed|system|.*(_folder|_file|_log)")
# In a value of an experiment file: the folder of its table.
TABLE = "<table>"
# What the floor depends on among what a grid may vary.
_FEATURES = ("encoder_hub", "encoder_revision", "cache_format", "dev_split")


def read_plan(file, overrides=(), seeds=None, output_folder=None):
    """Read and check a hyperparameter file or an experiment file.

    Arguments
    ---------
    file : str
        Of either kind.
    overrides : list of str
        ``--key=value``, handed to every run whose file has the key.
    seeds : list of int
        Instead of the file's.
    output_folder : str
        Instead of ``results/<name of the file>``; an experiment's name has
        its folder's before it.

    Returns
    -------
    plan : Plan

    Raises
    ------
    BadInput
        If something in the file or the overrides cannot be run.
    """
    file = pathlib.Path(file)
    overrides = list(overrides)
    if is_experiment(file):
        experiment = read_experiment_file(file)
        name = f"{file.resolve().parent.name}/{file.stem}"
        hparams_file = ROOT / experiment["hparams"]
        _check_overrides(file, overrides, experiment)
        output_folder = output_folder or f"results/{name}"
        systems = _systems(experiment, _keys(overrides), output_folder)
    else:
        _check_overrides(file, overrides, {})
        hparams_file = file
        hparams, _ = load_experiment([str(file), *overrides])
        # Where train.py would put them: folds that it trained are not again.
        system = hparams["system"]
        name = f"{file.stem}/{system}"
        systems = [System(system, {}, file, system, "", ".")]
        experiment = {
            "title": f"{file.stem}, {system}",
            "seeds": [hparams["seed"]],
            "published": {},
        }
    systems = _with_overrides(systems, overrides)
    resolved, folds = _resolve(systems)
    plan = Plan(
        title=experiment["title"],
        file=file,
        hparams_file=hparams_file,
        overrides=overrides,
        systems=systems,
        folds=folds,
        seeds=list(seeds or experiment["seeds"]),
        published=experiment["published"].get("figures", {}),
        published_source=experiment["published"].get("source", ""),
        published_metric=experiment["published"].get("metric", "WA"),
        output_folder=pathlib.Path(output_folder or f"results/{name}"),
        resolved=resolved,
    )
    _check_names(plan)
    return plan


def _systems(experiment, given, table):
    """Return every system with every variation of the grid.

    The command line takes precedence over the file's common settings, which
    are for the common hyperparameter file: a system with a file of its own
    has none of them.
    """
    common = {k: v for k, v in experiment["settings"].items() if k not in given}
    grid = experiment["grid"] or [{"name": ""}]

    def make(row, column, values, floor=False):
        name = ", ".join(filter(None, [row, column]))
        folder = re.sub(r"[^\w.()-]+", "_", name)
        own_file = values.get("hparams")
        settings = {} if own_file else common
        settings = settings | {
            key: value
            for key, value in values.items()
            if key not in ("name", "hparams")
        }
        settings = {
            key: value.replace(TABLE, str(table))
            if isinstance(value, str)
            else value
            for key, value in settings.items()
        }
        hparams_file = ROOT / (own_file or experiment["hparams"])
        return System(name, settings, hparams_file, row, column, folder, floor)

    systems = [
        make(own["name"], variation["name"], own | variation)
        for own in experiment["systems"]
        for variation in grid
    ]
    if experiment["floor"]:
        # What a head has of its own does not touch the floor.
        floors = {}
        for variation in grid:
            values = {k: variation[k] for k in _FEATURES if k in variation}
            column = variation["name"] if values else ""
            floors.setdefault(
                json.dumps(values), make(FLOOR, column, values, floor=True)
            )
        systems += floors.values()
    for fusion in experiment["late_fusion"]:
        made = make(fusion["name"], "", {})
        systems.append(
            dataclasses.replace(made, settings={}, fuses=tuple(fusion["of"]))
        )
    return systems


def _keys(overrides):
    """Return the keys among ``--key=value`` and ``--key value``."""
    return [
        argument[2:].partition("=")[0]
        for argument in overrides
        if argument.startswith("--")
    ]


def _check_overrides(file, overrides, experiment):
    """Refuse what the table decides itself."""
    varied = {
        key
        for part in ("systems", "grid")
        for entry in experiment.get(part, [])
        for key in entry
    }
    for key in _keys(overrides):
        if key in OWN_KEYS:
            raise BadInput(
                f"--{key} cannot be given to a whole table: {OWN_KEYS[key]}"
            )
        if key in varied:
            raise BadInput(
                f"--{key} is what {file} varies: leave it out, or change it "
                "in a copy of that file"
            )
    for key in OWN_KEYS:
        if key in varied or key in experiment.get("settings", {}):
            raise BadInput(
                f"{file} sets {key}, which the table decides: leave it out"
            )


def _with_overrides(systems, overrides):
    """Give each system what its file can take of the command line.

    What one file of the table alone has, such as ``--cache_folder`` beside
    fine-tuning, is for that one. What none has is for all: a run option, or
    a mistake that will be told.
    """
    keys = {
        path: read_hparams_file(path)[1]
        for path in {system.hparams_file for system in systems}
    }
    of_any = {key for own in keys.values() for key in own}
    # An option and its values, which stand behind it or after its "=".
    options = []
    for argument in overrides:
        if argument.startswith("--") or not options:
            options.append([])
        options[-1].append(argument)
    made = []
    for system in systems:
        foreign = of_any.difference(keys[system.hparams_file])
        own = [
            argument
            for option in options
            if not foreign.intersection(_keys(option))
            for argument in option
        ]
        made.append(dataclasses.replace(system, overrides=tuple(own)))
    return made


def _resolve(systems):
    """Load every system once: all mistakes show before any work starts."""
    resolved, folds = {}, []
    for system in systems:
        if system.fuses:
            resolved[system.name] = {"late_fusion": " and ".join(system.fuses)}
            continue
        hparams, run_opts = load_experiment(
            [
                str(system.hparams_file),
                *system.overrides,
                *as_options(system.settings),
            ]
        )
        folds = list(range(1, hparams["number_of_folds"] + 1))
        values = {
            key: value
            for key, value in settings(hparams).items()
            if not _NOT_OF_A_SYSTEM.fullmatch(key)
        }
        resolved[system.name] = values | {"precision": run_opts["precision"]}
    return resolved, folds


def _check_names(plan):
    """Refuse names that are one on the disk, and figures of no system."""
    folders = {}
    for system in plan.systems:
        other = folders.setdefault(system.folder, system.name)
        if other is not system.name:
            raise BadInput(
                f"{plan.file}: the systems '{other}' and '{system.name}' "
                "have the same folder: rename one"
            )
    for system in plan.systems:
        for part in system.fuses:
            if part not in plan.resolved or part == system.name:
                raise BadInput(
                    f"{plan.file}: '{system.name}' fuses '{part}', which is "
                    f"no other system of the table: choose among "
                    f"{'; '.join(plan.resolved)}"
                )
    for name in plan.published:
        if name not in plan.resolved:
            raise BadInput(
                f"{plan.file}: a figure is published for '{name}', which is "
                f"no system of the table: choose one of "
                f"{'; '.join(plan.resolved)}"
            )
