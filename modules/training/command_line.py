"""What of a command line can be checked in a moment.

Nothing here imports PyTorch or SpeechBrain, which take seconds: a misspelt key
is refused before.
"""

import difflib
import pathlib
import re
from typing import Any

import yaml

from modules.errors import BadInput

# SpeechBrain's run options, by name; a test compares them with its own.
SWITCHES = frozenset(
    """
    auto_mix_prec bfloat16_mix_prec compile
    compile_using_dynamic_shape_tracing compile_using_fullgraph
    data_parallel_backend debug debug_persistently distributed_launch
    find_unused_parameters jit noprogressbar profile_training
    remove_vector_weight_decay skip_nonfinite_grads test_only
    tqdm_colored_bar
    """.split()
)
RUN_OPTIONS = SWITCHES | set(
    """
    ckpt_interval_minutes ckpt_interval_steps compile_mode
    compile_module_keys data_parallel_count debug_batches debug_epochs
    device distributed_backend eval_precision grad_accumulation_factor
    jit_module_keys log_config max_grad_norm nonfinite_patience
    optimizer_step_limit overridden_args param_file precision profile_steps
    profile_warmup tqdm_barcolor
    """.split()
)


class _Tag(str):
    """The value of a scalar with a HyperPyYAML tag, such as a reference."""


# Stands for an object of the file, of which nothing is executed.
OBJECT = object()


class Loader(yaml.SafeLoader):
    """Reads 1e-5 as a number, as HyperPyYAML does and YAML 1.2."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


class TagLoader(Loader):
    """Reads a HyperPyYAML file without executing what it names."""


def _construct_tag(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return _Tag(f"{suffix} {node.value}".strip())
    return OBJECT


TagLoader.add_multi_constructor("!", _construct_tag)


def read_defaults(path: str | pathlib.Path) -> dict[str, Any]:
    """Return the top-level keys of a hyperparameter file and their values.

    Nothing is executed: the value of a key with a tag is a string that begins
    with the tag's name, or an object that stands for a mapping or a list.

    Raises
    ------
    BadInput
        If the file cannot be read or is not a mapping in YAML.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        defaults = yaml.load(text, Loader=TagLoader)
    except OSError as problem:
        raise BadInput(
            f"hyperparameter file {path} cannot be read "
            f"({problem.strerror}): choose one of hparams/"
        ) from problem
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise BadInput(
            f"hyperparameter file {path}{where} is not valid YAML: correct it "
            "there"
        ) from problem
    if not isinstance(defaults, dict) or not all(
        isinstance(key, str) for key in defaults
    ):
        raise BadInput(
            f"{path} is not a hyperparameter file: it has no keys at its top "
            "level; choose one of hparams/"
        )
    return defaults


def top_level_keys(path: str | pathlib.Path) -> list[str]:
    """Return the keys of a hyperparameter file that can be overridden."""
    return [key for key in read_defaults(path) if not key.startswith("__")]


def check_command_line(arguments: list[str]) -> None:
    """Refuse unknown keys and a folder that does not exist.

    Arguments
    ---------
    arguments : list of str
        ``[file, --key=value, ...]``.

    Raises
    ------
    BadInput
        See `check_keys`; or naming the folder.
    """
    check_keys(arguments)
    folder = _value(arguments, "--data_folder")
    if folder and not pathlib.Path(folder).exists():
        raise BadInput(
            f"The folder {folder} does not exist: set data_folder to the "
            "folder that contains the corpus."
        )


def check_keys(arguments: list[str]) -> None:
    """Refuse keys that neither the file nor SpeechBrain has, and repetition.

    Raises
    ------
    BadInput
        Naming the key and, if there is one, a similar one.
    """
    if not arguments or arguments[0].startswith("-"):
        raise BadInput(
            "the first argument must be a hyperparameter file, such as "
            "hparams/corr_wavlm.yaml"
        )
    path, *rest = arguments
    keys = top_level_keys(path)
    names = [a.partition("=")[0] for a in rest if a.startswith("--")]
    for name in names:
        if name[2:] not in RUN_OPTIONS and name[2:] not in keys:
            near = difflib.get_close_matches(name[2:], keys, n=1)
            hint = f"did you mean --{near[0]}? " if near else ""
            raise BadInput(
                f"unknown key {name}: {hint}{path} has {', '.join(keys)}"
            )
        if names.count(name) > 1 and name[2:] not in SWITCHES:
            raise BadInput(f"{name} is given twice: give it once")


def _value(arguments, name):
    """Return the value of an option, or None."""
    for index, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        if key == name:
            return value if equals else "".join(arguments[index + 1 :][:1])
    return None
