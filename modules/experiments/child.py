"""What the launcher's child processes do."""

import fcntl
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import traceback

from modules.errors import one_sentence
from modules.experiments.experiment_file import ROOT


def run_one(arguments: list[str], log: str) -> None:
    """Train and test one fold; all output goes to its log.

    Arguments
    ---------
    arguments : list of str
        The command line, as train.py takes it.
    log : str
        Path of the log.
    """
    _end_with_parent()
    with open(log, "a", encoding="utf-8") as out:
        # A run that an ended launcher has left finishes first.
        fcntl.flock(out, fcntl.LOCK_EX)
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        try:
            sys.argv = [str(ROOT / "train.py"), *arguments]
            runpy.run_path(sys.argv[0], run_name="__main__")
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def encode_one(arguments: list[str], part: tuple[int, int]) -> None:
    """Compute one part of the features of the recordings that a run needs.

    Arguments
    ---------
    arguments : list of str
        The command line, as train.py takes it.
    part : tuple of int
        Index from 0 and number of parts.
    """
    _end_with_parent()
    # Imported here, since the process of the launcher has no need of them.
    from modules.training import fold
    from modules.training.configuration import load_configuration

    with one_sentence():
        fold.encode(*load_configuration(arguments), part)


def _end_with_parent() -> None:
    """Leave Ctrl-C to the launcher, and end when the launcher is killed.

    The launcher's death is seen by a thread, since the parent that the system
    would watch is the fork server, which lives as long as its children.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait():
        multiprocessing.parent_process().join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
