"""What the launcher's child processes do."""

import ctypes
import fcntl
import multiprocessing
import os
import signal
import sys
import traceback

from modules.errors import one_sentence

_PR_SET_PDEATHSIG = 1  # of Linux, see prctl(2)


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
        from modules.experiments.training import train

        try:
            with one_sentence():
                train(arguments)
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def encode_one(arguments: list[str]) -> None:
    """Compute the features of the recordings that a run needs."""
    _end_with_parent()
    from modules.experiments.training import encode

    with one_sentence():
        encode(arguments)


def _end_with_parent() -> None:
    """Leave Ctrl-C to the launcher, and end when the launcher is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "linux":
        return
    # The parent is the fork server, which ends with the launcher.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if not multiprocessing.parent_process().is_alive():
        sys.exit(1)
