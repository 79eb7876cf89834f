"""The options of predict.py for a list that several workers share."""

import os

from modules.errors import BadInput
from modules.inference.formats import check_pyarrow

# What needs all answers in one place, or belongs to few recordings.
_NOT_IN_BULK = (
    "csv_file labels_map speakers adapt adapt_to embeddings plot live"
)
_BULK_ALONE = ("workers", "part_hours", "launcher_options")


def add_bulk(parser, positive) -> None:
    """Add the options to a parser; `positive` makes parsers of numbers."""
    group = parser.add_argument_group(
        "many hours",
        "predict.py MODEL LIST|FOLDER --output FOLDER --launcher ...: LIST is "
        "a CSV file with a column path (and duration, in seconds), or a text "
        "file with a path or address on each line",
    )
    group.add_argument(
        "--launcher",
        choices=["local", "slurm", "ray"],
        help="where the workers are: on this machine, or jobs of a cluster",
    )
    group.add_argument(
        "--workers",
        type=positive(int),
        help="processes of --jobs cores (default: 1 each)",
    )
    group.add_argument(
        "--part_hours",
        type=positive(float),
        help="of audio in a part, which is what a kill costs (default: 0.5)",
    )
    group.add_argument(
        "--launcher_options",
        metavar="KEY=VALUE,...",
        help="the engine's own: partition=gpu,timeout_min=60,gpus_per_node=1 "
        "(Slurm) or num_gpus=1 (Ray)",
    )


def check_bulk(options) -> None:
    """Refuse options that contradict each other.

    Raises
    ------
    BadInput
        Naming the option.
    """
    if options.launcher is None:
        for name in _BULK_ALONE:
            if getattr(options, name) is not None:
                raise BadInput(f"--{name} needs --launcher: add it")
        return
    for name in _NOT_IN_BULK.split():
        if getattr(options, name):
            raise BadInput(
                f"--launcher writes the answers alone, part by part: leave "
                f"out --{name}"
            )
    if options.output is None:
        raise BadInput("--launcher needs --output, the folder of the answers")
    if len(options.paths) != 1:
        raise BadInput(
            "--launcher takes one list or one folder of recordings: write a "
            "list of all of them"
        )
    if options.launcher == "local" and options.launcher_options:
        raise BadInput("--launcher_options needs --launcher slurm or ray")
    if os.path.exists(options.output) and not os.path.isdir(options.output):
        raise BadInput(
            f"--output {options.output} is a file, and --launcher writes a "
            "folder: choose another place"
        )
    check_pyarrow("--launcher")
