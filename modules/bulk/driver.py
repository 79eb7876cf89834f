"""Bulk scoring: the command that plans, starts workers and shows progress."""

import dataclasses
import multiprocessing
import os
import pathlib
import re
import shutil
import sys
import time

from tqdm import tqdm

from modules.bulk import worker
from modules.bulk.lists import read_rows
from modules.bulk.local import Local
from modules.bulk.parts import check_part
from modules.bulk.plan import PLAN, Plan, open_plan
from modules.bulk.worker import TRIES, WORK, Claims
from modules.errors import BadInput, printable
from modules.experiments.cluster import ClusterLauncher
from modules.experiments.engines import JOBS, make_engine
from modules.experiments.processes import term_as_int

# Hours of audio in a part.
_PART_HOURS = 0.5
# Between two looks at the folder; longer if a look takes long.
_LOOK_SECONDS = 1.0
_PART = re.compile(r"part-\d{5,}\.parquet")
# Warnings about recordings that are shown.
_SHOWN = 20


class _Worker:
    """A worker, as a task that is queued again when its job is lost.

    See `modules.experiments.processes.Task`.
    """

    finished = False

    def __init__(self, arguments, tally):
        self.arguments, self.folder = arguments, tally
        self.seen = _size(tally)

    def has_progressed(self):
        """Return whether it has finished a part since the last time."""
        before, self.seen = self.seen, _size(self.folder)
        return self.seen > before


def _size(path):
    return path.stat().st_size if path.exists() else 0


class Workers(ClusterLauncher):
    """Jobs that share the parts of a plan.

    Arguments
    ---------
    engine : modules.experiments.engines.Engine
    folder : pathlib.Path
        Of the answers.
    workers : int
        At a time.
    threads : int
        Of each.
    """

    def __init__(
        self, engine, folder: pathlib.Path, workers: int, threads: int
    ):
        super().__init__(engine, folder / WORK, workers, threads, 1)
        self.job = worker.JOB
        self._bar: tqdm
        self._plan: Plan
        self._claims: Claims
        self._next_look, self._began = 0.0, (0, 0.0)

    def work(
        self, plan: Plan, claims: Claims, arguments: list[str]
    ) -> list[str]:
        """Have parts done until none is left; return the workers' problems."""
        self._claims = claims
        finished = _count_finished(plan)
        count = min(self.jobs, len(plan) - finished)
        folder = plan.folder / WORK
        names = [folder / f"worker-{number:03}" for number in range(count)]
        tasks: list = [_Worker(arguments, name) for name in names]
        self._plan, self._began = plan, (finished, time.monotonic())
        shape = (
            "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
        )
        with tqdm(
            desc="parts", total=len(plan), initial=finished, bar_format=shape
        ) as self._bar:
            ended = self.carry_out(tasks, self._show)
            problems = [problem for _, problem in ended if problem]
            self._next_look = 0.0
            self._show(self.count([], []))
        return problems

    def _show(self, text):
        self._bar.set_postfix_str(text)

    def count(self, waiting, jobs):
        """Return the parts by state, and hours of audio per hour."""
        running = sum(map(self.has_node, jobs))
        if time.monotonic() < self._next_look:
            return self._bar.postfix or ""
        begun = time.monotonic()
        finished = _count_finished(self._plan)
        failed = len(self._claims.given_up())
        now = time.monotonic()
        self._next_look = now + max(_LOOK_SECONDS, 20 * (now - begun))
        self._bar.update(finished - self._bar.n)
        left = len(self._plan) - finished - failed
        running = min(running, left)
        mean = self._plan.record["hours"] / len(self._plan)
        done = (finished - self._began[0]) * mean
        rate = done / (now - self._began[1]) * 3600
        return (
            f"{left - running} queued, {running} running, {finished} finished, "
            f"{failed} failed, {rate:.3g} h of audio per h"
        )


def _count_finished(plan):
    """Return how many parts are there."""
    with os.scandir(plan.folder) as entries:
        return sum(_PART.fullmatch(entry.name) is not None for entry in entries)


@dataclasses.dataclass
class _Summary:
    """What the finished parts contain."""

    parts: int = 0
    recordings: int = 0
    rows: int = 0
    failures: int = 0
    seconds: float = 0.0
    distances: int = 0
    unlike: int = 0
    warnings: list = dataclasses.field(default_factory=list)
    more_warnings: int = 0

    def add(self, facts):
        """Add a part."""
        self.parts += 1
        for name in ("recordings", "rows", "failures", "seconds"):
            setattr(self, name, getattr(self, name) + facts[name])
        self.distances += facts["distances"]
        self.unlike += facts["unlike"]
        room = _SHOWN - len(self.warnings)
        self.warnings += facts["warnings"][:room]
        self.more_warnings += len(facts["warnings"][room:])


def _sweep(plan):
    """Verify all parts; remove those that are damaged."""
    summary = _Summary()
    for number in range(len(plan)):
        facts = check_part(plan, number)
        if facts is not None:
            summary.add(facts)
    return summary


def _identify(arguments, threads):
    """Return the model's identity; another process loads the model."""
    from modules.bulk.scorer import send_identity

    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # Not a pool, whose processes outlive a driver that is killed.
    process = context.Process(
        target=send_identity, args=[sender, arguments, threads], daemon=True
    )
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError as problem:
        raise BadInput(
            "the model could not be loaded (killed or out of memory): give "
            "the driver more memory"
        ) from problem
    finally:
        process.join()
    if isinstance(found, BadInput):
        raise found
    return found


def score(options, arguments: list[str], identify=_identify) -> int:
    """Score a list by workers; return the exit status of predict.py.

    Arguments
    ---------
    options : argparse.Namespace
        From `modules.inference.options.parse`.
    arguments : list of str
        From which they come.
    identify : callable
        Returns the `modules.bulk.scorer.Identity` of a command line.

    Raises
    ------
    BadInput
        If nothing can be done.
    """
    folder = pathlib.Path(os.path.abspath(options.output))
    (source,) = options.paths
    next(read_rows(source), None)
    _check_folder(folder)
    threads = options.jobs or 1
    work = folder / WORK
    engine = (
        Local(work / JOBS / "local")
        if options.launcher == "local"
        else make_engine(
            options.launcher, work, threads, options.launcher_options or ""
        )
    )
    with term_as_int():
        workers = Workers(engine, folder, options.workers or 1, threads)
        try:
            identity = identify(arguments, threads)
            hours = options.part_hours or _PART_HOURS
            plan = open_plan(
                folder, source, identity.model, identity.settings, hours
            )
            summary, given_up = _do_all(workers, plan, arguments)
        finally:
            workers.close()
    if not given_up:
        shutil.rmtree(work, ignore_errors=True)
        # Of a worker that was killed while it wrote.
        for path in folder.glob(".part-*.parquet.*"):
            path.unlink(missing_ok=True)
    _show(folder, summary, identity.warnings)
    return 1 if given_up or summary.failures else 0


def _check_folder(folder):
    """Refuse a folder that something else is in."""
    there = os.listdir(folder) if folder.is_dir() else []
    others = [name for name in there if not name.startswith(".")]
    if others and PLAN not in others:
        raise BadInput(
            f"{folder} contains something else ({others[0]}): choose a folder "
            "that does not exist yet"
        )


def _do_all(workers, plan, arguments):
    """Have all parts done; return a summary and those that are given up."""
    claims = Claims(plan)
    for path in (claims.folder / TRIES).iterdir():
        path.unlink(missing_ok=True)
    summary, given_up = _sweep(plan), []
    while summary.parts + len(given_up) < len(plan):
        before = summary.parts
        _wait_for_others(plan, claims)
        problems = workers.work(plan, claims, arguments)
        summary, given_up = _sweep(plan), claims.given_up()
        # Without a problem, all that is left is at work elsewhere.
        if summary.parts == before and problems:
            raise BadInput(
                f"{problems[0]} (logs: {workers.folder}): the same command, "
                "started again, goes on"
            )
        for problem in set(problems):
            print(f"warning: {printable(problem)}", file=sys.stderr)
    for number in given_up:
        files = plan.files(number)
        print(
            f"part {number} is given up, since its worker ended without a "
            f"result each time (killed or out of memory): it has {len(files)} "
            f"recordings from {printable(files[0])}; the same command tries "
            "again",
            file=sys.stderr,
        )
    return summary, given_up


def _wait_for_others(plan, claims):
    """Wait while all that is left is at work, by workers of a lost driver."""
    is_waiting = True
    while is_waiting:
        is_waiting = False
        for number in range(len(plan)):
            if plan.path(number).exists() or claims.is_given_up(number):
                continue
            is_waiting = True
            if claims.take(number):
                claims.give_back(number)
                return
        time.sleep(_LOOK_SECONDS)


def _show(folder, summary, warned):
    """Print what was done."""
    print(
        f"{folder}: {summary.recordings} recordings, {summary.rows} rows, "
        f"{summary.failures} without an answer, {summary.seconds / 3600:.4g} h "
        f"of audio, in {summary.parts} parts"
    )
    warned = [*warned, *summary.warnings]
    if summary.more_warnings:
        warned.append(f"{summary.more_warnings} more, in the parts' metadata")
    if 2 * summary.unlike > summary.distances:
        warned.append(
            f"{summary.unlike} of {summary.distances} rows are unlike the "
            "recordings that the model was trained on (distance above 1)"
        )
    for text in warned:
        print(f"warning: {printable(text)}", file=sys.stderr)
