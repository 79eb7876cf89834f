"""Answers in parts: killed at any point, nothing is lost, doubled, repeated."""

import os
import random
import signal
import sys

import pytest
import torch
from answers import LABELS, answer

import modules.files as files_module
from modules.errors import BadInput
from modules.inference import bulk
from modules.inference.bulk import Parts, digest_job, digest_model, make_chunks
from modules.inference.formats import write_table
from modules.inference.predictor import Predictions
from modules.inference.recordings import Problem
from modules.inference.records import Columns

FILES = [f"{number:03}.wav" for number in range(60)]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(bulk, "MOST_FILES", 4)


def classify(files):
    """Return an answer, or for every seventh file a problem."""
    rows, problems = [], []
    for file in files:
        number = FILES.index(file)
        if number % 7 == 0:
            problems.append(Problem(file, None, f"{file} is silent"))
            continue
        row = answer(0.0, number / 3, number % 3, file)
        scores = (row.log_probabilities + number / 7).log_softmax(0)
        rows.append(row._replace(log_probabilities=scores))
    return Predictions(rows, problems)


def work(output, log, digest="one"):
    """Do the whole job, as predict.py does."""

    def classify_and_log(files):
        with open(log, "a") as out:
            out.write(f"{files[0]}\n")
        return classify(files)

    with Parts(output, digest).open() as parts:
        found = parts.classify(FILES, classify_and_log, [])
    write_table(output, output.suffix, Columns(LABELS), *found)
    parts.remove()


def killed_after(events, output, log):
    """Work in a process that kills itself; return whether it was killed.

    It dies before it opens, renames or removes the file of this number.
    """
    child = os.fork()
    if child == 0:
        left = [events]

        def count(event, arguments):
            if event in ("open", "os.rename", "os.remove", "os.mkdir"):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work(output, log)
        finally:
            os._exit(0)  # no test runner in it
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_kills_at_random_points(tmp_path, suffix, monkeypatch):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    # A killed process, unlike a machine without power, needs no fsync.
    monkeypatch.setattr(files_module, "sync", lambda path: None)
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"x{suffix}"
    work(whole, tmp_path / "unbroken.log")
    rng, kills = random.Random(0), 0
    parts = Parts(output, "one").folder
    for attempt in range(200):
        log = tmp_path / f"{attempt}.log"
        there = {path.name for path in parts.glob("*.npz")}
        was_killed = killed_after(rng.randint(1, 30), output, log)
        computed = log.read_text().split() if log.exists() else []
        numbers = [FILES.index(file) // 4 for file in computed]
        # What was on the disk is not computed again.
        assert there.isdisjoint(f"{number:06}.npz" for number in numbers)
        assert numbers == sorted(set(numbers))
        kills += was_killed
        if output.exists() and not parts.exists():
            break  # finished, even if it was killed just then
        assert was_killed
    assert kills >= 3
    assert output.read_bytes() == whole.read_bytes()
    work(output, tmp_path / "again.log")  # removes what a kill left
    assert not list(tmp_path.glob(f".{output.name}.parts*"))


def test_what_is_read_is_what_was_computed(tmp_path):
    """Bit for bit, embeddings and warnings too."""
    rows = [
        answer(0.1, 0.7, 1, "b\udce9.wav", channel="left", speaker="x"),
        answer(0.7, 1 / 3, 2, "b\udce9.wav"),
    ]
    rows = [row._replace(embedding=torch.rand(5)) for row in rows]
    sent = Predictions(rows, [Problem("c", "1", "no")])

    def compute(files):
        warned.append("w")
        return sent

    for again in range(2):
        warned = []
        with Parts(tmp_path / "x.csv", "d").open() as parts:
            found = parts.classify(["a.wav"], compute, warned)
        assert warned == ["w"] and found.problems == sent.problems
        for ours, theirs in zip(found.rows, sent.rows):
            assert ours[:3] + ours[4:6] == theirs[:3] + theirs[4:6]
            assert ours.log_probabilities.equal(theirs.log_probabilities)
            assert ours.embedding.equal(theirs.embedding)
        compute = None  # what is there is not computed


def test_another_job_is_refused(tmp_path):
    output = tmp_path / "x.csv"
    with Parts(output, "one").open() as parts:
        parts.classify(FILES[:4], classify, [])
        with pytest.raises(BadInput, match="written by another process"):
            with Parts(output, "one").open():
                pass
    with pytest.raises(BadInput, match="half written, by another model"):
        with Parts(output, "two").open():
            pass
    # A folder that was being removed: its parts are of the earlier job.
    (parts.folder / "digest.txt").unlink()
    with Parts(output, "two").open() as parts:
        calls = []
        parts.classify(FILES[:4], lambda f: calls.append(f) or classify(f), [])
    assert calls == [FILES[:4]]


def test_a_damaged_part_is_computed_again(tmp_path):
    output = tmp_path / "x.csv"
    with Parts(output, "one").open() as parts:
        parts.classify(FILES, classify, [])
    for path, content in zip(parts.folder.glob("*.npz"), [b"", b"PK junk"]):
        path.write_bytes(content)
    calls = []
    with Parts(output, "one").open() as parts:
        parts.classify(FILES, lambda f: calls.append(f) or classify(f), [])
    assert len(calls) == 2


def test_digests_differ_with_all_that_decides(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"1")
    files = [str(path)]
    digests = [
        digest_job("m", files, {}),
        digest_job("n", files, {}),
        digest_job("m", files, {"hop": 1}),
        digest_job("m", [*files, "b.wav"], {}),
    ]
    path.write_bytes(b"22")
    digests.append(digest_job("m", files, {}))
    assert len(set(digests)) == 5
    assert digest_job("m", files, {}) == digests[-1]
    model = torch.nn.Linear(2, 2)
    before = digest_model(model, [path])
    assert before == digest_model(model, [path])
    with torch.no_grad():
        model.bias[0] += 1
    assert before != digest_model(model, [path])


def test_parts_are_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "MOST_BYTES", 10)
    files = []
    for number, size in enumerate([4, 4, 4, 30, 1, 1, 1, 1, 1]):
        files.append(str(tmp_path / f"{number}.wav"))
        (tmp_path / f"{number}.wav").write_bytes(bytes(size))
    chunks = make_chunks(files)
    assert [len(chunk) for chunk in chunks] == [2, 1, 1, 4, 1]
    assert sum(chunks, []) == files
