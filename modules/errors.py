"""Bad input ends with one sentence that names the file and the remedy."""

import contextlib
import errno
import os
import re
import sys

# What a disk or its permissions can refuse, and what a user can do about it.
_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, the quota is used up",
    errno.EFBIG: "choose a disk that takes larger files",
    errno.EIO: "check the disk or choose another",
    errno.EACCES: "change its permissions or choose another place",
    errno.EPERM: "change its permissions or choose another place",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOTDIR: "choose a place whose parents are folders",
    errno.EISDIR: "choose the name of a file",
    errno.EEXIST: "choose a name that is free",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "choose a place without circular links",
    errno.ESTALE: "mount the disk again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


# How PyTorch puts that a file cannot be written on.
_FULL = ("PytorchStreamWriter", "unexpected pos", "iostream error")


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


class BadInput(ValueError):
    r"""Input that a user can put right; its message is one clear sentence.

    It stays on one line, whatever the names in it.

    Example
    -------
    >>> print(BadInput("no such file: a\nb.wav"))
    no such file: a\nb.wav
    """

    def __init__(self, sentence: str):
        super().__init__(printable(str(sentence)))


def disk_error(problem: BaseException) -> int | None:
    """Return the errno of a disk or permission that refused, or None.

    Arguments
    ---------
    problem : Exception
        PyTorch and safetensors raise errors of their own for a full disk,
        which contain the errno as text at best.

    Example
    -------
    >>> disk_error(RuntimeError("I/O error: full (os error 28)"))
    28
    """
    if isinstance(problem, OSError) and problem.errno is not None:
        code = problem.errno
    elif found := re.search(r"os error (\d+)|Errno (\d+)", str(problem)):
        code = int(found[1] or found[2])
    elif any(words in str(problem) for words in _FULL):
        code = errno.ENOSPC
    else:
        return None
    return code if code in _REMEDIES else None


def refused(problem: BaseException, place=None) -> str:
    """Return the sentence for a disk that refused, without what comes after.

    Arguments
    ---------
    problem : Exception
        For which `disk_error` returns a number.
    place : str or pathlib.Path
        Path that the user gave; the file's own name is added if it differs.
    """
    code = disk_error(problem) or errno.EIO
    reason = os.strerror(code).lower()
    file = getattr(problem, "filename", None)
    if file is None:
        named = "the output" if place is None else os.fsdecode(place)
    else:
        named = os.fsdecode(file)
        inside = place is not None and os.path.abspath(named).startswith(
            os.path.abspath(place) + os.sep
        )
        if inside:
            reason = f"{reason}: {os.path.relpath(named, place)}"
            named = os.fsdecode(place)
    return f"{named} cannot be used ({reason}): {_REMEDIES[code]}"


@contextlib.contextmanager
def using(place):
    """Turn what a disk refuses into `BadInput` that names a place.

    Arguments
    ---------
    place : str or pathlib.Path
        Path that the user gave, such as the output folder.

    Raises
    ------
    BadInput
        For a full disk, no permission, a read-only disk, a parent that is no
        folder, a name that is too long and their like.
    """
    try:
        yield
    except BadInput:
        raise
    except Exception as problem:  # safetensors has a class of its own
        if disk_error(problem) is None:
            raise
        raise BadInput(refused(problem, place)) from problem


@contextlib.contextmanager
def one_sentence(resumes=True):
    """Turn `BadInput`, a disk that refuses and Ctrl-C into a sentence.

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
    except KeyboardInterrupt:
        print(f"\ninterrupted: {again}", file=sys.stderr)
        sys.exit(130)
    except Exception as problem:
        if disk_error(problem) is None or isinstance(problem, BrokenPipeError):
            raise
        sentence = printable(f"error: {refused(problem)}; {again}")
        print(sentence, file=sys.stderr)
        sys.exit(2)
