"""Where predict.py writes to: refused before anything is computed."""

import argparse
import os
import pathlib

from modules.errors import BadInput
from modules.files import check_vacant
from modules.inference.audformat_output import SUFFIX
from modules.inference.options import suffix_of


def check_places(options: argparse.Namespace) -> None:
    """Refuse places that cannot be written to, before anything is computed.

    The folder for plots is made.

    Raises
    ------
    BadInput
        Naming the option.
    """
    for option in ("output", "embeddings"):
        place = getattr(options, option)
        if place is None:
            continue
        path = pathlib.Path(place)
        try:
            if option == "output" and suffix_of(place) == SUFFIX:
                check_vacant(path)
            elif path.exists() and not path.is_file():
                raise BadInput(f"--{option} {place} is not a file: rename it")
            # As `whole_file` will do, whose name is a little longer.
            probe = path.with_name(f".{path.name}.{os.getpid()}")
            probe.touch()
            probe.unlink()
        except (OSError, ValueError) as problem:
            raise _unwritable(f"--{option}", place, problem) from problem
    if options.plot is not None:
        try:
            os.makedirs(options.plot, exist_ok=True)
        except (OSError, ValueError) as problem:
            raise _unwritable("--plot", options.plot, problem) from problem


def _unwritable(option, place, problem):
    """Return the sentence for a place that cannot be written to."""
    if isinstance(problem, BadInput):
        return problem
    reason = getattr(problem, "strerror", None) or problem
    return BadInput(
        f"{option} {place} cannot be written ({reason}): choose another place"
    )
