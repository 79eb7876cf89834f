"""The arrows of the design: who may import whom; lengths of files."""

import ast
import re
import statistics
import subprocess
import sys

import pytest
from conftest import ROOT

# From the bottom to the top; a package imports its own modules and those of
# packages below. The files of modules/ itself are the bottom.
LEVELS = {
    "modules": 0,
    "modules.models": 1,
    "modules.features": 2,
    "modules.training": 3,
    "modules.inference": 3,
    "modules.experiments": 4,
    "modules.report": 5,
    "modules.bulk": 5,
    "data_prep": 5,
    "demo": 6,
    "recipes": 6,
    "benchmarks": 6,
    "tools": 6,
}
# Files that are started or that SpeechBrain finds by their name.
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}
USERS = ("demo", "recipes", "benchmarks", "tools")
# A model's folder contains this file, which stands alone.
LONGER = {"modules/inference/emotion_onnx.py": 420}


def python_files(*folders):
    """Return the Python files of folders of the repository."""
    return sorted(
        path for folder in folders for path in (ROOT / folder).rglob("*.py")
    )


OWN = python_files("modules", "data_prep", *USERS) + sorted(ROOT.glob("*.py"))


def module_name(path):
    """Return the name that a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(name):
    """Return the package of a module, one of `LEVELS`, or None."""
    parts = name.split(".")
    for length in (2, 1):
        package = ".".join(parts[:length])
        if package in LEVELS:
            return package
    return None


NAMES = {module_name(path): path for path in OWN}


def imports(path):
    """Return what a file imports, also within functions, by module name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in NAMES else node.module)
    return found


IMPORTS = {name: imports(path) for name, path in NAMES.items()}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_imports_go_down(name):
    own = package_of(name)
    for other in sorted(IMPORTS[name]):
        package = package_of(other)
        if own is None or package in (None, own):
            continue
        assert LEVELS[package] <= LEVELS[own], f"{name} imports {other}"
        users = own in USERS or package not in USERS
        assert users, f"{name} imports {other}"


def test_training_and_inference_have_no_circle():
    directions = {
        (package_of(name), package_of(other))
        for name, others in IMPORTS.items()
        for other in others
    }
    both = ("modules.training", "modules.inference")
    assert not (both in directions and both[::-1] in directions)


def test_modules_import_no_corpus():
    for name, others in IMPORTS.items():
        if not name.startswith("modules"):
            continue
        for other in others:
            first = other.split(".")[0]
            assert first not in ("data_prep", *USERS), f"{name}: {other}"


def test_data_prep_imports_the_bottom_alone():
    for name, others in IMPORTS.items():
        if not name.startswith("data_prep"):
            continue
        for other in others:
            assert package_of(other) in (None, "modules", "data_prep"), other
            assert not other.startswith("torch"), f"{name} imports {other}"


def test_nothing_imports_a_script():
    for name, others in IMPORTS.items():
        own = package_of(name)
        if own in USERS:
            continue  # they start it
        assert not others & SCRIPTS, f"{name} imports {others & SCRIPTS}"


def test_there_is_no_circle_of_files():
    """Found by removing files that import nothing that is left."""
    left = {name: others & set(NAMES) for name, others in IMPORTS.items()}
    while left:
        free = {name for name, others in left.items() if not others & set(left)}
        assert free, f"a circle among {sorted(left)}"
        left = {name: left[name] for name in set(left) - free}


def test_every_module_can_be_imported_first():
    """An order of imports that only a test has hides a circle."""
    names = [n for n in NAMES if n.startswith(("modules", "data_prep"))]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for loaded in list(sys.modules):\n"
        "        if loaded.split('.')[0] in ('modules', 'data_prep'):\n"
        "            del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *sorted(names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path", OWN, ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_file_has_at_most_400_lines(path):
    most = LONGER.get(path.relative_to(ROOT).as_posix(), 400)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


def test_nine_functions_of_ten_have_at_most_30_lines():
    """Without their docstrings."""
    lengths = []
    for path in OWN:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                start = node.lineno
                if ast.get_docstring(node) is not None:
                    start += node.body[0].end_lineno - node.body[0].lineno + 1
                lengths.append(node.end_lineno - start + 1)
    assert statistics.quantiles(lengths, n=10)[-1] <= 30


def test_one_utterance_can_be_followed_in_five_files():
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    section = text.partition("in five files")[2].partition("\n## ")[0]
    paths = re.findall(r"\]\(\.\./(\S+)\)", section)
    assert len(paths) == 5
    lines = [len((ROOT / path).read_text().splitlines()) for path in paths]
    assert sum(lines) <= 600, dict(zip(paths, lines))
