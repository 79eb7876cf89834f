"""Who may write to a store at the same time: one process, or parts."""

import contextlib
import fcntl
import shutil

import filelock
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

from modules.errors import BadInput
from modules.features.store import UNFINISHED

logger = get_logger(__name__)


@contextlib.contextmanager
def writing(folder, part=None):
    """Keep others from encoding the same recordings at the same time.

    Arguments
    ---------
    folder : pathlib.Path
        Of the store.
    part : tuple of int
        Index and number of parts: other parts may write too. None: no other
        process may.

    Raises
    ------
    BadInput
        If the folder cannot be written to.
    """
    if not if_main_process():
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if part is None:
                _enter(stack, folder / ".lock")
                _remove_unfinished(folder)
            else:
                _enter(stack, folder / ".lock-{}-of-{}".format(*part))
                _enter_shared(stack, folder)
        except OSError as problem:
            raise BadInput(
                f"features are missing in {folder} and it cannot be "
                f"written to ({problem}): choose another --cache_folder"
            ) from problem
        yield


def _enter(stack, path):
    """Wait until no other process has a lock, and take it."""
    lock = filelock.FileLock(path)
    try:
        stack.enter_context(lock.acquire(timeout=0))
    except filelock.Timeout:
        logger.info(f"another process writes to {path.parent}: waiting for it")
        stack.enter_context(lock.acquire())


def _enter_shared(stack, folder):
    """Wait until no process writes to the whole store; let parts in."""
    file = stack.enter_context(open(folder / ".lock", "a"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        _remove_unfinished(folder)
    fcntl.flock(file, fcntl.LOCK_SH)


def _remove_unfinished(folder):
    """Remove what a killed process has left; no other process writes now."""
    for left in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left)
