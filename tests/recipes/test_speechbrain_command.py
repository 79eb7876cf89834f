"""The command that writes the contribution into a clone of SpeechBrain."""

import ast
import os
import pathlib
import re
import subprocess

import pytest
from conftest import ROOT

from modules.errors import BadInput
from recipes.speechbrain import findings
from recipes.speechbrain.__main__ import main
from recipes.speechbrain.clone import check_anchor
from recipes.speechbrain.fix_edits import FIXES
from recipes.speechbrain.pooling_block import (
    NAMES,
    RENAMED,
    SOURCE,
    pooling_block,
)

CLONE = os.environ.get("SPEECHBRAIN_CLONE")


def git(folder, *arguments):
    """Run git with an identity; return its output."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.fixture
def old_clone(tmp_path):
    """Make a repository that looks like an old SpeechBrain."""
    files = {
        "speechbrain/version.txt": "0.5.0\n",
        "speechbrain/nnet/pooling.py": "# poolings\n",
        "tests/unittests/test_pooling.py": "# tests\n",
        "recipes/IEMOCAP/iemocap_prepare.py": "# other code\n",
        "speechbrain/utils/checkpoints.py": "# other code\n",
        "tests/unittests/test_checkpoints.py": "# tests\n",
    }
    folder = tmp_path / "old"
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch", "develop", "old")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "old")
    git(folder, "config", "user.name", "test")
    git(folder, "config", "user.email", "test@localhost")
    return folder


def refusal(arguments, capsys):
    """Run the command, which must refuse; return its sentence."""
    with pytest.raises(SystemExit) as error:
        main([str(argument) for argument in arguments])
    assert error.value.code == 2
    sentence = capsys.readouterr().err.strip()
    assert sentence.startswith("error: ") and "\n" not in sentence
    return sentence


def test_a_folder_that_is_no_clone(tmp_path, capsys):
    sentence = refusal([tmp_path], capsys)
    assert "is not a clone of SpeechBrain" in sentence
    assert "is not a clone" in refusal([tmp_path / "none"], capsys)


def test_a_copy_without_git(old_clone, capsys):
    (old_clone / ".git").rename(old_clone / "no-git")
    assert "is not a git repository" in refusal([old_clone], capsys)


def test_a_dirty_clone(old_clone, capsys):
    (old_clone / "new.txt").write_text("new")
    sentence = refusal([old_clone], capsys)
    assert "1 change(s)" in sentence and "new.txt" in sentence


def test_a_clone_of_another_version_stays_as_it_is(old_clone, capsys):
    sentence = refusal([old_clone], capsys)
    assert "iemocap_prepare.py" in sentence and "seed=12" in sentence
    assert git(old_clone, "status", "--porcelain") == ""
    assert git(old_clone, "branch", "--show-current") == "develop"
    assert git(old_clone, "branch", "--list") == "* develop"


def test_a_branch_that_exists(old_clone, capsys):
    git(old_clone, "branch", "fix-keep-only")
    sentence = refusal([old_clone, "--fix", "keep-only"], capsys)
    assert "has a branch fix-keep-only already" in sentence
    assert "fix-keep-only" in git(old_clone, "branch", "--list")


def test_a_clone_without_a_name_to_commit_with(old_clone, capsys, monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "")
    assert "git var failed" in refusal([old_clone], capsys)
    assert git(old_clone, "branch", "--list") == "* develop"


def test_an_anchor_must_be_there_once():
    check_anchor("a b", "a", "x.py")
    with pytest.raises(BadInput, match="has 'a' 2 times in x.py"):
        check_anchor("a a", "a", "x.py")


def test_the_block_is_cut_out_of_our_module():
    lines = set(SOURCE.read_text(encoding="utf-8").splitlines())
    # Arguments that have a line of their own lose their annotation.
    lines |= {
        re.sub(r"^(\s+\w+): \w+(?: (=) )?", r"\1\2", line) for line in lines
    }
    block = pooling_block()
    for new, old in ((new, old) for old, new in RENAMED.items()):
        block = block.replace(new, old)
    others = [line for line in block.splitlines() if line not in lines]
    # What differs: the header, and definitions that lose annotations.
    assert all(re.match(r"(# |\s*def |$)", line) for line in others)
    changed = pooling_block(
        SOURCE.read_text(encoding="utf-8").replace("+ EPS)", "+ 2 * EPS)")
    )
    assert "+ 2 * CORRELATION_EPS)" in changed


def test_the_block_is_python_3_8_without_annotations():
    tree = ast.parse(pooling_block(), feature_version=(3, 8))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None
            assert not any(arg.annotation for arg in node.args.args)
            assert node.name == "__init__" or ast.get_docstring(node)


def test_annotations_and_defaults():
    source = "\n\n".join(
        f'def {name}(a: int, b: "str | None" = None) -> float:\n    """Do."""'
        for name in NAMES
        if name != "EPS"
    )
    block = pooling_block(f"EPS = 1\n\n{source}\n")
    assert block.count("(a, b=None):") == len(NAMES) - 1


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("def correlations(", "def other(", "does not define correlations"),
        ('    """Number of pairs of channels."""\n', "", "has no docstring"),
    ],
)
def test_a_source_that_cannot_be_used(old, new, words):
    source = SOURCE.read_text(encoding="utf-8")
    assert old in source
    with pytest.raises(BadInput, match=words):
        pooling_block(source.replace(old, new))


def test_every_fix_has_a_text_and_tests():
    for name, fix in FIXES.items():
        text = (ROOT / f"recipes/speechbrain/texts/{name}.md").read_text()
        assert "No breaking changes" in text or "Changes of behaviour" in text
        assert fix.test_names()


def test_what_is_missing_is_said_first():
    text = (ROOT / "recipes/speechbrain/texts/contribution.md").read_text()
    assert text.startswith("**Missing before the merge: a result on IEMOCAP.")


def test_findings_are_still_there(tmp_path):
    """If one fails, SpeechBrain has changed: update the README."""
    encoder = findings.make_random_encoder(tmp_path / "encoder")
    assert findings.normalization_over_padding(encoder) > 0.01
    same, change = findings.weighted_ssl_ignores_lengths(encoder)
    assert same == 0 and change > 0.01
    assert findings.whisper_floor_over_batch(tmp_path / "whisper") > 0.1
    assert findings.statistics_pooling_noise() > 1e-6


@pytest.mark.skipif(not CLONE, reason="SPEECHBRAIN_CLONE is not set")
@pytest.mark.parametrize("name", ["contribution", *FIXES])
def test_the_whole_command(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GIT_AUTHOR_NAME", "test")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "test@localhost")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "test")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "test@localhost")
    git(tmp_path, "clone", "--quiet", CLONE, "clone")
    folder = tmp_path / "clone"
    start = git(folder, "branch", "--show-current")
    fix = [] if name == "contribution" else ["--fix", name]
    status = main([str(folder), *fix])
    output = capsys.readouterr().out
    assert status == 0, output
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "branch", "--show-current") == start
    branch = f"fix-{name}" if fix else "correlation-pooling"
    assert git(folder, "rev-list", "--count", f"{start}..{branch}") == "1"
    text = pathlib.Path(
        re.search(r"Text of the pull request: (.*)", output)[1]
    ).read_text()
    assert "## What does this PR do?" in text
    assert "<!--" not in text and "#<issue_number>" not in text
