"""custom_interface.py of a model's folder, from the modules that trained."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[2]

# What goes into custom_interface.py, each file after those that it imports.
SOURCES = (
    "modules/errors.py",
    "modules/audio.py",
    "modules/models/encoder.py",
    "modules/models/fbank.py",
    "modules/models/layer_pooling.py",
    "modules/models/fusion.py",
    "modules/models/upstream.py",
    "modules/models/pooling.py",
    "modules/models/ecapa.py",
    "modules/models/head.py",
    "modules/inference/speechbrain_interface.py",
)

# SpeechBrain runs the file without making it a module; hyperparams.yaml and
# pickle look its classes up by the module's name.
REGISTER = """
import sys
import types

sys.modules[__name__] = types.ModuleType(__name__)
sys.modules[__name__].__dict__.update(globals())
"""


def self_contained_source(sources=SOURCES):
    """Return one file with the source of the modules that trained.

    Imports among them are left out; everything else is as it is written.

    Arguments
    ---------
    sources : iterable of str
        Paths in this repository, each after those it imports.

    Returns
    -------
    source : str
        Of custom_interface.py in a model's folder.
    """
    inside = {name.removesuffix(".py").replace("/", ".") for name in sources}
    title = ast.get_docstring(ast.parse((ROOT / sources[-1]).read_text()))
    parts = [
        f'"""{title.splitlines()[0]}\n\n'
        "Written by export.py from the modules that trained; do not edit.\n"
        '"""\n'
    ]
    owner = {}
    for name in sources:
        text = (ROOT / name).read_text(encoding="utf-8")
        lines = text.splitlines()
        tree = ast.parse(text)
        for node in tree.body:
            for defined in _defined_names(node):
                if owner.setdefault(defined, name) != name:
                    raise RuntimeError(
                        f"{name} and {owner[defined]} both define {defined}"
                    )
            is_docstring = node is tree.body[0]
            is_ours = isinstance(node, ast.ImportFrom) and node.module in inside
            if is_docstring or is_ours:
                count = node.end_lineno - node.lineno + 1
                lines[node.lineno - 1 : node.end_lineno] = [None] * count
        body = "\n".join(line for line in lines if line is not None)
        parts.append(f"# ---- {name}\n{body.strip()}\n")
    return "\n\n".join(parts) + REGISTER


def _defined_names(node):
    """Return the names that a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    return []
