"""Bulk scoring on this machine, Slurm and Ray, under kills: `make cluster`."""

import argparse

import pytest

from tests.cluster import slurm_node
from tests.cluster.bulk_chaos import campaign

pytestmark = pytest.mark.cluster
KILLS = 4


def run(folder, engine):
    """Run an engine with one and two workers, with two under kills."""
    options = argparse.Namespace(
        folder=folder,
        rows=2000,
        runs=["1:0", "2:0", f"2:{KILLS}"],
        seed=1,
        model="stub",
        recordings=None,
    )
    found = campaign(options, ["--part_hours", "0.06"], [engine])
    return {one["run"]: one for one in found}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Return the folder and what was found with the local engine."""
    folder = tmp_path_factory.mktemp("bulk")
    return folder, run(folder, "local")


@pytest.mark.parametrize("engine", ["local", "slurm", "ray"])
def test_nothing_is_lost_or_doubled_under_kills(local, engine, monkeypatch):
    folder, found = local
    monkeypatch.setenv("STUB_SECONDS", "0.2")
    if engine == "slurm":
        pytest.importorskip("submitit", reason="no submitit")
        if reason := slurm_node.missing() or slurm_node.cannot_start():
            pytest.skip(reason)
    if engine == "ray":
        pytest.importorskip("ray", reason="no ray")
    if engine != "local":
        found = run(folder, engine)
    for one in found.values():
        assert one["lost"] == one["doubled"] == 0, one
        assert one["same_bytes"], "the first run of the local engine"
        assert one["redone"] <= one["kills"], one
        assert one["parts"] > 40
    assert found[f"{engine}-2-{KILLS}"]["kills"] == KILLS
