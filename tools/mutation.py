"""Mutation score: which changes of a file do its tests notice?

    python -m tools.mutation modules/models/pooling.py tests/modules/models/test_pooling.py
                             [--count 40] [--seed 0]

Each mutation changes one operator, comparison or number of a copy of the
repository; a mutation that the tests do not notice is printed.
"""

import argparse
import ast
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
_SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def mutants(source: str) -> list[tuple[int, str]]:
    """Return the line and the changed source of every mutation."""
    found = []
    for index, node in enumerate(ast.walk(ast.parse(source))):
        tree = ast.parse(source)
        own = list(ast.walk(tree))[index]
        line = getattr(own, "lineno", 0)
        if isinstance(own, ast.BinOp | ast.BoolOp):
            swap = _SWAPS.get(type(own.op))
            if swap is None:
                continue
            own.op = swap()
        elif isinstance(own, ast.Compare) and type(own.ops[0]) in _SWAPS:
            own.ops[0] = _SWAPS[type(own.ops[0])]()
        elif isinstance(own, ast.Constant) and type(own.value) is int:
            own.value += 1
        elif isinstance(own, ast.Constant) and type(own.value) is bool:
            own.value = not own.value
        else:
            continue
        found.append((line, ast.unparse(tree)))
    return found


def is_noticed(folder: pathlib.Path, tests: list[str]) -> bool:
    """Return whether a test fails in a copy of the repository."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", *tests]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=600)
    return done.returncode != 0


def main(arguments=None) -> None:
    """Print the mutations that survive, and the score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    source = (ROOT / options.file).read_text(encoding="utf-8")
    drawn = mutants(source)
    random.Random(options.seed).shuffle(drawn)
    drawn = drawn[: options.count]
    survivors = 0
    with tempfile.TemporaryDirectory() as place:
        copy = pathlib.Path(place) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv", "results", "cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for line, changed in drawn:
            (copy / options.file).write_text(changed, encoding="utf-8")
            if not is_noticed(copy, options.tests):
                survivors += 1
                print(f"survives: a change in line {line}", flush=True)
    noticed = len(drawn) - survivors
    print(f"{options.file}: {noticed} of {len(drawn)} mutations noticed")


if __name__ == "__main__":
    main()
