"""Write the contribution, or one fix, into a clone of SpeechBrain.

    python -m recipes.speechbrain CLONE
    python -m recipes.speechbrain CLONE --fix frozen-encoder

It makes a branch, writes the files, runs SpeechBrain's own checks, and
commits if all of them pass. Nothing is sent anywhere.
"""

import argparse
import pathlib
import sys
import tempfile

from modules.errors import BadInput, one_sentence
from recipes.speechbrain import checks, contribution
from recipes.speechbrain.clone import Clone
from recipes.speechbrain.environment import make_environment
from recipes.speechbrain.fix_edits import FIXES
from recipes.speechbrain.pull_request import write_pull_request

# Aborts now and then with torch 2.13, also without any change of ours: the test
# does not destroy its process group.
_UNSTABLE = "tests/unittests/test_checkpoints.py::test_parallel_checkpoint"
# Of the output of a check that failed.
_SHOWN_LINES = 30


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Arguments
    ---------
    arguments : list of str
        Of the command line.

    Returns
    -------
    int
        0 if all checks passed, 1 if one did not.
    """
    parser = argparse.ArgumentParser(
        prog="python -m recipes.speechbrain",
        description="Write the contribution, or one fix, into a clone.",
    )
    parser.add_argument("clone", help="a clean clone of SpeechBrain's develop")
    parser.add_argument("--fix", choices=sorted(FIXES), help="one of six fixes")
    options = parser.parse_args(arguments)
    with one_sentence(resumes=False):
        clone = Clone(options.clone)
        print(f"SpeechBrain {clone.version} at {clone.start[:9]}", flush=True)
        try:
            return _write_and_check(clone, options.fix)
        except (BadInput, KeyboardInterrupt):
            clone.restore()
            raise


def _write_and_check(clone, fix):
    """Write the contribution or a fix on a branch, check it, commit it."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder).resolve()
        if fix:
            name, title = fix, FIXES[fix].title
            passed = _run_fix(clone, fix, folder)
        else:
            name, title = "contribution", contribution.TITLE
            passed = _run_contribution(clone, folder)
    return _finish(clone, name, title, passed)


def _run_contribution(clone, folder):
    """Write the contribution and run all checks; return whether all passed."""
    clone.branch(contribution.BRANCH)
    contribution.write_contribution(clone)
    environment = make_environment(folder / "venv", clone.folder)
    encoder = checks.make_random_encoder(folder / "random-encoder")
    commands = {
        **checks.lint_checks(clone),
        **checks.test_checks(),
        "recipe runner": checks.recipe_check(encoder),
    }
    return _run(commands, clone, environment)


def _run_fix(clone, name, folder):
    """Write a test, see it fail, write the fix, see it pass."""
    fix = FIXES[name]
    clone.branch(f"fix-{name}")
    fix.write_test(clone)
    environment = make_environment(folder / "venv", clone.folder)
    command = [*checks.PYTEST, fix.target, "-k", fix.test_names()]
    before = checks.run_check("test", command, clone, environment)
    # Not only "exit status 1": the tests must have run.
    fails = "failed" in before.last_line and "error" not in before.last_line
    _report("test before the fix fails", fails, before)
    fix.edit(clone)
    commands = {
        "test after the fix": command,
        "all tests of the file": [
            *(*checks.PYTEST, fix.target),
            f"--deselect={_UNSTABLE}",
        ],
        **checks.lint_checks(clone),
        "tests/consistency": checks.test_checks()["tests/consistency"],
    }
    return _run(commands, clone, environment) and fails


def _run(commands, clone, environment):
    """Run checks, print one line of each, return whether all passed."""
    passed = True
    for name, command in commands.items():
        result = checks.run_check(name, command, clone, environment)
        passed &= _report(name, result.passed, result)
    return passed


def _report(name, passed, result):
    """Print how a check ended, the end of its output if badly."""
    mark = "passed" if passed else "FAILED"
    print(f"{mark}  {name}: {result.last_line}", flush=True)
    if not passed:
        lines = result.output.splitlines()
        errors = [line for line in lines[:-_SHOWN_LINES] if "ERROR" in line]
        print("\n".join(errors + lines[-_SHOWN_LINES:]), flush=True)
    return passed


def _finish(clone, name, title, passed):
    """Commit what passed, and print what is left to do."""
    branch = clone.git("branch", "--show-current")
    back = f"git -C {clone.folder} {' '.join(clone.back)}"
    if not passed:
        print(
            f"A check failed: the branch {branch} has the files, not "
            f"committed. To leave it: {back}; git -C {clone.folder} clean "
            f"--force -d; git -C {clone.folder} branch -D {branch}"
        )
        return 1
    clone.commit(title)
    print(clone.git("diff", "--stat", f"{clone.start}..{branch}"))
    clone.git(*clone.back)
    print(f"Committed on the branch {branch}.")
    print(f"Text of the pull request: {write_pull_request(clone, name, title)}")
    if name == "contribution":
        print("Still empty:")
        for line in contribution.what_is_empty():
            print(f"- {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
