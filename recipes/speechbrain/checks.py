"""SpeechBrain's own checks, run on a clone."""

import dataclasses
import pathlib
import subprocess
import sys

from recipes.speechbrain.clone import Clone
from recipes.speechbrain.contribution import POOLING, UNIT_TEST, YAML

# Longer than any check takes on two cores.
_TIMEOUT = 1800
# The environment's python, and nothing left in the clone.
PYTEST = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
# Runs the recipe of one row as SpeechBrain's script .run-recipe-tests.sh does.
_RUNNER = """
import glob
import sys
from tests.utils.recipe_tests import run_recipe_tests
passed = run_recipe_tests(
    filters_fields=["Hparam_file"],
    filters=[[{yaml!r}]],
    run_opts="--device=cpu --ssl_hub={encoder}",
)
for path in glob.glob("tests/tmp/IEMOCAP_row_*/stderr.txt"):
    with open(path, encoding="utf-8") as file:
        print(file.read())
print("TEST PASSED" if passed else "TEST FAILED!")
sys.exit(not passed)
"""


@dataclasses.dataclass(frozen=True)
class Result:
    """How one check ended.

    Arguments
    ---------
    name : str
        Of the check.
    passed : bool
        Whether it passed.
    last_line : str
        The last line that it printed.
    output : str
        Everything that it printed.
    """

    name: str
    passed: bool
    last_line: str
    output: str


def run_check(
    name: str, command: list[str], clone: Clone, environment: dict
) -> Result:
    """Run one command in the clone.

    Arguments
    ---------
    name : str
        Of the check.
    command : list of str
        What to run.
    clone : Clone
        Where.
    environment : dict
        Environment variables.

    Returns
    -------
    Result
        How it ended.
    """
    done = subprocess.run(
        command,
        cwd=clone.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT,
    )
    lines = done.stdout.strip().splitlines()
    last_line = lines[-1].strip("= ") if lines else "no findings"
    return Result(name, done.returncode == 0, last_line, done.stdout)


def lint_checks(clone: Clone) -> dict[str, list[str]]:
    """Return the commands of the linters, for all files as theirs.

    Spelling is checked in the changed files: SpeechBrain's own
    hook is given those too.

    Returns
    -------
    dict
        Name -> command.
    """
    tracked = clone.git("ls-files").splitlines()
    new = clone.git("ls-files", "--others", "--exclude-standard").splitlines()
    changed = clone.git("diff", "--name-only", "HEAD").splitlines() + new
    scripts = [p for p in tracked + new if p.endswith(".py")]
    yamls = [p for p in tracked + new if p.endswith((".yaml", ".yml"))]
    # The running interpreter's tools; the environment has no scripts.
    tool = [sys.executable, "-m"]
    return {
        "ruff check": [*tool, "ruff", "check", *scripts],
        "ruff format": [*tool, "ruff", "format", "--check", *scripts],
        "yamllint": [*tool, "yamllint", "--no-warnings", *yamls],
        "codespell": [
            *(*tool, "codespell_lib"),
            "--ignore-words=.dict-speechbrain.txt",
            *changed,
        ],
    }


def test_checks() -> dict[str, list[str]]:
    """Return the commands of the consistency tests and of our unit test."""
    return {
        "tests/consistency": [*PYTEST, "tests/consistency"],
        "unit test": [*PYTEST, UNIT_TEST],
        "doctests": [*PYTEST, "--doctest-modules", POOLING],
    }


def recipe_check(encoder: pathlib.Path) -> list[str]:
    """Return the command that runs the recipe of our row.

    Arguments
    ---------
    encoder : pathlib.Path
        A small encoder with random weights.
    """
    return ["python", "-c", _RUNNER.format(yaml=YAML, encoder=encoder)]


def make_random_encoder(folder: pathlib.Path) -> pathlib.Path:
    """Make a WavLM with random weights, small and quick.

    Arguments
    ---------
    folder : pathlib.Path
        Where it goes.

    Returns
    -------
    pathlib.Path
        The folder.
    """
    import torch
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = WavLMConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    WavLMModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder
