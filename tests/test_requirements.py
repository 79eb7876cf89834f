"""requirements.txt names what is imported; constraints.txt pins it."""

import ast
import re
import sys

from conftest import ROOT

# Import name -> name of the package, where they differ.
PACKAGES = {
    "jinja2": "jinja2",
    "ruamel": "ruamel-yaml",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "mpl_toolkits": "matplotlib",
}
OWN = {path.stem for path in ROOT.glob("*.py")} | {
    path.parent.name for path in ROOT.glob("*/__init__.py")
}
SOURCES = [
    *ROOT.glob("*.py"),
    *(ROOT / "modules").rglob("*.py"),
    *(ROOT / "data_prep").rglob("*.py"),
]


def required(name):
    """Return the packages that a requirements file names, normalised."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    names = [re.match(r"[A-Za-z][\w.-]*", line) for line in lines]
    return {re.sub(r"[-_.]+", "-", m[0]).lower() for m in names if m}


def packages(path, nested):
    """Return the third-party packages that a file imports.

    Arguments
    ---------
    path : pathlib.Path
    nested : bool
        Those within functions, which may be optional; or those at the top.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = set(ast.walk(tree)) if nested else set(tree.body)
    nodes -= set(tree.body) if nested else set()
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    found -= set(sys.stdlib_module_names) | OWN
    return {
        PACKAGES.get(name, name).lower().replace("_", "-") for name in found
    }


def test_what_is_imported_is_required():
    needed = required("requirements.txt")
    optional = set.union(*map(required, FILES)) - needed
    for path in SOURCES:
        name = path.relative_to(ROOT)
        missing = packages(path, nested=False) - needed
        # A module may need an optional package as a whole; those that import
        # it do so within a function.
        assert not missing or missing <= optional, f"{name}: {missing}"
        assert packages(path, nested=True) <= needed | optional, name


def test_modules_with_optional_packages_are_imported_within_functions():
    needed = required("requirements.txt")
    optional = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in SOURCES
        if packages(path, nested=False) - needed
    }
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                assert node.module not in optional, f"{path}: {node.module}"


def test_what_users_of_speechbrain_expect_is_required():
    expected = {"sentencepiece", "pyyaml", "huggingface-hub", "speechbrain"}
    assert expected <= required("requirements.txt")


def test_every_required_package_is_pinned():
    pinned = required("constraints.txt")
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert required(name) <= pinned, required(name) - pinned


FILES = [path.name for path in ROOT.glob("requirements*.txt")]
