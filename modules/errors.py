"""Bad input ends with one sentence that names the file and the remedy."""

import contextlib
import errno
import sys


class BadInput(ValueError):
    """Input that a user can put right; its message is one clear sentence."""


def printable(text: str) -> str:
    r"""Return a text whose control characters a terminal does not obey.

    Example
    -------
    >>> printable("a\x1b[2J.wav")
    'a\\x1b[2J.wav'
    """
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


@contextlib.contextmanager
def one_sentence(resumes=True):
    """Turn `BadInput`, a full disk and Ctrl-C into a sentence and a status.

    Everything else is a defect of ours and keeps its traceback.

    Arguments
    ---------
    resumes : bool
        Whether the command, started again, goes on where it stopped.
    """
    again = (
        "the same command goes on where this one stopped"
        if resumes
        else "start the same command again"
    )
    try:
        yield
    except BadInput as problem:
        print(f"error: {printable(str(problem))}", file=sys.stderr)
        sys.exit(2)
    except OSError as problem:
        if problem.errno != errno.ENOSPC:
            raise
        print(
            f"error: no space left on the disk of {problem.filename}: make "
            f"room; {again}",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {again}", file=sys.stderr)
        sys.exit(130)
