"""`make audit` compares, or fails with one sentence."""

import json
import subprocess
import types

import pytest

from tools import audit


def pretend(monkeypatch, stdout="", stderr=""):
    """Let pip-audit print something."""
    done = types.SimpleNamespace(stdout=stdout, stderr=stderr, returncode=1)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: done)
    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda name: done)


def test_a_known_vulnerability_fails(monkeypatch, capsys):
    hole = {"id": "CVE-2019-1", "fix_versions": ["2.0"]}
    packages = [
        {"name": "a", "version": "1.0", "vulns": [hole]},
        {"name": "b", "version": "1.0", "vulns": []},
    ]
    pretend(monkeypatch, json.dumps({"dependencies": packages}))
    assert audit.main() == 1
    assert "a 1.0 has CVE-2019-1: mended in 2.0" in capsys.readouterr().out
    pretend(monkeypatch, json.dumps({"dependencies": packages[1:]}))
    assert audit.main() == 0


@pytest.mark.parametrize(
    "stdout, stderr",
    [
        ("", "Traceback\nConnectionError: no route\n"),
        ("", ""),
        ("[]", "ERROR: a could not be audited"),
    ],
)
def test_a_database_that_cannot_be_asked_is_one_sentence(
    stdout, stderr, monkeypatch, capsys
):
    pretend(monkeypatch, stdout, stderr)
    with pytest.raises(SystemExit) as stopped:
        audit.main()
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: pip-audit cannot ask")
    assert message.endswith("nothing was compared") and "\n" not in message
