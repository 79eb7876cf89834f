"""Slurm and Ray on this machine, under kills: `make cluster`.

Each runs as a cluster of two cores. The results are compared with those of
the local launcher, byte by byte.
"""

import pathlib
import random
import re
import tempfile

import pytest

import cross_validate
from tests.cluster import chaos, slurm_node, stub
from tests.cluster.ray_nodes import RayNodes
from tests.cluster.slurm_node import wait_for

pytestmark = pytest.mark.cluster


RUNS = 20


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Return what the local launcher gives."""
    return chaos.run_locally(tmp_path_factory.mktemp("local") / "out", RUNS)


@pytest.fixture(scope="module")
def node():
    """Start Slurm, or skip with the reason."""
    pytest.importorskip("submitit", reason="no submitit")
    if reason := slurm_node.missing() or slurm_node.cannot_start():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        with slurm_node.SlurmNode(pathlib.Path(folder) / "a") as made:
            yield made


@pytest.fixture
def ray_nodes(monkeypatch):
    """Start Ray, or skip with the reason."""
    pytest.importorskip("ray", reason="no ray")
    monkeypatch.setenv("STUB_SECONDS", chaos.STEP_SECONDS)
    with RayNodes() as made:
        yield made


def test_slurm_gives_the_same_under_kills(node, local, tmp_path):
    folder = tmp_path / "out"
    kills = chaos.slurm_kills(node, folder, random.Random(0))
    done = chaos.disturb(folder, "slurm", kills, RUNS, 8, 1, node.resume)
    assert stub.digests(folder) == local
    assert set(done) == set(kills) and len(done) == 8, done
    log = (node.folder / "slurmctld.log").read_text()
    assert re.search(r"preempted JobId=\d+ has been requeued", log)


def test_slurm_keeps_the_jobs_of_a_killed_driver(node, local, tmp_path):
    folder = tmp_path / "out"
    driver = chaos.start_driver(folder, "slurm", RUNS)
    jobs = folder / "jobs"
    wait_for(lambda: len(stub.digests(folder)) and list(jobs.glob("*.started")))
    driver.kill()
    driver.wait()
    before = {path.stem for path in jobs.glob("emotion-*.json")}
    assert before
    assert chaos.start_driver(folder, "slurm", RUNS).wait() == 0
    assert stub.digests(folder) == local
    for path in folder.glob("stub/*/*/run.log"):
        assert path.read_text().count("step 0") == 1, "each ran once"


def test_ray_gives_the_same_under_kills(ray_nodes, local, tmp_path):
    folder = tmp_path / "out"
    kills = chaos.ray_kills(ray_nodes, folder, random.Random(0))
    done = chaos.disturb(folder, "ray", kills, RUNS, 6, 1)
    assert stub.digests(folder) == local
    assert set(done) == set(kills) and len(done) == 6, done


@pytest.mark.slow
@pytest.mark.usefixtures("no_report", "node")
def test_slurm_trains_what_the_local_launcher_trains(
    table_command, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    systems = [{"name": "s 0", "label_smoothing": 0.0}]
    options = {"seeds": [1], "systems": systems, "published": None}
    found = []
    for name in ("local", "slurm"):
        folder = tmp_path / name
        command = table_command(folder, f"--launcher={name}", **options)
        assert cross_validate.main([*command, "--jobs=2"]) == 0
        paths = sorted(folder.glob("s_0/*/*/predictions.csv"))
        found.append([path.read_bytes() for path in paths])
    assert len(found[0]) == 2 and found[0] == found[1]
