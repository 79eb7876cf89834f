"""Running an experiment, several runs side by side."""

import collections
import contextlib
import itertools
import multiprocessing
import os
import signal
from multiprocessing import connection

from tqdm import tqdm

from modules.errors import BadInput
from modules.experiments.child import encode_one, run_one
from modules.experiments.late_fusion import fuse_runs
from modules.experiments.plan import FAILED, LOG, QUIET, Plan, PlannedRun
from modules.files import read_json, write_text

# Modules that take long to import. They are imported once, in the process
# that all runs are forked from. It must not touch a GPU, or its children
# could not use it.
_PRELOADED = [
    "torch",
    "speechbrain.integrations.huggingface.hubert",
    "matplotlib.pyplot",
    "sklearn.linear_model",
    "sklearn.metrics",
]


def launch(plan: Plan, jobs: int = 1, threads: int = 1) -> list[PlannedRun]:
    """Run every run that is not finished; return those that failed.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan
        failed.txt in the folder of a run gets the reason of a failure.
    jobs : int
        Number of runs side by side.
    threads : int
        Threads of each run; see `modules.experiments.record.record_plan`.
    """
    waiting = [run for run in plan.runs if not run.finished]
    if not waiting:
        return []
    context = _prepare_forks(threads)
    fused = [run for run in waiting if run.system.fuses]
    reading = [run for run in waiting if plan.reads_experiment(run)]
    first = [run for run in waiting if run not in [*fused, *reading]]
    with _term_as_int():
        _encode(plan, first, context)
        ended = itertools.chain(
            _run(plan, first, jobs, context),
            _run(plan, reading, jobs, context),
            _fuse(plan, fused),
        )
        return _show(ended, len(plan.runs), len(waiting))


def _show(ended, total, waiting):
    """Show (run, problem) as runs end; return those that failed.

    The bar begins after the encoding, so that it counts runs alone.
    """
    failed = []
    options = {"desc": "runs", "unit": "run", "dynamic_ncols": True}
    with tqdm(total=total, initial=total - waiting, **options) as bar:
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


def _prepare_forks(threads):
    """Return a context whose processes have imported what takes long."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    # SpeechBrain asks for a GPU when it is imported. CUDA itself would answer
    # only by being initialised, and no process forked after that can use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    # An interrupted run leaves a semaphore, which Python then warns of.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _encode(plan, runs, context):
    """Compute each encoder's features, one encoder after the other.

    Runs side by side would compute them twice. If it fails, the runs show the
    reason; a second run is tried, since the first may have a problem of its
    own.
    """
    by_encoder = {}
    for run in runs:
        values = plan.resolved[run.system.name]
        keys = (
            "encoder_hub",
            "acoustics",
            "encoder_revision",
            "whisper_window",
            "cache_format",
        )
        encoder = tuple(str(values.get(key)) for key in keys)
        by_encoder.setdefault(encoder, []).append(run)
    for number, (encoder, own) in enumerate(by_encoder.items(), start=1):
        print(f"encoder {number} of {len(by_encoder)}: {encoder[0]}")
        for run in own[:2]:
            # With the encoder's own bar, unlike the runs.
            arguments = plan.arguments(run)
            if QUIET not in run.system.overrides:
                arguments.remove(QUIET)
            process = context.Process(
                target=encode_one, args=[arguments], daemon=True
            )
            process.start()
            with _stopping(lambda: [process]):
                process.join()
            if process.exitcode == 0:
                break


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


@contextlib.contextmanager
def _term_as_int():
    """Treat SIGTERM as Ctrl-C, so that no run goes on without its launcher."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _stopping(processes):
    """End processes if this one is interrupted or fails."""
    try:
        yield
    except BaseException:
        for process in processes():
            process.terminate()
        for process in processes():
            process.join()
        raise


def _run(plan, runs, jobs, context):
    """Run runs; give each with its problem ("" if none) when it ends."""
    waiting = collections.deque(runs)
    running = {}  # sentinel -> (run, process)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_stopping(lambda: [p for _, p in running.values()]))
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.popleft()
                process = _start(plan, run, context)
                running[process.sentinel] = run, process
            for sentinel in connection.wait(list(running)):
                run, process = running.pop(sentinel)
                process.join()
                yield run, _problem(run, process.exitcode)


def _start(plan, run, context):
    """Start the process of a run."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / FAILED).unlink(missing_ok=True)
    arguments = [plan.arguments(run), str(run.folder / LOG)]
    process = context.Process(target=run_one, args=arguments, daemon=True)
    process.start()
    return process


def _problem(run, code):
    """Return what went wrong in a sentence, or ""."""
    log = run.folder / LOG
    if code == 0 and run.finished:
        return ""
    if code < 0:
        names = {one.value: one.name for one in signal.Signals}
        return f"ended by {names.get(-code, f'signal {-code}')}, log: {log}"
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as problem:
        return (
            f"ended with exit status {code} before it could write to {log} "
            f"({problem.strerror})"
        )
    written = [line.strip() for line in lines if line.strip()]
    return f"{written[-1] if written else 'no message'} (log: {log})"
