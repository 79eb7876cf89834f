"""requirements-lock.txt: the versions of constraints.txt, each with hashes."""

import re
import subprocess
import types

import pytest
from conftest import ROOT

from tools import lock

LOCK = (ROOT / "requirements-lock.txt").read_text(encoding="utf-8")


def pins(text):
    """Return the (package, version) pairs of a file, normalised."""
    found = re.findall(r"^([A-Za-z][\w.-]*)==([^\s;\\]+)", text, re.M)
    return {(re.sub(r"[-_.]+", "-", n).lower(), v) for n, v in found}


def test_the_lock_has_the_versions_that_the_tests_ran_with():
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    locked, tested = pins(LOCK), pins(constraints)
    tested_names = {name for name, _ in tested}
    assert {p for p in locked if p[0] in tested_names} <= tested
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        asked = {re.split(r"[<>=;\s]", line)[0] for line in lines}
        asked = {
            re.sub("[-_.]+", "-", n).lower() for n in asked if n[:1].isalpha()
        }
        assert asked <= {name for name, _ in locked}


def test_every_package_has_hashes_and_none_has_an_address():
    entries = re.sub(r" \\\n", " ", LOCK).splitlines()
    for entry in (line for line in entries if not line.startswith("#")):
        assert re.fullmatch(
            r"[\w.-]+==\S+( ; [^-]*?)?( +--hash=sha256:[0-9a-f]{64})+", entry
        ), entry[:80]
    assert "://" not in LOCK and "index" not in LOCK


@pytest.mark.parametrize("is_there", [True, False])
def test_what_prevents_a_lock_is_one_sentence(
    is_there, tmp_path, monkeypatch, capsys
):
    found = object() if is_there else None
    monkeypatch.setattr(lock.importlib.util, "find_spec", lambda name: found)
    failed = types.SimpleNamespace(returncode=1, stderr="error: no\nnetwork\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(SystemExit) as stopped:
        lock.main([f"--output={tmp_path / 'lock.txt'}"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: uv ") and "\n" not in message
    assert not (tmp_path / "lock.txt").exists()
