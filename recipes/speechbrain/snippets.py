"""Definitions of our files that go into files of SpeechBrain."""

import ast
import pathlib

HERE = pathlib.Path(__file__).parent


def definitions(path: str | pathlib.Path) -> str:
    """Return a file from its first function or class to its end.

    The imports above are there so that the file can be checked and tested
    where it lies; the file of SpeechBrain that gets the rest has its own.

    Arguments
    ---------
    path : str or pathlib.Path
        Relative to this folder.

    Returns
    -------
    str
        Source text, which ends with one line break.
    """
    source = (HERE / path).read_text(encoding="utf-8")
    kinds = (ast.FunctionDef, ast.ClassDef)
    first = next(
        node for node in ast.parse(source).body if isinstance(node, kinds)
    )
    start = min([first.lineno, *(part.lineno for part in first.decorator_list)])
    return "".join(source.splitlines(keepends=True)[start - 1 :])


def text(path: str) -> str:
    """Return a file of this folder as it is."""
    return (HERE / path).read_text(encoding="utf-8")
