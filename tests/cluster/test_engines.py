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
from tests.cluster.slurm_node import slurm, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Return what the local launcher gives."""
    folder = tmp_path_factory.mktemp("local") / "out"
    assert chaos.start_driver(folder, "local", STUB_SECONDS="0").wait() == 0
    found = stub.digests(folder)
    assert len(found) == chaos.RUNS
    return found


@pytest.fixture(scope="module")
def node():
    """Start Slurm, or skip with the reason."""
    pytest.importorskip("submitit", reason="no submitit")
    if reason := slurm_node.missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        with slurm_node.SlurmNode(pathlib.Path(folder) / "a") as made:
            yield made


@pytest.fixture
def ray_cluster(monkeypatch):
    """Start two raylets of one core each, or skip with the reason."""
    pytest.importorskip("ray", reason="no ray")
    from ray.cluster_utils import Cluster

    # Else this machine's other work, if there is any, starves the workers.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    own = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = Cluster(True, head_node_args=own | {"include_dashboard": False})
    made.second = made.add_node(**own)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    made.shutdown()


def test_slurm_gives_the_same_under_kills(node, local, tmp_path):
    folder = tmp_path / "out"
    chosen = random.Random(0)

    def ids(state):
        return slurm("squeue", "-h", "-t", state, "-o", "%i").split()

    def cancel():
        running = ids("RUNNING")
        return bool(running) and slurm("scancel", chosen.choice(running)) == ""

    def restart_controller():
        node.kill("slurmctld")
        node.start("slurmctld")
        return True

    def preempt():
        running = len(ids("RUNNING"))
        command = ["-p", "high", "-n", "2", "--wrap", "sleep 1"]
        slurm("sbatch", "-o", "/dev/null", "-J", "urgent", *command)
        return running > 0

    kills = {
        "job": chaos.job_killer(folder, chosen),
        "driver": None,
        "scancel": cancel,
        "slurmctld": restart_controller,
        "preemption": preempt,
    }
    done = chaos.disturb(folder, "slurm", kills, 1, node.resume)
    assert stub.digests(folder) == local
    assert set(done) == set(kills) and len(done) == 8, done
    log = (node.folder / "slurmctld.log").read_text()
    assert re.search(r"preempted JobId=\d+ has been requeued", log)


def test_slurm_keeps_the_jobs_of_a_killed_driver(node, local, tmp_path):
    folder = tmp_path / "out"
    driver = chaos.start_driver(folder, "slurm")
    jobs = folder / "jobs"
    wait_for(lambda: len(stub.digests(folder)) and list(jobs.glob("*.started")))
    driver.kill()
    driver.wait()
    before = {path.stem for path in jobs.glob("emotion-*.json")}
    assert before
    assert chaos.start_driver(folder, "slurm").wait() == 0
    assert stub.digests(folder) == local
    for path in folder.glob("stub/*/*/run.log"):
        assert path.read_text().count("step 0") == 1, "each ran once"


def test_ray_gives_the_same_under_kills(ray_cluster, local, tmp_path):
    folder = tmp_path / "out"
    chosen = random.Random(0)

    def remove_raylet():
        ray_cluster.remove_node(ray_cluster.second, allow_graceful=False)
        own = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        ray_cluster.second = ray_cluster.add_node(**own)
        return True

    kills = {
        "job": chaos.job_killer(folder, chosen),
        "driver": None,
        "raylet": remove_raylet,
    }
    done = chaos.disturb(folder, "ray", kills, seed=1)
    assert stub.digests(folder) == local
    assert set(done) == set(kills), done


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
