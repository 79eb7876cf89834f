"""Runs side by side: failures, interruptions, the order of the runs."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

import cross_validate
from modules.experiments import launcher, processes
from modules.experiments.plan import FAILED, LOG
from modules.experiments.read_plan import read_plan

# Imports what runs are forked with. A question for a GPU gets the answer of a
# PyTorch that was built with CUDA.
ASKED_FOR_A_GPU = """
import sys, torch
from unittest.mock import patch
asked = []
ask = torch.cuda.is_available
def is_available():
    nvml = lambda: asked.append("NVML") or 0
    cuda = lambda: asked.append("CUDA") or 0
    with (
        patch("torch.cuda._is_compiled", lambda: True),
        patch("torch.cuda._device_count_nvml", nvml),
        patch("torch._C._cuda_getDeviceCount", cuda, create=True),
    ):
        return ask()
torch.cuda.is_available = is_available
for name in sys.argv[1:]:
    __import__(name)
print(asked)
"""


def snapshot(folder):
    """Return when each results.json was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.glob("*/fold_*/seed_*/results.json")
    }


def test_a_failed_run_is_reported_and_the_others_go_on(
    table, table_command, capsys
):
    refused, lost = table / "s_0/fold_1/seed_1", table / "s_0.1/fold_2/seed_2"
    (refused / "results.json").unlink()
    settings = json.loads((refused / "settings.json").read_text())
    (refused / "settings.json").write_text(json.dumps(settings | {"lr": 9.0}))
    shutil.rmtree(lost)
    before = snapshot(table)
    assert cross_validate.main(table_command(table)) == 1
    said = capsys.readouterr()
    assert "FAILED s 0, fold 1, seed 1: error: " in said.out + said.err
    assert "lr 9.0 instead of 0.0001" in (refused / LOG).read_text()
    assert (lost / "results.json").exists(), "the rest goes on"
    assert before.items() <= snapshot(table).items()
    page = (table / "report.html").read_text()
    assert "s 0, fold 1, seed 1" in page and "lr 9.0 instead" in page
    # Mended, the same command makes it whole.
    (refused / "settings.json").write_text(json.dumps(settings))
    assert cross_validate.main(table_command(table)) == 0
    assert len(snapshot(table)) == 12


def kill_itself(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("no_report")
def test_a_killed_run_has_failed(table, table_command, monkeypatch, capsys):
    run = table / "s_0/fold_2/seed_2"
    (run / "results.json").unlink()
    monkeypatch.setattr(processes, "run_one", kill_itself)
    assert cross_validate.main(table_command(table)) == 1
    assert "ended by SIGKILL" in (run / FAILED).read_text()
    assert "3/4" in capsys.readouterr().out


@pytest.mark.usefixtures("no_report")
def test_nothing_initialises_cuda_before_runs_are_forked(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    processes.prepare_forks(threads=1)
    asked = subprocess.run(
        [sys.executable, "-c", ASKED_FOR_A_GPU, *processes.PRELOADED],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "NVML" in asked, "the question that matters was asked"
    assert "CUDA" not in asked


def wait_for(condition):
    """Wait until something happens in another process."""
    patience = time.monotonic() + 240
    while not condition() and time.monotonic() < patience:
        time.sleep(0.05)


def locked(log):
    """Return whether a run is at work: it locks its log."""
    if not log.exists():
        return False
    with open(log) as lines:
        try:
            fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize(
    "end, status",
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.usefixtures("no_report")
def test_interrupted_it_goes_on_where_it_stopped(
    table_command, tmp_path, end, status
):
    systems = [{"name": "s 0", "label_smoothing": 0.0}]
    command = table_command(
        tmp_path / "out", seeds=[1], systems=systems, number_of_epochs=40
    )
    process = subprocess.Popen(
        [sys.executable, "cross_validate.py", *command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has its background jobs ignore Ctrl-C, and this may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    log = tmp_path / "out/s_0/fold_1/seed_1" / LOG
    wait_for(lambda: locked(log))
    process.send_signal(end)
    _, said = process.communicate()
    assert process.returncode == status, said
    assert end == signal.SIGKILL or "goes on where this one stopped" in said
    wait_for(lambda: not locked(log))
    assert not locked(log), "the run ends with the command"
    assert not (log.parent / "results.json").exists()
    if end == signal.SIGINT:
        assert cross_validate.main(command) == 0
        assert len(snapshot(tmp_path / "out")) == 2


def die_at_once(*_):
    sys.exit(3)


@pytest.mark.usefixtures("no_report")
def test_a_run_that_dies_before_its_log_is_open_has_failed(
    table, table_command, monkeypatch
):
    run = table / "s_0/fold_2/seed_2"
    (run / "results.json").unlink()
    (run / LOG).unlink()
    monkeypatch.setattr(processes, "run_one", die_at_once)
    assert cross_validate.main(table_command(table)) == 1
    assert "exit status 3 before it could" in (run / FAILED).read_text()


def test_what_reads_the_table_comes_after_what_it_reads(tmp_path, monkeypatch):
    """However many runs there are side by side."""
    path = tmp_path / "table.yaml"
    path.write_text(
        """
title: two stages
hparams: hparams/ecapa.yaml
systems:
  - name: reads
    encoder_hub: <experiment>/first_one/fold_<test_fold>/seed_<seed>/encoder
  - {name: first one, hparams: hparams/finetune.yaml}
late_fusion:
  - {name: fused, of: [reads, first one]}
seeds: [1]
"""
    )
    plan = read_plan(path, ["--data_folder=/nowhere"], None, tmp_path / "out")
    first = plan.runs[5].folder
    assert first == tmp_path / "out/first_one/fold_1/seed_1"
    assert f"--encoder_hub={first}/encoder" in plan.arguments(plan.runs[0])
    rounds = []

    class Rounds:
        """Notes what runs together."""

        def encode(self, encodings):
            self.run([one.attempts[0] for one in encodings], None)

        def run(self, tasks, show):
            rounds.append({task.folder.parts[-3] for task in tasks})
            return []

    def note_fused(plan, runs):
        rounds.append({run.system.name for run in runs})
        yield from []

    monkeypatch.setattr(launcher, "_fuse", note_fused)
    launcher.launch(plan, Rounds())
    encoded, *trained = rounds
    assert encoded == {"first_one"}
    assert trained == [{"first_one"}, {"reads"}, {"fused"}]
