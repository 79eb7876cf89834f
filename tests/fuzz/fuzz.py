"""Coverage-guided fuzzing of what reads other people's files.

    pip install atheris
    python -m tests.fuzz.fuzz TARGET [-max_total_time=300] [FOLDER OF INPUTS]

TARGET is one of tests/fuzz/targets.py. `BadInput` is the right end of a bad
input; any other exception stops the fuzzer, which writes the input to
``crash-*``. Options are those of libFuzzer.
"""

import logging
import pathlib
import sys
import warnings

import atheris

with atheris.instrument_imports(
    include=["modules", "data_prep", "csv", "json", "yaml"]
):
    from modules.errors import BadInput
    from tests.fuzz.targets import SEEDS, TARGETS


def main() -> None:
    """Fuzz from the command line."""
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")

    def one(data):
        try:
            target(data)
        except BadInput as problem:
            if len(str(problem).splitlines()) > 1:
                raise AssertionError(str(problem)) from problem

    folders = [option for option in options if not option.startswith("-")]
    if folders:
        pathlib.Path(folders[0]).mkdir(parents=True, exist_ok=True)
    limits = ["-rss_limit_mb=4096", "-timeout=60"]
    seeds = [str(SEEDS / name)]
    atheris.Setup([sys.argv[0], *limits, *options, *seeds], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
