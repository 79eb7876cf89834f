"""Bad input ends with one sentence that names the file and the remedy."""

import contextlib
import errno
import sys


class BadInput(ValueError):
    """Input that a user can put right; its message is one clear sentence."""


@contextlib.contextmanager
def one_sentence():
    """Turn `BadInput`, a full disk and Ctrl-C into a sentence and a status.

    Everything else is a defect of ours and keeps its traceback.
    """
    try:
        yield
    except BadInput as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except OSError as problem:
        if problem.errno != errno.ENOSPC:
            raise
        print(
            f"error: no space left on the disk of {problem.filename}: make "
            "room; the same command goes on where this one stopped",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. The same command goes on where this one stopped.",
            file=sys.stderr,
        )
        sys.exit(130)
