"""docs/errors.md: every error of a user, read from the code.

    python -m tools.errors

Each `BadInput(...)` in the code is a sentence: what is wrong, a colon, the
remedy. Values that are filled in stand as their names in angle brackets.
"""

import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]
TARGET = ROOT / "docs" / "errors.md"
_WHERE = ("*.py", "data_prep/**/*.py", "demo/**/*.py", "modules/**/*.py")

HEAD = """\
# Errors and what to do about them

Every command ends with status 2 and one sentence when its input is wrong: what
is wrong, and after the colon what to do. This table lists all of them. Values
that a sentence names stand in angle brackets. `python -m tools.errors` writes
this page from the code; a test compares the two.

What a disk refuses (no space, no permission, read-only, not a folder, a name
that is too long) becomes a sentence too: it names the path that you gave.
"""


def sentences(path: pathlib.Path) -> list[str]:
    """Return the sentences of all `BadInput` in a file, in their order.

    Arguments
    ---------
    path : pathlib.Path
        Of Python code.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "BadInput"
            and node.args
        ):
            found.append((node.lineno, _template(node.args[0])))
    # A sentence that is a variable is made of one that stands elsewhere.
    return [t for _, t in sorted(found) if not re.fullmatch("<[^<>]*>", t)]


def _template(node):
    """Return the text of an expression; what is filled in as ``<name>``."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_template, node.values))
    if isinstance(node, ast.FormattedValue):
        return f"<{_name(node.value)}>"
    if isinstance(node, ast.BinOp):
        return _template(node.left) + _template(node.right)
    if isinstance(node, ast.IfExp):
        return f"{_template(node.body)} / {_template(node.orelse)}"
    return f"<{_name(node)}>"


def _name(node):
    """Return a short name of what is filled in."""
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    names += [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    hidden = {"str", "repr", "len", "sorted", "type", "map", "round", "set"}
    names = [n.strip("_") for n in names if n not in hidden]
    if isinstance(node, ast.Attribute):
        return node.attr
    return names[0] if names else "value"


def split_sentence(text: str) -> tuple[str, str]:
    """Return what is wrong and the remedy of a sentence.

    Example
    -------
    >>> split_sentence("x is empty: record it again")
    ('x is empty', 'record it again')
    """
    what, colon, remedy = text.rpartition(": ")
    if not colon:
        what, _, remedy = text.partition("; ")
    return what.strip(), remedy.strip()


def page() -> str:
    """Return the contents of docs/errors.md."""
    parts = [HEAD]
    paths = sorted({p for where in _WHERE for p in ROOT.glob(where)})
    for path in paths:
        own = list(dict.fromkeys(sentences(path)))
        if not own:
            continue
        parts.append(f"\n## {path.relative_to(ROOT).as_posix()}\n")
        parts.append("| What is wrong | What to do |\n|---|---|")
        for text in own:
            cells = [_cell(cell) for cell in split_sentence(text)]
            parts.append(f"| {cells[0]} | {cells[1]} |")
    return "\n".join(parts) + "\n"


def _cell(text):
    """Return a text as a cell of a table in Markdown."""
    text = " ".join(text.split()).replace("|", "\\|")
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def main() -> None:
    """Write the page."""
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(page(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
