"""Reading an experiment file: plain YAML, every part of it checked."""

import difflib
import pathlib
import re

import yaml

from modules.errors import BadInput

ROOT = pathlib.Path(__file__).parents[2]

# Key -> (what it must be, in words; whether it must be there).
KEYS = {
    "title": ("a line of text", True),
    "hparams": ("a hyperparameter file, from the repository's folder", True),
    "settings": ("key: value for all systems", False),
    "systems": (
        "a list of {name: ..., key: value, ...}; hparams: among the keys "
        "replaces the file above, and its settings",
        True,
    ),
    "late_fusion": ("a list of {name: ..., of: [system, system]}", False),
    "grid": ("a list like systems; every system is run with each", False),
    "seeds": ("a list of integers", True),
    "floor": ("true or false: add logistic regression", False),
    "published": ("source, metric, figures", False),
}
METRICS = ("WA", "UA", "macro_f1")
# A name becomes a folder and a value on a command line.
NAME = re.compile(r"[\w.()/+ -]+")


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, which YAML would drop."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"'{key}' is there twice",
                    problem_mark=node.start_mark,
                )
        return super().construct_mapping(node, deep)


def _top_level_keys(path):
    """Return the keys at the left margin of a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise BadInput(
            f"{path} cannot be read ({problem.strerror}): hparams/ and "
            "recipes/ hold files to choose from"
        ) from problem
    except UnicodeDecodeError as problem:
        raise BadInput(
            f"{path} is no text: give a hyperparameter or experiment file"
        ) from problem
    return re.findall(r"^(\w+) *:", text, flags=re.MULTILINE)


def is_experiment(path):
    """Tell an experiment file (True) from a hyperparameter file (False).

    Raises
    ------
    BadInput
        If it is neither.
    """
    keys = _top_level_keys(path)
    if "hparams" in keys or "systems" in keys:
        return True
    if "test_fold" in keys and "encoder_hub" in keys:
        return False
    raise BadInput(
        f"{path} is neither a hyperparameter file (no test_fold) nor an "
        "experiment file (no hparams): take one of hparams/ or recipes/ as "
        "a pattern"
    )


def read_experiment_file(path):
    """Read an experiment file.

    Arguments
    ---------
    path : pathlib.Path
        Plain YAML, the keys of `KEYS`.

    Returns
    -------
    experiment : dict
        All of `KEYS`; figures as {"mean": percent, "std": percent or None}.

    Raises
    ------
    BadInput
        Naming the file, what is wrong and what to do.
    """
    try:
        given = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise BadInput(
            f"{path}{where}: not plain YAML "
            f"({getattr(problem, 'problem', problem)}): mend it there"
        ) from problem
    for key in given:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise BadInput(
                f"{path}: unknown key {key}: {hint}An experiment file has "
                f"{', '.join(KEYS)}"
            )
    for key, (what, needed) in KEYS.items():
        if needed and not given.get(key):
            raise BadInput(f"{path} has no {key}: give {what}")
    given = {key: given.get(key) for key in KEYS}
    given["settings"] = given["settings"] or {}
    _check_kind(path, given, "settings", isinstance(given["settings"], dict))
    for key in ("systems", "grid", "late_fusion"):
        _check_named(path, given, key)
    for fusion in given["late_fusion"]:
        of = fusion.get("of")
        fine = set(fusion) == {"name", "of"} and isinstance(of, list) and of
        _check_kind(path, given, "late_fusion", bool(fine))
    for system in given["systems"]:
        _check_hparams(path, system.get("hparams", given["hparams"]))
    given["floor"] = given["floor"] or False
    _check_kind(path, given, "floor", isinstance(given["floor"], bool))
    seeds = given["seeds"]
    fine = isinstance(seeds, list) and all(type(seed) is int for seed in seeds)
    _check_kind(path, given, "seeds", fine)
    if len(set(seeds)) < len(seeds):
        raise BadInput(f"{path}: a seed is there twice: give each once")
    given["published"] = _read_published(path, given["published"])
    return given


def _check_hparams(path, file):
    """Refuse a hyperparameter file that is not there."""
    if not (ROOT / str(file)).is_file():
        raise BadInput(
            f"{path}: hparams {file} is no file: give {KEYS['hparams'][0]}"
        )


def _check_kind(path, given, key, fine):
    """Refuse a value of the wrong kind."""
    if not fine:
        raise BadInput(
            f"{path}: {key} must be {KEYS[key][0]}, not {given[key]}"
        )


def _check_named(path, given, key):
    """Check a list of named settings."""
    entries = given[key] or []
    _check_kind(
        path,
        given,
        key,
        isinstance(entries, list)
        and all(isinstance(entry, dict) for entry in entries),
    )
    names = []
    for entry in entries:
        name = entry.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BadInput(
                f"{path}: '{name}' cannot name one of {key}: give a name of "
                "letters, digits, spaces and . ( ) / + -"
            )
        if name in names:
            raise BadInput(
                f"{path}: two of {key} are called '{name}': rename one"
            )
        names.append(name)
    given[key] = entries


def _read_published(path, published):
    """Check what is said to be published."""
    if published is None:
        return {}
    keys = {"source", "metric", "figures"}
    if not isinstance(published, dict) or set(published) != keys:
        raise BadInput(
            f"{path}: published must have source, metric and figures"
        )
    metrics = published["metric"]
    metrics = metrics if isinstance(metrics, list) else [metrics]
    for metric in metrics or [None]:
        if metric not in METRICS:
            raise BadInput(
                f"{path}: published metric '{metric}' is unknown: "
                f"choose one of {', '.join(METRICS)}, or a list of two"
            )
    if len(metrics) > 2:
        raise BadInput(f"{path}: published metrics are one or two")
    figures = {}
    for name, value in (published["figures"] or {}).items():
        values = value if isinstance(value, dict) else {metrics[0]: value}
        if set(values) != set(metrics):
            raise BadInput(
                f"{path}: the published figure of '{name}' must have "
                f"{' and '.join(metrics)}, not {value}"
            )
        first, *second = (
            _read_figure(path, name, values[metric]) for metric in metrics
        )
        figures[name] = first | ({"second": second[0]} if second else {})
    return published | {"metric": " / ".join(metrics), "figures": figures}


def _read_figure(path, name, value):
    """Return {"mean": percent, "std": percent or None}."""
    numbers = value if isinstance(value, list) else [value]
    fine = len(numbers) in (1, 2) and all(
        isinstance(number, int | float) and 0 <= number <= 100
        for number in numbers
    )
    if not fine:
        raise BadInput(
            f"{path}: the published figure of '{name}' must be a percent "
            f"or [percent, standard deviation], not {value}"
        )
    return {
        "mean": numbers[0],
        "std": numbers[1] if len(numbers) == 2 else None,
    }
