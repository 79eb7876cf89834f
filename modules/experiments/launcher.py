"""Running an experiment: the order of its steps, wherever they run."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from tqdm import tqdm

from modules.errors import BadInput
from modules.experiments.late_fusion import fuse_runs
from modules.experiments.plan import FAILED, QUIET, Plan, PlannedRun
from modules.experiments.processes import (
    Encoding,
    Task,
    encode,
    prepare_forks,
    problem_of,
    run_side_by_side,
    term_as_int,
)
from modules.files import read_json, write_text

# What settles which hidden states are stored.
_OF_ENCODER = (
    "encoder_hub",
    "acoustics",
    "encoder_revision",
    "whisper_window",
    "cache_format",
)


class Launcher(Protocol):
    """Where tasks run: on this machine, or on the nodes of a cluster."""

    def encode(self, encodings: list[Encoding]) -> None:
        """Compute what the runs that follow share, at the latest before them.

        The runs show a failure.
        """

    def run(
        self, tasks: list[Task], show: Callable[[str], None]
    ) -> Iterable[tuple[Task, str]]:
        """Run tasks; give each with its problem ("" if none) when it ends.

        `show` takes what the terminal shows meanwhile.
        """


class LocalLauncher:
    """Processes of this machine.

    Arguments
    ---------
    jobs : int
        Number of runs side by side.
    threads : int
        Threads of each run; see `modules.experiments.record.record_plan`.
    encode_jobs : int
        Parts that the recordings are encoded in, side by side.
    """

    def __init__(self, jobs: int = 1, threads: int = 1, encode_jobs: int = 1):
        self.jobs = jobs
        self.encode_jobs = encode_jobs
        self.context = prepare_forks(threads)

    def encode(self, encodings: list[Encoding]) -> None:
        """See `Launcher`; one encoder after the other."""
        parts = [(index, self.encode_jobs) for index in range(self.encode_jobs)]
        for number, one in enumerate(encodings, start=1):
            print(f"encoder {number} of {len(encodings)}: {one.encoder}")
            encode(one.attempts, parts, self.context)

    def run(
        self, tasks: list[Task], show: Callable[[str], None]
    ) -> Iterator[tuple[Task, str]]:
        """See `Launcher`."""
        for task, code in run_side_by_side(tasks, self.jobs, self.context):
            yield task, problem_of(task, code)


def launch(plan: Plan, launcher: Launcher) -> list[PlannedRun]:
    """Run every run that is not finished; return those that failed.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan
        failed.txt in the folder of a run gets the reason of a failure.
    launcher : Launcher
    """
    waiting = [run for run in plan.runs if not run.finished]
    if not waiting:
        return []
    fused = [run for run in waiting if run.system.fuses]
    reading = [run for run in waiting if plan.reads_experiment(run)]
    first = [run for run in waiting if run not in [*fused, *reading]]
    options = {"desc": "runs", "unit": "run", "dynamic_ncols": True}
    with term_as_int():
        if first:
            launcher.encode(_encodings(plan, first))
        done = len(plan.runs) - len(waiting)
        # The bar begins after the encoding, so that it counts runs alone.
        with tqdm(total=len(plan.runs), initial=done, **options) as bar:
            ended = itertools.chain(
                _run(plan, first, launcher, bar),
                _run(plan, reading, launcher, bar),
                _fuse(plan, fused),
            )
            return _show(ended, bar)


def _run(plan, runs, launcher, bar):
    """Run runs; give each with its problem ("" if none) when it ends."""
    by_folder = {run.folder: run for run in runs}
    tasks = [Task(plan.arguments(run), run.folder) for run in runs]
    if tasks:
        for task, problem in launcher.run(tasks, bar.set_postfix_str):
            yield by_folder[task.folder], problem


def _show(ended, bar):
    """Show (run, problem) as runs end; return those that failed."""
    failed = []
    for run, problem in ended:
        bar.update()
        if not problem:
            bar.write(_line(run))
            continue
        failed.append(run)
        run.folder.mkdir(parents=True, exist_ok=True)
        write_text(run.folder / FAILED, f"{problem}\n")
        bar.write(f"FAILED {run.name}: {problem}")
    return failed


def _line(run):
    """Return the line of a finished run."""
    results = read_json(run.folder / "results.json")
    return (
        f"{run.name}: WA {results['WA']:.1%}  UA {results['UA']:.1%}  "
        f"macro-F1 {results['macro_f1']:.1%}"
    )


def _encodings(plan, runs):
    """Return what runs share: side by side they would compute it twice."""
    found = {}
    for run in runs:
        values = plan.resolved[run.system.name]
        encoder = tuple(str(values.get(key)) for key in _OF_ENCODER)
        # With the encoder's own bar, unlike the runs.
        arguments = plan.arguments(run)
        if QUIET not in run.system.overrides:
            arguments.remove(QUIET)
        found.setdefault(encoder, []).append(Task(arguments, run.folder))
    return [
        Encoding(encoder[0], tasks[:2], [task.folder for task in tasks])
        for encoder, tasks in found.items()
    ]


def _fuse(plan, runs):
    """Fuse finished runs; give each with its problem ("" if none)."""
    for run in runs:
        try:
            fuse_runs(plan.fused_folders(run), run.folder)
        except BadInput as problem:
            yield run, str(problem)
        else:
            (run.folder / FAILED).unlink(missing_ok=True)
            yield run, ""
