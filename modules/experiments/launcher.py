"""Running the cells of a table, several side by side."""

import collections
import contextlib
import fcntl
import itertools
import multiprocessing
import os
import signal
import sys
import traceback
from multiprocessing import connection

from tqdm import tqdm

from modules.errors import BadInput, one_sentence
from modules.experiments.late_fusion import fuse_runs
from modules.experiments.plan import FAILED, LOG
from modules.experiments.results_table import read_results
from modules.files import write_text

# What takes long to import: paid for once, in the process that all cells are
# forked from. It must not touch a GPU, or its children could not use it.
_PRELOADED = [
    "torch",
    "speechbrain.integrations.huggingface.hubert",
    "matplotlib.pyplot",
    "sklearn.linear_model",
    "sklearn.metrics",
]


def run_cells(plan, jobs=1):
    """Run every cell that is not finished.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan
        What to run.
    jobs : int
        How many side by side.

    Returns
    -------
    failed : list of modules.experiments.plan.Cell
        Those without results; their folders say why in failed.txt.
    """
    cells = plan.cells
    waiting = [cell for cell in cells if not cell.finished]
    if not waiting:
        return []
    context = _prepare_forks(jobs)
    bar = tqdm(
        total=len(cells),
        initial=len(cells) - len(waiting),
        desc="runs",
        unit="run",
        dynamic_ncols=True,
    )
    failed = []
    fused = [cell for cell in waiting if cell.system.fuses]
    reading = [cell for cell in waiting if plan.reads_table(cell)]
    first = [cell for cell in waiting if cell not in [*fused, *reading]]
    with bar:
        _encode(plan, first, context)
        for cell, problem in itertools.chain(
            _run(plan, first, jobs, context),
            _run(plan, reading, jobs, context),
            _fuse(plan, fused),
        ):
            bar.update()
            if problem:
                failed.append(cell)
                _fail(cell, problem)
                bar.write(f"FAILED {cell.name}: {problem}")
            else:
                bar.write(_line(cell))
    return failed


def _prepare_forks(jobs):
    """Return what starts processes that have imported what takes long."""
    threads = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, threads)
    # SpeechBrain asks for a GPU when it is imported. CUDA itself would answer
    # only by being initialised, and no process forked after that can use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _encoder(plan, cell):
    """Return what cells with the same features have in common."""
    values = plan.resolved[cell.system.name]
    return tuple(
        str(values.get(key))
        for key in ("encoder_hub", "encoder_revision", "cache_format")
    )


def _encode(plan, cells, context):
    """Compute each encoder's features, one encoder after the other.

    Cells side by side would compute them twice. Shown on the terminal, since
    it may take hours. If it fails, the cells will say so themselves; a second
    one is tried, since the first may have a problem of its own.
    """
    by_encoder = {}
    for cell in cells:
        by_encoder.setdefault(_encoder(plan, cell), []).append(cell)
    for own in by_encoder.values():
        for cell in own[:2]:
            # With the encoder's own bar, unlike the cells.
            arguments = [
                argument
                for argument in plan.arguments(cell)
                if argument != "--noprogressbar"
            ]
            process = context.Process(
                target=_prepare, args=[arguments], daemon=True
            )
            process.start()
            with _stopping([process]):
                process.join()
            if process.exitcode == 0:
                break


def _prepare(arguments):
    """Do what comes before training, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from modules.training.experiment import (
        load_experiment,
        open_output_folder,
        prepare_run,
    )

    with one_sentence():
        hparams, run_opts = load_experiment(arguments)
        open_output_folder(hparams, run_opts)
        prepare_run(hparams, run_opts)


def _fuse(plan, cells):
    """Fuse finished cells; give each with its problem ("" if none)."""
    for cell in cells:
        try:
            fuse_runs([part.folder for part in plan.parts(cell)], cell.folder)
            yield cell, ""
        except BadInput as problem:
            yield cell, str(problem)


@contextlib.contextmanager
def _stopping(processes):
    """End processes when this one is told to end."""
    try:
        yield
    except BaseException:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        raise


def _run(plan, cells, jobs, context):
    """Run cells; give each with its problem ("" if none) when it ends."""
    waiting = collections.deque(cells)
    running = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_stopping(running.values()))
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.popleft()
                process = _Process(context, plan, cell)
                running[process.sentinel] = process
            for sentinel in connection.wait(list(running)):
                process = running.pop(sentinel)
                process.join()
                yield process.cell, process.problem()


class _Process:
    """A cell at work."""

    def __init__(self, context, plan, cell):
        self.cell = cell
        cell.folder.mkdir(parents=True, exist_ok=True)
        (cell.folder / FAILED).unlink(missing_ok=True)
        self.process = context.Process(
            target=_work,
            args=[
                cell.system.floor,
                plan.arguments(cell),
                str(cell.folder / LOG),
            ],
            daemon=True,
        )
        self.process.start()
        self.sentinel = self.process.sentinel
        self.terminate, self.join = self.process.terminate, self.process.join

    def problem(self):
        """Say in a sentence what went wrong, if anything did."""
        code = self.process.exitcode
        log = self.cell.folder / LOG
        if code == 0 and self.cell.finished:
            return ""
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return f"ended by {name}, the log is {log}"
        lines = log.read_text(encoding="utf-8").split("\n")
        said = [line.strip() for line in lines if line.strip()] or ["no word"]
        return f"{said[-1]} (log: {log})"


def _work(floor, arguments, log):
    """Run one cell in a process of its own; all it says goes to its log."""
    # The table ends its cells when it is interrupted itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(log, "a", encoding="utf-8") as out:
        # A cell left over from a killed table finishes first.
        fcntl.flock(out, fcntl.LOCK_EX)
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        from floor import floor_fold

        from modules.training.experiment import load_experiment
        from modules.training.fold import train_fold

        run = floor_fold if floor else train_fold
        try:
            with one_sentence():
                run(*load_experiment(arguments))
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def _fail(cell, problem):
    """Leave a word in the folder of a cell that has failed."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    write_text(cell.folder / FAILED, f"{problem}\n")


def _line(cell):
    """Return a finished fold's line."""
    results = read_results(cell)
    return (
        f"{cell.name}: WA {results['WA']:.1%}  UA {results['UA']:.1%}  "
        f"macro-F1 {results['macro_f1']:.1%}"
    )
