"""The folder that a HuggingFace Space runs: the page, its code and a model."""

from __future__ import annotations

import ast
import importlib.metadata
import pathlib

import yaml

from modules.errors import BadInput

ROOT = pathlib.Path(__file__).parents[2]
PAGE = "app.py"
# Read at run time, so not found among the imports.
_DATA = ("modules/inference/page.css", "modules/inference/recording_page.html")

README = """\
---
{header}---

# {title}

Speech emotion recognition: upload recordings or record yourself. The folder
`model` is what `export.py` wrote, and its [card](model/README.md) states what
it was trained on and where it fails. `app.py` executes nothing of it.
"""


def space_files(model: dict, title: str, classes: list[str]) -> dict:
    """Return the files of a Space.

    Arguments
    ---------
    model : dict
        Files of the model's folder, from `modules.inference.packaging.build`.
    title : str
        Of the Space.
    classes : list of str
        Paths of the classes of the model's head.

    Returns
    -------
    dict
        Name -> content, as for `modules.inference.packaging.write_files`.

    Raises
    ------
    BadInput
        If Gradio is not installed, whose version a Space must name.
    """
    code = [PAGE, *(_file(path.rpartition(".")[0]) for path in classes)]
    names = [*sorted(needed_code(code)), *_DATA, "LICENSE"]
    return {
        "README.md": _readme(model["README.md"].decode(), title).encode(),
        # The Space installs Gradio itself.
        "requirements.txt": (ROOT / "requirements.txt").read_bytes(),
        **{name: ROOT / name for name in names},
        **{f"model/{name}": content for name, content in model.items()},
    }


def needed_code(start: list[str]) -> set[str]:
    """Return files of this repository, and all that they import of it.

    Arguments
    ---------
    start : list of str
        Paths of Python files, relative to the repository; others are left
        out.

    Returns
    -------
    set of str
        With the files ``__init__.py`` of their packages.
    """
    found, waiting = set(), list(start)
    while waiting:
        name = waiting.pop()
        path = ROOT / name
        if name in found or not path.is_file():
            continue
        found.add(name)
        waiting += [
            str(parent / "__init__.py") for parent in pathlib.Path(name).parents
        ]
        waiting += _imports(path)
    return found


def _imports(path):
    """Return the files that a file may import, within functions too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [_file(name) for name in names]


def _file(module):
    """Return the path of a module in this repository."""
    return module.replace(".", "/") + ".py"


def _readme(card, title):
    """Return the README of a Space, with the header that the Hub reads."""
    try:
        version = importlib.metadata.version("gradio")
    except importlib.metadata.PackageNotFoundError as problem:
        raise BadInput(
            "--space needs gradio, whose version a Space names: pip install "
            "-r requirements-page.txt"
        ) from problem
    _, facts, _ = card.split("---\n", 2)
    facts = yaml.safe_load(facts)
    header = {
        "title": title,
        "colorFrom": "indigo",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": version,
        "python_version": "3.11",
        "app_file": PAGE,
        "license": facts.get("license"),
        "models": [facts["base_model"]] if facts.get("base_model") else None,
    }
    header = {key: value for key, value in header.items() if value}
    text = yaml.safe_dump(header, sort_keys=False)
    return README.format(header=text, title=title)
