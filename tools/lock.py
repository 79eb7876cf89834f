"""requirements-lock.txt: every package with the SHA-256 of all of its files.

    python -m tools.lock [--output requirements-lock.txt]

uv resolves requirements-dev.txt and requirements-cluster.txt within
constraints.txt for Python 3.10 and later on all platforms. Then `pip install --require-hashes -r
requirements-lock.txt` installs these files and no others; `make audit` compares
them with the known vulnerabilities. Run it again after every change of
requirements*.txt or constraints.txt.
"""

import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

from modules.errors import BadInput, one_sentence, using
from modules.files import write_text

ROOT = pathlib.Path(__file__).parents[1]
NAME = "requirements-lock.txt"
HEADER = """\
# Made by python -m tools.lock: do not edit. For Python 3.10 and later:
# pip install --require-hashes -r requirements-lock.txt
"""
# Without the settings of this machine, such as another index.
COMMAND = (
    "pip compile requirements-dev.txt requirements-cluster.txt "
    "--constraints constraints.txt "
    "--universal --python-version 3.10 --generate-hashes --no-header "
    "--no-annotate --no-config --quiet"
).split()


def resolve() -> str:
    """Return a line per package, and one per hash of its files.

    Raises
    ------
    BadInput
        If uv is missing or cannot resolve the requirements.
    """
    if importlib.util.find_spec("uv") is None:
        raise BadInput(
            "uv is not installed: pip install -r requirements-audit.txt"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "lock.txt"
        done = subprocess.run(
            [sys.executable, "-m", "uv", *COMMAND, "--output-file", path],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            words = " ".join(done.stderr.split()) or "no message"
            raise BadInput(
                f"uv cannot resolve requirements-dev.txt ({words:.200}): check "
                "the network, or the versions in constraints.txt"
            )
        return path.read_text(encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Write the file from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", default=NAME)
    options = parser.parse_args(arguments)
    with one_sentence(resumes=False), using(options.output):
        lock = resolve()
        write_text(options.output, HEADER + lock)
        packages = [line for line in lock.splitlines() if line[0] != " "]
        print(f"{options.output}: {len(packages)} versions of packages")


if __name__ == "__main__":
    main()
