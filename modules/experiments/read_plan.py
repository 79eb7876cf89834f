"""Reading a plan from a hyperparameter file or an experiment file.

One rule decides whom a setting reaches that is not of one system alone, be
it from ``settings`` or the grid of an experiment file or from the command
line: every system whose hyperparameter file has that key. A key that no file
has reaches all systems, and is then refused with the known keys.
"""

import dataclasses
import pathlib
import re

from modules.errors import BadInput
from modules.experiments.experiment_file import (
    ROOT,
    Entry,
    ExperimentFile,
    is_experiment,
    read_experiment_file,
)
from modules.experiments.plan import Plan, System, as_options
from modules.experiments.training import hparams_keys, load_settings

# The experiment itself sets these keys of every run.
OWN_KEYS = {
    "test_fold": "all folds are run",
    "seed": "give --seeds 1,2,3",
    "output_folder": "give it after the file, without =",
    "system": "the experiment file names the systems",
}
# Keys that differ from run to run, or name places that may move.
_NOT_OF_A_SYSTEM = re.compile(r"test_fold|seed|system|.*(_folder|_file|_log)")
# In a value of an experiment file: the folder of its experiment.
TABLE = "<table>"


def read_plan(
    file: str | pathlib.Path,
    overrides: list[str] = (),
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
        folder = output_folder or f"results/{name}"
        _check_keys(file, overrides, experiment)
        systems = _systems(experiment, _keys(overrides), folder)
    else:
        _check_keys(file, overrides, None)
        values, _ = load_settings([str(file), *overrides])
        system = values["system"]
        # Where train.py writes, so that folds it has trained are not repeated.
        folder = output_folder or f"results/{file.stem}/{system}"
        systems = [System(system, {}, file, system, "", ".")]
        experiment = ExperimentFile.model_construct(
            title=f"{file.stem}, {system}", seeds=[values["seed"]]
        )
    systems = _with_overrides(systems, overrides)
    resolved, folds = _resolve(systems)
    published = experiment.published
    plan = Plan(
        title=experiment.title,
        file=file,
        hparams_file=systems[0].hparams_file
        if not is_experiment(file)
        else ROOT / experiment.hparams,
        overrides=overrides,
        systems=systems,
        folds=folds,
        seeds=list(seeds or experiment.seeds),
        published=published.figures if published else {},
        published_source=published.source if published else "",
        published_metric=published.metric if published else "WA",
        output_folder=pathlib.Path(folder),
        resolved=resolved,
    )
    _check_names(plan)
    return plan


class _Reach:
    """Which keys reach which hyperparameter file; the rule of this module."""

    def __init__(self, files: set[pathlib.Path]):
        self.keys = {file: set(hparams_keys(file)) for file in files}
        self.of_any = set.union(*self.keys.values())

    def __call__(self, key: str, file: pathlib.Path) -> bool:
        return key in self.keys[file] or key not in self.of_any


def _systems(
    experiment: ExperimentFile, given: list[str], folder: str
) -> list[System]:
    """Return every system with every variation of the grid.

    The command line takes precedence over the common settings.
    """
    common = {k: v for k, v in experiment.settings.items() if k not in given}

    def file_of(*entries: Entry) -> pathlib.Path:
        own = [entry.hparams for entry in entries if entry.hparams]
        return ROOT / (own[-1] if own else experiment.hparams)

    grid = experiment.grid or [Entry(name="")]
    pairs = [(own, varied) for own in experiment.systems for varied in grid]
    reach = _Reach({file_of(*pair) for pair in pairs})
    systems = []
    for own, varied in pairs:
        file = file_of(own, varied)
        shared = {k: v for k, v in common.items() if reach(k, file)}
        values = {k: v for k, v in varied.model_extra.items() if reach(k, file)}
        settings = shared | own.model_extra | values
        column = varied.name
        if values != varied.model_extra:
            # Variations in keys that the file lacks are one system.
            column = column if values else ""
            if (own.name, settings) in [(s.row, s.settings) for s in systems]:
                continue
        systems.append(_system(own.name, column, settings, file))
    for fusion in experiment.late_fusion:
        made = _system(fusion.name, "", {}, ROOT / experiment.hparams)
        systems.append(dataclasses.replace(made, fuses=tuple(fusion.of)))
    return [_in_folder(system, folder) for system in systems]


def _system(
    row: str, column: str, settings: dict, file: pathlib.Path
) -> System:
    """Return a system, whose name becomes its folder."""
    name = ", ".join(filter(None, [row, column]))
    folder = re.sub(r"[^\w.()-]+", "_", name)
    return System(name, settings, file, row, column, folder)


def _in_folder(system: System, folder: str) -> System:
    """Return a system that reads from the folder of its experiment."""
    settings = {
        key: value.replace(TABLE, str(folder))
        if isinstance(value, str)
        else value
        for key, value in system.settings.items()
    }
    return dataclasses.replace(system, settings=settings)


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
    varied = {key for entry in entries for key in entry.model_extra}
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
        values, precision = load_settings(
            [
                str(system.hparams_file),
                *system.overrides,
                *as_options(system.settings),
            ]
        )
        folds = list(range(1, values["number_of_folds"] + 1))
        own = {
            key: value
            for key, value in values.items()
            if not _NOT_OF_A_SYSTEM.fullmatch(key)
        }
        resolved[system.name] = own | {"precision": precision}
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
    for system in plan.systems:
        for part in system.fuses:
            if part not in plan.resolved or part == system.name:
                raise BadInput(
                    f"{plan.file}: '{system.name}' fuses '{part}', which is "
                    f"no other system of the experiment: choose among "
                    f"{'; '.join(plan.resolved)}"
                )
    for name in plan.published:
        if name not in plan.resolved:
            raise BadInput(
                f"{plan.file}: a figure is published for '{name}', which is "
                f"no system of the experiment: choose one of "
                f"{'; '.join(plan.resolved)}"
            )
