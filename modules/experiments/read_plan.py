"""Reading a plan from a hyperparameter file or an experiment file.

One rule decides which systems a shared setting reaches, be it from
``settings`` or the grid of an experiment file or from the command line: all
systems whose hyperparameter file has that key. A key that no file has reaches
all systems, which refuse it with the keys that they have. A system's own
settings take precedence over the grid, the grid and the command line over
``settings``.
"""

import dataclasses
import pathlib
import re
from collections.abc import Sequence

from modules.errors import BadInput
from modules.experiments.experiment_file import (
    ROOT,
    Entry,
    ExperimentFile,
    is_experiment,
    read_experiment_file,
)
from modules.experiments.plan import Plan, System, as_options
from modules.training.command_line import top_level_keys
from modules.training.configuration import load_configuration, plain_values

# The experiment itself sets these keys of every run.
OWN_KEYS = {
    "test_fold": "all folds are run",
    "seed": "give --seeds 1,2,3",
    "output_folder": "give it after the file, without =",
    "system": "the experiment file names the systems",
}
# Keys that differ from run to run, or name places that may move.
_NOT_OF_A_SYSTEM = re.compile(
    r"__.*|test_fold|seed|system|cache_device|.*(_folder|_file)"
)
# In a value of an experiment file: the folder of its experiment.
EXPERIMENT = "<experiment>"


def read_plan(
    file: str | pathlib.Path,
    overrides: Sequence[str] = (),
    seeds: list[int] | None = None,
    output_folder: str | None = None,
) -> Plan:
    """Read and check a hyperparameter file or an experiment file.

    Arguments
    ---------
    file : str or pathlib.Path
        Of either kind.
    overrides : list of str
        ``--key=value``, for every run whose file has the key.
    seeds : list of int
        Instead of the file's.
    output_folder : str
        Instead of ``results/<name of the file>``; the name of an experiment
        begins with the folder of its file.

    Raises
    ------
    BadInput
        If something in the file or the overrides cannot be run.
    """
    file, overrides = pathlib.Path(file), list(overrides)
    experiment = read_experiment_file(file) if is_experiment(file) else None
    _check_keys(file, overrides, experiment)
    if experiment is None:
        experiment, systems, folder = _of_one_system(file, overrides)
    else:
        folder = f"results/{file.resolve().parent.name}/{file.stem}"
        folder = output_folder or folder
        systems = systems_of(experiment, _keys(overrides), folder)
    systems = _with_overrides(systems, overrides)
    resolved, folds = _resolve(systems)
    plan = Plan(
        title=experiment.title,
        file=file,
        systems=systems,
        folds=folds,
        seeds=list(seeds or experiment.seeds),
        output_folder=pathlib.Path(output_folder or folder),
        resolved=resolved,
        overrides=overrides,
        published=experiment.published,
    )
    _check_names(plan)
    return plan


def _of_one_system(file: pathlib.Path, overrides: list[str]) -> tuple:
    """Return experiment, systems and folder of a hyperparameter file."""
    hparams, _ = load_configuration([str(file), *overrides])
    name = hparams["system"]
    experiment = ExperimentFile.model_construct(
        title=f"{file.stem}, {name}", seeds=[hparams["seed"]]
    )
    # Where train.py writes, so that folds it has trained are not repeated.
    folder = pathlib.Path(hparams["output_folder"]).parents[1]
    return experiment, [System(name, {}, file, folder=".")], folder


class _Reach:
    """Whether a key reaches a hyperparameter file: the rule of this module."""

    def __init__(self, files: set[pathlib.Path]):
        self.keys = {file: set(top_level_keys(file)) for file in files}
        self.of_any = set.union(*self.keys.values())

    def __call__(self, key: str, file: pathlib.Path) -> bool:
        return key in self.keys[file] or key not in self.of_any


def systems_of(
    experiment: ExperimentFile, given: list[str], folder: str
) -> list[System]:
    """Return every system with every variation of the grid.

    Arguments
    ---------
    experiment : ExperimentFile
    given : list of str
        Keys of the command line, which takes precedence over the common
        settings.
    folder : str
        Folder of the experiment, in place of ``<experiment>``.

    Returns
    -------
    systems : list of System
        Not loaded yet.
    """
    common = {k: v for k, v in experiment.settings.items() if k not in given}
    grid = experiment.grid or [Entry(name="")]
    pairs = [(own, varied) for own in experiment.systems for varied in grid]
    files = [
        ROOT / (varied.hparams or own.hparams or experiment.hparams)
        for own, varied in pairs
    ]
    reach = _Reach(set(files))
    systems = []
    for (own, varied), file in zip(pairs, files):
        shared = {k: v for k, v in common.items() if reach(k, file)}
        values = {
            key: value
            for key, value in varied.values.items()
            if reach(key, file) and key not in own.values
        }
        settings = {
            key: value.replace(EXPERIMENT, str(folder))
            if isinstance(value, str)
            else value
            for key, value in (shared | values | own.values).items()
        }
        column = varied.name if values or varied.hparams else ""
        made = System(own.name, settings, file, column)
        # Variations in keys that do not reach its file are one system.
        if not any(
            (own.name, settings, file) == (s.row, s.settings, s.hparams_file)
            for s in systems
        ):
            systems.append(made)
    return systems + [
        System(f.name, {}, ROOT / experiment.hparams, fuses=tuple(f.of))
        for f in experiment.late_fusion
    ]


def _keys(overrides: list[str]) -> list[str]:
    """Return the keys among ``--key=value`` and ``--key value``."""
    return [
        argument[2:].partition("=")[0]
        for argument in overrides
        if argument.startswith("--")
    ]


def _check_keys(
    file: pathlib.Path, overrides: list[str], experiment: ExperimentFile | None
) -> None:
    """Refuse keys that the experiment itself sets."""
    entries = [*experiment.systems, *experiment.grid] if experiment else []
    varied = {key for entry in entries for key in entry.values}
    for key in _keys(overrides):
        if key in OWN_KEYS:
            raise BadInput(
                f"--{key} cannot be given to a whole experiment: "
                f"{OWN_KEYS[key]}"
            )
        if key in varied:
            raise BadInput(
                f"--{key} is what {file} varies: leave it out, or change it "
                "in a copy of that file"
            )
    for key in OWN_KEYS:
        if experiment and key in varied | set(experiment.settings):
            raise BadInput(
                f"{file} sets {key}, which the experiment sets itself: leave "
                "it out"
            )


def _with_overrides(
    systems: list[System], overrides: list[str]
) -> list[System]:
    """Give each system the command-line options that reach its file."""
    reach = _Reach({system.hparams_file for system in systems})
    # An option and its values, which stand behind it or after its "=".
    options = []
    for argument in overrides:
        if argument.startswith("--") or not options:
            options.append([])
        options[-1].append(argument)
    made = []
    for system in systems:
        own = [
            argument
            for option in options
            if all(reach(key, system.hparams_file) for key in _keys(option))
            for argument in option
        ]
        made.append(dataclasses.replace(system, overrides=tuple(own)))
    return made


def _resolve(systems: list[System]) -> tuple[dict, list[int]]:
    """Load every system once: all mistakes show before any work starts."""
    resolved, folds = {}, []
    for system in systems:
        if system.fuses:
            resolved[system.name] = {"late_fusion": " and ".join(system.fuses)}
            continue
        options = as_options(system.settings)
        hparams, run_opts = load_configuration(
            [str(system.hparams_file), *system.overrides, *options]
        )
        folds = list(range(1, hparams["number_of_folds"] + 1))
        resolved[system.name] = {
            key: value
            for key, value in plain_values(hparams).items()
            if not _NOT_OF_A_SYSTEM.fullmatch(key)
        } | {"precision": run_opts["precision"]}
    return resolved, folds


def _check_names(plan: Plan) -> None:
    """Refuse names with the same folder, and names of no system."""
    folders = {}
    for system in plan.systems:
        other = folders.setdefault(system.folder, system)
        if other is not system:
            raise BadInput(
                f"{plan.file}: the systems '{other.name}' and '{system.name}' "
                "have the same folder: rename one"
            )
    names = [
        (part, f"'{system.name}' fuses '{part}'", system.name)
        for system in plan.systems
        for part in system.fuses
    ]
    if plan.published:
        names += [
            (name, f"a figure is published for '{name}'", None)
            for name in plan.published.figures
        ]
    for name, clause, own in names:
        if name not in plan.resolved or name == own:
            others = [name for name in plan.resolved if name != own]
            raise BadInput(
                f"{plan.file}: {clause}, which is no system of the "
                f"experiment: choose among {'; '.join(others)}"
            )
