"""Known vulnerabilities of the versions in requirements-lock.txt.

    python -m tools.audit

pip-audit asks the Python Packaging Advisory Database about every package that
would be installed on this machine. Exit status: 0; 1 if a package has a known
vulnerability; 2 if the database could not be asked.
"""

import importlib.util
import json
import pathlib
import subprocess
import sys

from modules.errors import BadInput, one_sentence, printable
from tools.lock import NAME

ROOT = pathlib.Path(__file__).parents[1]
COMMAND = (
    "-m pip_audit --strict --disable-pip --require-hashes --format json "
    "--progress-spinner off"
).split()


def ask() -> list[dict]:
    """Return what pip-audit reports of each package.

    Raises
    ------
    BadInput
        If pip-audit is missing or cannot ask the database.
    """
    if importlib.util.find_spec("pip_audit") is None:
        raise BadInput(
            "pip-audit is not installed: pip install -r requirements-audit.txt"
        )
    done = subprocess.run(
        [sys.executable, *COMMAND, "--requirement", NAME],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as problem:
        words = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BadInput(
            "pip-audit cannot ask the database of known vulnerabilities "
            f"({words:.200}): check the network, nothing was compared"
        ) from problem


def findings(packages: list[dict]) -> list[str]:
    """Return a line per known vulnerability.

    Example
    -------
    >>> hole = {"id": "CVE-1", "fix_versions": ["2"]}
    >>> findings([{"name": "a", "version": "1", "vulns": [hole]}])
    ['a 1 has CVE-1: mended in 2']
    """
    return [
        f"{package['name']} {package['version']} has {hole['id']}: mended in "
        f"{', '.join(hole['fix_versions']) or 'no version yet'}"
        for package in packages
        for hole in package["vulns"]
    ]


def main() -> int:
    """Audit from the command line; return the exit status."""
    with one_sentence(resumes=False):
        packages = ask()
    found = findings(packages)
    print("\n".join(map(printable, found)) or "no known vulnerability")
    print(f"{len(packages)} packages of {NAME} were compared")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
