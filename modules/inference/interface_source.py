"""custom_interface.py of a model's folder, from the modules of the training."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
INTERFACE = "modules/inference/speechbrain_interface.py"

# SpeechBrain runs the file without making it a module; hyperparams.yaml and
# pickle find its classes by the module's name.
REGISTER = """
import sys
import types

sys.modules[__name__] = types.ModuleType(__name__)
sys.modules[__name__].__dict__.update(globals())
"""


def self_contained_source(classes: list[str], start: str = INTERFACE) -> str:
    """Return one file with the source of the modules that a model needs.

    Imports among them are left out; everything else is copied.

    Arguments
    ---------
    classes : list of str
        Paths of the classes of the model, such as
        ``modules.models.pooling.MeanPooling``.
    start : str
        Path of the file that the others serve, in this repository.

    Returns
    -------
    source : str
        Of custom_interface.py in a model's folder.

    Raises
    ------
    RuntimeError
        If two of the modules define the same name.
    """
    own = [path for path in classes if not path.startswith("torch.")]
    files = [_file(path.rpartition(".")[0]) for path in own]
    names = _with_imports([*files, start])
    inside = {name.removesuffix(".py").replace("/", ".") for name in names}
    text = (ROOT / start).read_text(encoding="utf-8")
    title = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    parts = [
        f'"""{title}\n\n'
        "Written by export.py from the modules of the training; do not edit.\n"
        '"""\n'
    ]
    owner = {}
    for name in names:
        parts.append(f"# ---- {name}\n{_body(name, inside, owner)}\n")
    table = "".join(
        f"PACKAGED[{path!r}] = {path.rpartition('.')[2]}\n" for path in own
    )
    return "\n\n".join(parts) + f"\n\n{table}{REGISTER}"


def _file(module):
    """Return the path of a module in this repository."""
    return module.replace(".", "/") + ".py"


def _with_imports(names, seen=None):
    """Return files and what they import of this repository, imports first."""
    seen = {} if seen is None else seen
    for name in names:
        if name in seen:
            continue
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        imported = [
            _file(node.module)
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            and (ROOT / _file(node.module)).is_file()
        ]
        _with_imports(imported, seen)
        seen[name] = None
    return list(seen)


def _body(name, inside, owner):
    """Return the source of a file without its title and our imports."""
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
    return "\n".join(line for line in lines if line is not None).strip()


def _defined_names(node):
    """Return the names that a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    return []
