"""Reading an experiment file: plain YAML, every part of it checked."""

import difflib
import pathlib
import re
import textwrap
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from modules.errors import BadInput

ROOT = pathlib.Path(__file__).parents[2]
METRICS = ("WA", "UA", "macro_f1")
# A name becomes a folder and a value on a command line.
NAME = re.compile(r"(?=.*\w)[\w.()/+ -]{1,100}")
BASELINE = "{name: baseline, hparams: hparams/baseline.yaml}"


def _plain(value: Any) -> Any:
    """Refuse a setting that has no spelling on a command line."""
    if not isinstance(value, str | int | float | None):
        raise ValueError(
            f"the value {_short(value)} is not allowed: a value of a setting "
            "is a text, a number, true, false or null"
        )
    return value


def _hparams_file(value: str) -> str:
    """Refuse a hyperparameter file that does not exist."""
    if not (ROOT / value).is_file():
        raise ValueError(
            f"hparams {value} is no file: give a hyperparameter file, from "
            "the repository's folder"
        )
    return value


Value = Annotated[Any, AfterValidator(_plain)]
HparamsFile = Annotated[str, AfterValidator(_hparams_file)]


class Entry(BaseModel):
    """A system, or one variation of the grid: a name and settings."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Value] = Field(init=False)

    # The lists of entries check their names, since they name the list too.
    name: Any = None
    hparams: HparamsFile | None = None


class LateFusion(BaseModel):
    """A system whose probabilities are those of other systems, weighted."""

    model_config = ConfigDict(extra="forbid")

    name: Any = None
    of: list[str] = Field(min_length=1)


class Published(BaseModel):
    """Figures of a publication; see `Plan.published` for their form."""

    model_config = ConfigDict(extra="forbid")

    source: str
    metric: str | list[str]
    figures: dict[str, Any]

    @model_validator(mode="after")
    def _read(self) -> "Published":
        metrics = (
            self.metric if isinstance(self.metric, list) else [self.metric]
        )
        for metric in metrics or [None]:
            if metric not in METRICS:
                raise ValueError(
                    f"published metric '{metric}' is unknown: choose one of "
                    f"{', '.join(METRICS)}, or a list of two"
                )
        if len(metrics) > 2:
            raise ValueError("published metrics are more than two: give two")
        self.figures = {
            name: _read_figures(name, value, metrics)
            for name, value in self.figures.items()
        }
        self.metric = " / ".join(metrics)
        return self


class ExperimentFile(BaseModel):
    """All keys of an experiment file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str = Field(min_length=1, description="a line of text")
    hparams: HparamsFile = Field(
        min_length=1,
        description="a hyperparameter file, from the repository's folder",
    )
    settings: dict[str, Value] = Field(
        {}, description="key: value for all systems"
    )
    systems: list[Entry] = Field(
        min_length=1,
        description="a list of {name: ..., key: value, ...}; hparams: among "
        "the keys replaces the file above",
    )
    late_fusion: list[LateFusion] = Field(
        [], description="a list of {name: ..., of: [system, system]}"
    )
    grid: list[Entry] = Field(
        [], description="a list like systems; every system is run with each"
    )
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        min_length=1, description="a list of integers from 0 to 4294967295"
    )
    published: Published | None = Field(
        None, description="a mapping with source, metric and figures"
    )

    @field_validator("systems", "grid", "late_fusion")
    @classmethod
    def _names(cls, entries: list, info: Any) -> list:
        names = [entry.name for entry in entries]
        for name in names:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise ValueError(
                    f"'{name}' cannot name one of {info.field_name}: give a "
                    "name of at most 100 letters, digits, spaces and . ( ) / "
                    "+ -"
                )
            if names.count(name) > 1:
                raise ValueError(
                    f"two of {info.field_name} are called '{name}': rename one"
                )
        return entries

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: list) -> list:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is there twice: give each once")
        return seeds


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


def is_experiment(path: pathlib.Path) -> bool:
    """Return whether a file is an experiment file or a hyperparameter file.

    Raises
    ------
    BadInput
        If it is neither.
    """
    keys = re.findall(r"^(\w+) *:", _read_text(path), flags=re.MULTILINE)
    if "hparams" in keys or "systems" in keys:
        return True
    if "test_fold" in keys and "encoder_hub" in keys:
        return False
    raise BadInput(
        f"{path} is neither a hyperparameter file (no test_fold) nor an "
        "experiment file (no hparams): start from one of hparams/ or recipes/"
    )


def read_experiment_file(path: pathlib.Path) -> ExperimentFile:
    """Read and check an experiment file.

    Arguments
    ---------
    path : pathlib.Path
        Plain YAML with the keys of `ExperimentFile`.

    Returns
    -------
    experiment : ExperimentFile

    Raises
    ------
    BadInput
        Naming the file, what is wrong and what to do.
    """
    try:
        given = yaml.load(_read_text(path), Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(problem, "problem", type(problem).__name__)
        raise BadInput(
            f"{path}{where}: not plain YAML ({reason}): correct it there"
        ) from problem
    if not isinstance(given, dict):
        raise BadInput(f"{path} must have lines of key: value")
    fields = ExperimentFile.model_fields
    given = {k: v for k, v in given.items() if v is not None or k not in fields}
    try:
        return ExperimentFile.model_validate(given)
    except ValidationError as problem:
        raise BadInput(_sentence(path, given, problem.errors())) from problem


def _sentence(path: pathlib.Path, given: dict, errors: list[dict]) -> str:
    """Return the first error of pydantic in one sentence."""
    fields = ExperimentFile.model_fields
    for key in given:
        if key not in fields:
            return _unknown_key(path, key)
    first = errors[0]
    key = first["loc"][0]
    if first["type"] == "value_error":
        return f"{path}: {first['ctx']['error']}"
    what = fields[key].description
    if not given.get(key):
        return f"{path} has no {key}: give {what}"
    return f"{path}: {key} must be {what}, not {_short(given[key])}"


def _unknown_key(path: pathlib.Path, key: Any) -> str:
    """Return the sentence on a key that experiment files do not have."""
    if key == "floor":
        return (
            f"{path}: the key floor no longer exists: add {BASELINE} to systems"
        )
    fields = ExperimentFile.model_fields
    near = difflib.get_close_matches(str(key), fields, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return (
        f"{path}: unknown key {key}: {hint}An experiment file has "
        f"{', '.join(fields)}"
    )


def _short(value: Any) -> str:
    """Return a value as text that fits into a sentence."""
    return textwrap.shorten(str(value), 200, placeholder=" ...")


def _read_text(path: pathlib.Path) -> str:
    """Read a YAML file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise BadInput(
            f"{path} cannot be read ({problem.strerror}): choose a file of "
            "hparams/ or recipes/"
        ) from problem
    except UnicodeDecodeError as problem:
        raise BadInput(
            f"{path} is no text: give a hyperparameter or experiment file"
        ) from problem


def _read_figures(name: str, value: Any, metrics: list[str]) -> dict:
    """Return the published figures of a system, of one or two metrics."""
    values = value if isinstance(value, dict) else {metrics[0]: value}
    if set(values) != set(metrics):
        raise ValueError(
            f"the published figure of '{name}' must have "
            f"{' and '.join(metrics)}, not {_short(value)}"
        )
    first, *second = (_read_figure(name, values[metric]) for metric in metrics)
    return first | ({"second": second[0]} if second else {})


def _read_figure(name: str, value: Any) -> dict:
    """Return {"mean": percent, "std": percent or None}."""
    numbers = value if isinstance(value, list) else [value]
    fine = len(numbers) in (1, 2) and all(
        type(number) in (int, float) and 0 <= number <= 100
        for number in numbers
    )
    if not fine:
        raise ValueError(
            f"the published figure of '{name}' must be a percentage or "
            f"[percentage, standard deviation], not {_short(value)}"
        )
    return {
        "mean": numbers[0],
        "std": numbers[1] if len(numbers) == 2 else None,
    }
