"""locked.txt: every package of constraints.txt with the SHA-256 of its file.

    python -m tools.lock [--output locked.txt]

pip resolves requirements-dev.txt for this machine and reports the file that it
would install of each package, and its digest. `pip install --require-hashes
-r locked.txt` then installs these files and no others; `make audit` compares
them with the known vulnerabilities. The digests are those of one platform.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from modules.errors import BadInput, one_sentence
from modules.files import write_text

ROOT = pathlib.Path(__file__).parents[1]


def report() -> dict:
    """Return pip's report of what it would install here.

    Raises
    ------
    BadInput
        If pip cannot resolve the requirements.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
    command += ["--ignore-installed", "--report", "-"]
    command += ["-r", "requirements-dev.txt", "-c", "constraints.txt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise BadInput(
            f"pip cannot resolve requirements-dev.txt ({last[0]}): check the "
            "network, or the versions in constraints.txt"
        )
    return json.loads(done.stdout)


def lines(installed: list[dict]) -> list[str]:
    """Return a line per package of pip's report.

    Example
    -------
    >>> info = {"hashes": {"sha256": "00"}}
    >>> made = {"url": "https://host/a-1-py3-none-any.whl"}
    >>> made["archive_info"] = info
    >>> of_a = {"metadata": {"name": "A", "version": "1"}}
    >>> lines([of_a | {"download_info": made}])
    ['a==1 --hash=sha256:00']
    """
    found = []
    for package in installed:
        name = package["metadata"]["name"].lower().replace("_", "-")
        version = package["metadata"]["version"].partition("+")[0]
        digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
        found.append(f"{name}=={version} --hash=sha256:{digest}")
    return sorted(found)


def main(arguments=None) -> None:
    """Write the file from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", default="locked.txt")
    options = parser.parse_args(arguments)
    with one_sentence(resumes=False):
        found = lines(report()["install"])
        write_text(options.output, "\n".join(found) + "\n")
        print(f"{options.output}: {len(found)} packages")


if __name__ == "__main__":
    main()
