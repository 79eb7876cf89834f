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
# Of one setting; YAML can write many more in a few lines.
MOST_VALUES = 1000
# A name becomes a folder and a value on a command line.
NAME = re.compile(r"(?=.*\w)[\w.()/+ -]{1,100}")


def _plain(value: Any) -> Any:
    """Refuse a setting that is neither a plain value nor a part of a model."""
    waiting, allowed = [value], isinstance(value, dict) and "class" in value
    for _ in range(MOST_VALUES):
        if not waiting:
            return value
        own = waiting.pop()
        if allowed and isinstance(own, dict | list):
            waiting += own.values() if isinstance(own, dict) else own
        elif not isinstance(own, str | int | float | None):
            break
    raise ValueError(
        f"the value {_short(value)} is not allowed: give a text, a number, "
        "true, false, null, or a part of a model as {class: path.of.Class, "
        "argument: value}"
    )


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

    name: Any = None
    hparams: HparamsFile | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The settings: all keys but name and hparams."""
        return self.model_extra or {}


class LateFusion(BaseModel):
    """A system whose probabilities are those of other systems, weighted."""

    model_config = ConfigDict(extra="forbid")

    name: Any = None
    of: list[str] = Field(min_length=1)


class Published(BaseModel):
    """Figures of a publication.

    Attributes
    ----------
    source : str
        The publication.
    metric : str
        One of `METRICS`, or two of them with " / " between them.
    figures : dict
        System -> a list of {"mean": percent, "std": percent or None}, one for
        each metric.
    """

    model_config = ConfigDict(extra="forbid")

    source: str
    metric: str | list[str]
    figures: dict[str, Any]

    @model_validator(mode="after")
    def _read(self) -> "Published":
        metrics = [self.metric] if isinstance(self.metric, str) else self.metric
        for metric in metrics or [""]:
            if metric not in METRICS or len(metrics) > 2:
                raise ValueError(
                    f"published metric '{metric}' is unknown: choose one of "
                    f"{', '.join(METRICS)}, or a list of two"
                )
        for name, value in self.figures.items():
            values = value if isinstance(value, dict) else {metrics[0]: value}
            figures = [_figure(values.get(metric)) for metric in metrics]
            if set(values) != set(metrics) or None in figures:
                raise ValueError(
                    f"the published figure of '{name}' must have "
                    f"{' and '.join(metrics)}, each a percentage or "
                    f"[percentage, standard deviation], not {_short(value)}"
                )
            self.figures[name] = figures
        self.metric = " / ".join(metrics)
        return self


class ExperimentFile(BaseModel):
    """All keys of an experiment file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str = Field(min_length=1, description="a line of text")
    hparams: HparamsFile = Field(
        description="a hyperparameter file, from the repository's folder"
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
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        min_length=1, description="a list of integers from 0 to 2147483647"
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
    """Read and check an experiment file: YAML, the keys of `ExperimentFile`.

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
        raise BadInput(f"{path} has no lines of key: value: write them")
    fields = ExperimentFile.model_fields
    given = {k: v for k, v in given.items() if v is not None or k not in fields}
    try:
        return ExperimentFile.model_validate(given)
    except ValidationError as problem:
        sentence = _sentence(given, problem)
        raise BadInput(f"{path}: {sentence}") from problem


def _sentence(given: dict, problem: ValidationError) -> str:
    """Return an error of pydantic, or of unknown keys, in a sentence."""
    fields = ExperimentFile.model_fields
    if "floor" in given:
        return (
            "the key floor no longer exists: add {name: baseline, hparams: "
            "hparams/baseline.yaml} to systems"
        )
    for key in given:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            return (
                f"unknown key {key}: {hint}An experiment file has "
                f"{', '.join(fields)}"
            )
    error = problem.errors()[0]
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    key = str(error["loc"][0])
    if not given.get(key):
        return f"it has no {key}: give {fields[key].description}"
    return f"{key} must be {fields[key].description}, not {_short(given[key])}"


def _short(value: Any) -> str:
    """Return a value as text that fits into a sentence."""
    return textwrap.shorten(repr(value)[:1000], 200, placeholder=" ...")


def _figure(value: Any) -> dict | None:
    """Return {"mean": percent, "std": percent or None}; None if it is none."""
    numbers = value if isinstance(value, list) else [value]
    fine = len(numbers) in (1, 2) and all(
        type(number) in (int, float) and 0 <= number <= 100
        for number in numbers
    )
    return dict(zip(("mean", "std"), [*numbers, None])) if fine else None


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
