"""The correlation poolings, extracted from our pooling module.

There is one source: what SpeechBrain gets is cut out of
`modules/models/pooling.py`, never written twice. SpeechBrain has no type
annotations and a docstring in every function, so the annotations are left
out and a function without a docstring is refused.
"""

import ast
import pathlib
import re

from modules.errors import BadInput

SOURCE = pathlib.Path(__file__).parents[2] / "modules/models/pooling.py"

# In their order in the block.
NAMES = (
    "EPS",
    "valid_frames_mask",
    "_without_padding",
    "_uniform_weights",
    "_centre",
    "correlations",
    "Pooling",
    "CorrelationPooling",
    "AttentiveCorrelationPooling",
)
# Members that only our head uses.
LEFT_OUT = {"Pooling": ("whole_batch",)}
# SpeechBrain's module has many poolings without lengths.
RENAMED = {"Pooling": "LengthsPooling", "EPS": "CORRELATION_EPS"}

HEADER = """

# Correlation poolings. Source of the formulas: Kakouros, Stafylakis, Mosner,
# Burget, "Speech-based emotion recognition with self-supervised models using
# attentive channel-wise correlations and label smoothing", ICASSP 2023
# (https://arxiv.org/abs/2211.01756).

"""


def pooling_block(source: str | None = None) -> str:
    """Cut the block out of our pooling module.

    Arguments
    ---------
    source : str
        Text of the module; by default that of our file.

    Returns
    -------
    block : str
        Source text of all `NAMES`, to be appended to SpeechBrain's module.

    Raises
    ------
    BadInput
        If a name is missing, or a function has no docstring.

    Example
    -------
    >>> "class CorrelationPooling(LengthsPooling):" in pooling_block()
    True
    """
    if source is None:
        source = SOURCE.read_text(encoding="utf-8")
    nodes = {_name(node): node for node in ast.parse(source).body}
    missing = [name for name in NAMES if name not in nodes]
    if missing:
        raise BadInput(
            f"{SOURCE.name} does not define {', '.join(missing)}: adapt NAMES "
            "in recipes/speechbrain/pooling_block.py"
        )
    for name in NAMES:
        _check_docstrings(nodes[name])
    lines = source.splitlines(keepends=True)
    pieces = [_cut(nodes[name], lines) for name in NAMES]
    constants = [p for p, n in zip(pieces, NAMES) if n.isupper()]
    others = [p for p, n in zip(pieces, NAMES) if not n.isupper()]
    block = HEADER + "\n\n".join(["".join(constants), *others])
    for old, new in RENAMED.items():
        block = re.sub(rf"\b{old}\b", new, block)
    return block


def _name(node):
    """Return what a statement at the top of a module defines."""
    if isinstance(node, ast.Assign):
        return getattr(node.targets[0], "id", None)
    return getattr(node, "name", None)


def _check_docstrings(node):
    """Refuse a function without a docstring."""
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            if part.name != "__init__" and not ast.get_docstring(part):
                raise BadInput(
                    f"{part.name} in {SOURCE.name}, line {part.lineno}, has no "
                    "docstring, and SpeechBrain requires one: write it"
                )


def _start(node, lines):
    """Return the first line of a node, decorators and comments included."""
    start = min(
        [node.lineno]
        + [part.lineno for part in getattr(node, "decorator_list", [])]
    )
    while start > 1 and lines[start - 2].lstrip().startswith("#"):
        start -= 1
    return start


def _cut(node, lines):
    """Return the source of a node without annotations and left-out members."""
    start = _start(node, lines)
    kept = {
        number: lines[number - 1]
        for number in range(start, node.end_lineno + 1)
    }
    _drop_annotations(node, kept)
    for member in getattr(node, "body", []):
        if _name(member) in LEFT_OUT.get(_name(node), ()):
            first = _start(member, lines)
            # With the empty line above it.
            for number in range(first - 1, member.end_lineno + 1):
                kept.pop(number, None)
    return "".join(kept[number] for number in sorted(kept))


def _drop_annotations(node, kept):
    """Take the annotations of arguments and results out of the lines."""
    spans = []
    for part in ast.walk(node):
        if isinstance(part, ast.arg) and part.annotation:
            name_end = (part.lineno, part.col_offset + len(part.arg))
            spans.append((name_end, part.annotation))
        if isinstance(part, ast.FunctionDef) and part.returns:
            line = kept[part.returns.lineno]
            arrow = line.rindex("->", 0, part.returns.col_offset)
            column = len(line[:arrow].rstrip())
            spans.append(((part.returns.lineno, column), part.returns))
    # From the end, so that earlier columns stay right.
    for (line, column), annotation in sorted(spans, key=lambda s: s[0])[::-1]:
        if annotation.end_lineno != line:
            raise BadInput(
                f"an annotation in {SOURCE.name}, line {line}, spans several "
                "lines: shorten it"
            )
        text = kept[line]
        rest = text[annotation.end_col_offset :]
        # "x: int = 4" becomes "x=4".
        rest = re.sub(r"^ = ", "=", rest)
        kept[line] = text[:column] + rest
