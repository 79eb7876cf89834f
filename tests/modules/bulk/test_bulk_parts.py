"""Parts on the disk: what verifies is finished, all else is done again."""

import os
import subprocess
import sys
import types

import pyarrow.parquet
import pytest
from conftest import ROOT

from modules.bulk import driver, worker
from modules.bulk.parts import check_part, read_part, write_part
from modules.bulk.plan import open_plan
from modules.bulk.worker import Claims, do_parts
from modules.errors import BadInput
from tests.cluster.bulk_stub import LABELS, StubScorer, answer


@pytest.fixture
def plan(tmp_path):
    """Return a plan of 200 recordings in 10 parts."""
    path = tmp_path / "x.csv"
    rows = "".join(f"{number}.wav,1\n" for number in range(200))
    path.write_text("path,duration\n" + rows)
    folder = tmp_path / "out"
    folder.mkdir()
    settings = {"labels": LABELS}
    return open_plan(folder, str(path), "stub", settings, 20 / 3600)


def do_all(plan, parent=None):
    """Do parts in this process; return the parts that were scored."""
    scorer, calls = StubScorer([], 1), []

    def score(files):
        calls.append(files)
        return scorer(files)

    tally = plan.folder / "tally"
    do_parts(plan, score, scorer.columns, tally, parent or os.getppid())
    return calls


def test_each_recording_has_a_row(plan):
    assert [len(files) for files in do_all(plan)] == [20] * 10
    table = [pyarrow.parquet.read_table(plan.path(n)) for n in range(10)]
    files = [f for one in table for f in one["file"].to_pylist()]
    assert sorted(files) == sorted(sum(map(plan.files, range(10)), []))
    first = answer(plan.files(0)[0])
    found = table[0].to_pylist()[0]
    assert found["file"] == first.file and found["p_joy"] == pytest.approx(
        first.log_probabilities.exp()[1].item(), abs=1e-6
    )
    facts = read_part(plan, 3)
    assert facts["rows"] == facts["recordings"] == 20
    assert do_all(plan) == []


@pytest.mark.parametrize("damage", ["cut", "changed", "other", "junk"])
def test_a_part_that_does_not_verify_is_done_again(plan, damage):
    do_all(plan)
    path = plan.path(4)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[200] ^= 1
    content = {
        "cut": whole[:-100],
        "changed": bytes(changed),
        "other": plan.path(5).read_bytes(),
        "junk": b"PAR1",
    }
    path.write_bytes(content[damage])
    facts = [check_part(plan, number) for number in range(10)]
    assert [number for number in range(10) if facts[number] is None] == [4]
    assert do_all(plan) == [plan.files(4)]
    assert path.read_bytes() == whole


def test_a_part_of_another_plan_does_not_verify(plan):
    do_all(plan)
    plan.digest = "another"
    assert read_part(plan, 0) is None


def test_a_part_at_work_elsewhere_is_left_alone(plan):
    code = (
        "import sys\n"
        "from modules.bulk.plan import Plan\n"
        "from modules.bulk.worker import Claims\n"
        "claims = Claims(Plan(sys.argv[1]))\n"
        "print(claims.take(2), flush=True)\n"
        "sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, plan.folder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout.readline() == b"True\n"
    assert len(do_all(plan)) == 9 and not plan.path(2).exists()
    other.kill()
    other.wait()
    # The system has given the lock back.
    assert do_all(plan) == [plan.files(2)]


def test_a_part_that_ends_its_worker_is_given_up(plan):
    for _ in range(worker.MOST_TRIES):
        Claims(plan).begin(7)
    assert Claims(plan).given_up() == [7]
    assert plan.files(7) not in do_all(plan)
    assert not plan.path(7).exists()


def test_a_worker_without_a_parent_finishes_its_part_alone(plan):
    assert do_all(plan, parent=-1) == [plan.files(0)]


def test_a_disk_without_locks_is_one_sentence(plan, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(worker.fcntl, "lockf", refuse)
    with pytest.raises(BadInput, match="carries no locks"):
        do_all(plan)


def work(plan, scorer=StubScorer):
    """Do the job of a worker; return its problem."""
    tally = plan.folder / worker.WORK / "worker-000"
    job = {"threads": 1, "tasks": [{"folder": str(tally), "arguments": []}]}
    tally.parent.mkdir(exist_ok=True)
    return worker.work(job, os.getppid(), scorer)


def test_a_node_with_another_model_is_one_sentence(plan):
    assert work(plan) == [""]

    class Other(StubScorer):
        def __init__(self, *_):
            super().__init__(*_)
            self.identity = types.SimpleNamespace(model="x", settings={})

    assert "has another model" in work(plan, Other)[0]


def test_recordings_that_are_not_on_the_node_are_one_sentence(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"1")
    (tmp_path / "list").write_text("a.wav\n")
    (tmp_path / "out").mkdir()
    plan = open_plan(
        tmp_path / "out", str(tmp_path / "list"), "stub", {"labels": LABELS}, 1
    )
    (tmp_path / "a.wav").unlink()
    assert "put the recordings on a disk" in work(plan)[0]


def test_metadata_is_part_of_the_bytes(plan):
    found = StubScorer([], 1)(plan.files(0))
    columns = StubScorer([], 1).columns
    contents = []
    for _ in range(2):
        write_part(plan, 0, columns, *found)
        contents.append(plan.path(0).read_bytes())
    assert contents[0] == contents[1]


def test_what_is_left_is_at_work_elsewhere(plan, monkeypatch):
    """The workers of a lost driver do the last part: no worker of ours does."""
    do_all(plan)
    content = plan.path(9).read_bytes()
    plan.path(9).unlink()
    rounds = []

    def work(*_):
        rounds.append(1)
        if len(rounds) == 2:
            plan.path(9).write_bytes(content)
        return []

    workers = types.SimpleNamespace(work=work, folder=plan.folder)
    summary, given_up = driver._do_all(workers, plan, [])
    assert len(rounds) == 2 and summary.parts == 10 and not given_up
    plan.path(9).unlink()
    workers.work = lambda *_: ["no model here"]
    with pytest.raises(BadInput, match="no model here"):
        driver._do_all(workers, plan, [])


def test_a_part_that_is_given_up_ends_the_command(plan, capsys):
    def work(*_):
        for _ in range(worker.MOST_TRIES):
            Claims(plan).begin(7)
        do_all(plan)
        return []

    workers = types.SimpleNamespace(work=work, folder=plan.folder)
    summary, given_up = driver._do_all(workers, plan, [])
    assert given_up == [7] and summary.parts == 9
    assert "part 7 is given up" in capsys.readouterr().err
