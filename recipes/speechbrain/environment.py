"""A virtual environment in which `import speechbrain` finds the clone.

SpeechBrain's recipe runner sets PYTHONPATH itself and starts `python`, so
only a virtual environment can give it the clone. Nothing is installed: two
lines of a .pth file lead to the clone and to what the running interpreter
has.
"""

import os
import pathlib
import site
import subprocess
import venv

from modules.errors import BadInput


def make_environment(folder: pathlib.Path, clone: pathlib.Path) -> dict:
    """Make the environment.

    Arguments
    ---------
    folder : pathlib.Path
        Where it goes; must be empty or new.
    clone : pathlib.Path
        The clone of SpeechBrain.

    Returns
    -------
    dict
        Environment variables; the first `python` on PATH is the new one.

    Raises
    ------
    BadInput
        If another speechbrain is found first.
    """
    venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(folder)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    packages = subprocess.run(
        [
            python,
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    paths = [str(clone), *site.getsitepackages()]
    pathlib.Path(packages, "clone.pth").write_text("\n".join(paths) + "\n")
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    for variable in ("PYTHONPATH", "PYTHONHOME"):
        environment.pop(variable, None)
    _check_import(python, environment, clone, folder)
    return environment


def _check_import(python, environment, clone, folder):
    """Refuse an environment in which another speechbrain is found first."""
    result = subprocess.run(
        [python, "-c", "import speechbrain; print(speechbrain.__file__)"],
        capture_output=True,
        text=True,
        env=environment,
        # Not the clone, where the current folder would be found first.
        cwd=folder,
    )
    found = result.stdout.strip().split("\n")[-1]
    if not found.startswith(str(clone)):
        reason = found or result.stderr.strip().split("\n")[-1]
        raise BadInput(
            f"the clone {clone} cannot be imported ({reason}): install "
            "requirements.txt into the interpreter that runs this command"
        )
