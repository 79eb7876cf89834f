"""The driver of jobs, with an engine that is made of plain processes."""

import importlib.metadata
import json
import subprocess
import sys
import types

import pytest
from conftest import ROOT

import cross_validate
from modules.errors import BadInput
from modules.experiments import (
    cluster,
    cluster_jobs,
    engines,
    launcher,
    slurm_engine,
)
from tests.cluster import stub

RUNS = 4


class Processes:
    """An engine whose jobs are processes; the first `lost` never start."""

    name = "processes"
    poll_seconds = 0.0

    def __init__(self, lost=0):
        self.lost, self.submitted, self.alive = lost, [], {}

    def submit(self, key, command):
        self.submitted.append(key)
        if len(self.submitted) > self.lost:
            self.alive[key] = subprocess.Popen(command, cwd=ROOT)
        return str(len(self.submitted))

    def states(self):
        return {
            key: "running"
            for key, process in self.alive.items()
            if process.poll() is None
        }

    def cancel(self, keys):
        for key in keys:
            if key in self.alive:
                self.alive[key].kill()
                self.alive[key].wait()


@pytest.fixture
def stubs(monkeypatch):
    """Have jobs run stubs in place of train.py."""
    monkeypatch.setattr(cluster, "JOB", "tests.cluster.stub_job")


def launch(folder, engine, **options):
    """Run the experiment of stubs."""
    made = cluster.ClusterLauncher(engine, folder, **options)
    try:
        return launcher.launch(stub.stub_plan(folder, RUNS), made)
    finally:
        made.close()


@pytest.mark.usefixtures("stubs")
def test_jobs_take_runs_after_the_parts_of_the_encoding(tmp_path):
    engine = Processes()
    assert launch(tmp_path, engine, jobs=2, encode_jobs=3) == []
    assert len(engine.submitted) == 2, "as many as work side by side"
    parts = (tmp_path / "encoded.txt").read_text().splitlines()
    assert sorted(parts) == ["(0, 3)", "(1, 3)", "(2, 3)"]
    times = [p.stat().st_mtime for p in tmp_path.glob("stub/*/*/run.log")]
    assert min(times) > (tmp_path / "encoded.txt").stat().st_mtime
    assert len(stub.digests(tmp_path)) == RUNS
    left = sorted(path.name for path in (tmp_path / "jobs").iterdir())
    assert left == ["driver.lock"]


@pytest.mark.usefixtures("stubs")
def test_what_a_job_has_lost_is_queued_again(tmp_path):
    engine = Processes(lost=2)
    assert launch(tmp_path, engine, jobs=1) == []
    assert len(engine.submitted) == 2 + 1
    assert len(stub.digests(tmp_path)) == RUNS


@pytest.mark.usefixtures("stubs")
def test_a_job_may_end_after_some_runs(tmp_path):
    engine = Processes()
    assert launch(tmp_path, engine, jobs=1, runs_per_job=2) == []
    assert len(engine.submitted) == 3, "one encodes and runs one"
    assert len(stub.digests(tmp_path)) == RUNS


def test_nodes_that_cannot_write_are_one_sentence(tmp_path):
    engine = Processes(lost=100)
    with pytest.raises(BadInput, match="on a disk that all nodes share"):
        launch(tmp_path, engine)
    assert len(engine.submitted) == cluster_jobs.MOST_UNSTARTED


@pytest.mark.usefixtures("stubs")
def test_a_run_that_kills_its_job_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_KILLED", "seed=2")
    engine = Processes()
    failed = launch(tmp_path, engine, jobs=2)
    # In the order in which their jobs ended.
    assert sorted((run.fold, run.seed) for run in failed) == [(1, 2), (2, 2)]
    sentence = (failed[0].folder / "failed.txt").read_text()
    assert f"ended {cluster.MOST_TRIES} times without a result" in sentence
    jobs = len(engine.submitted)
    assert 1 + 2 * cluster.MOST_TRIES <= jobs <= 2 + 2 * cluster.MOST_TRIES


@pytest.mark.usefixtures("stubs")
def test_a_failed_run_is_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_FAILS", "seed=2")
    engine = Processes()
    failed = launch(tmp_path, engine, jobs=1)
    # In the order in which their jobs ended.
    assert sorted((run.fold, run.seed) for run in failed) == [(1, 2), (2, 2)]
    assert "it fails (log: " in (failed[0].folder / "failed.txt").read_text()
    assert len(engine.submitted) == 1
    monkeypatch.delenv("STUB_FAILS")
    assert launch(tmp_path, engine, jobs=1) == [], "the next command tries it"


@pytest.mark.usefixtures("stubs")
def test_a_driver_started_again_submits_nothing_that_still_runs(
    tmp_path, monkeypatch
):
    """The first driver dies, as the engine says, just after a submission."""
    monkeypatch.setenv("STUB_SECONDS", "0.5")
    engine = Processes()
    submit = engine.submit

    def submit_and_die(key, command):
        submit(key, command)
        if len(engine.submitted) == 2:
            raise MemoryError
        return "1"

    cancel, engine.cancel = engine.cancel, lambda keys: None
    engine.submit = submit_and_die
    with pytest.raises(MemoryError):
        launch(tmp_path, engine, jobs=2)
    engine.submit, engine.cancel = submit, cancel
    assert launch(tmp_path, engine, jobs=2) == []
    assert len(engine.submitted) == 2
    runs = [path for path in tmp_path.glob("stub/*/*/run.log")]
    assert len(runs) == RUNS
    for path in runs:
        assert path.read_text().count("step 0") == 1, "each ran once"


def test_two_drivers_and_two_engines_are_refused(tmp_path):
    made = cluster.ClusterLauncher(Processes(), tmp_path)
    with pytest.raises(BadInput, match="another command is at work"):
        cluster.ClusterLauncher(Processes(), tmp_path)
    made.close()
    path = tmp_path / "jobs/emotion-1.json"
    path.write_text(json.dumps({"engine": "slurm"}))
    with pytest.raises(BadInput, match="start with --launcher slurm"):
        cluster_jobs.check_jobs(tmp_path, "local")
    cluster_jobs.check_jobs(tmp_path, "slurm")
    path.with_suffix(".ended").write_text("[]")
    cluster_jobs.check_jobs(tmp_path, "local")


def test_a_node_without_the_folder_is_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", cluster.JOB, tmp_path / "other", "key"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "choose an output folder on a disk that all" in done.stderr


def version_of(monkeypatch, version):
    """Have a package be of a version, or missing."""

    def answer(name):
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", answer)


@pytest.mark.parametrize("name", ["slurm", "ray"])
def test_an_engine_that_is_missing_or_another_version(name, monkeypatch):
    version_of(monkeypatch, None)
    with pytest.raises(BadInput, match="which is not installed: pip install"):
        engines.check_package(name)
    for version in ("0.9.1", "99.0"):
        version_of(monkeypatch, version)
        with pytest.raises(BadInput, match=f"not {version}: pip install"):
            engines.check_package(name)


def test_no_slurm_here(monkeypatch, tmp_path):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="found no Slurm here"):
        engines.make_engine("slurm", tmp_path, 1)
    for name in ("sbatch", "sinfo"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    with pytest.raises(BadInput, match="does not answer"):
        engines.make_engine("slurm", tmp_path, 1)


def test_a_job_that_slurm_holds_is_lost(monkeypatch):
    lines = "7|emotion-a|PENDING|Resources\n8|emotion-b|RUNNING|None\n"
    held = "9|emotion-c|PENDING|launch failed requeued held\n"
    answer = lines + held
    monkeypatch.setattr(slurm_engine, "_output", lambda command: answer)
    slurm = object.__new__(slurm_engine.Slurm)
    assert slurm.states() == {"emotion-a": "queued", "emotion-b": "running"}


def test_no_ray_here(monkeypatch, tmp_path):
    ray = types.SimpleNamespace()

    def refuse(address, **options):
        raise ConnectionError(f"nothing at\n{address}")

    ray.init = refuse
    monkeypatch.setitem(sys.modules, "ray", ray)
    version_of(monkeypatch, "2.60.0")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(BadInput, match="at 127.0.0.1:1 .nothing at 127.0.0.1"):
        engines.make_engine("ray", tmp_path, 1)


def test_options_that_are_wrong(capsys):
    with pytest.raises(BadInput, match="'partition': write it as"):
        engines.parse_options("partition")
    with pytest.raises(SystemExit):
        cross_validate.main(["x.yaml", "--runs_per_job=2"])
    assert "--runs_per_job needs --launcher" in capsys.readouterr().err
