"""Bulk scoring whose calls are counted, with a stub of a model or a real one.

    python -m tests.cluster.bulk_stub MODEL LIST --output FOLDER ...  # driver
    python -m tests.cluster.bulk_stub FOLDER KEY                      # worker

With the MODEL `stub`, answers depend on the paths alone: no recording is there.
FOLDER.calls gets a line for each part that a worker begins.
"""

import hashlib
import os
import sys
import time

import torch

from modules.bulk import driver, worker
from modules.bulk.scorer import Identity, Scorer
from modules.errors import one_sentence
from modules.experiments import engines
from modules.inference.options import parse
from modules.inference.predictor import Predictions, Row
from modules.inference.recordings import Problem
from modules.inference.records import Columns

LABELS = ["anger", "joy", "sadness"]


def answer(file):
    """Return a row, or for one path of 97 a problem."""
    digest = hashlib.sha256(file.encode()).digest()
    if digest[0] * 256 + digest[1] < 65536 // 97:
        return Problem(file, None, f"{file} is silent")
    scores = torch.tensor([digest[2], digest[3], digest[4]]) / 64.0
    return Row(file, 0.0, 1 + digest[5] / 64, scores.log_softmax(0))


class StubScorer:
    """In the place of `modules.bulk.scorer.Scorer`."""

    def __init__(self, arguments, threads):
        self.columns = Columns(LABELS)
        self.identity = Identity("stub", {"labels": LABELS}, [])

    def __call__(self, files):
        time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
        found = [answer(file) for file in files]
        rows = [one for one in found if isinstance(one, Row)]
        problems = [one for one in found if isinstance(one, Problem)]
        return Predictions(rows, problems), []


def make_scorer(arguments, threads):
    """Return a scorer that writes down its calls."""
    options = parse(arguments)
    torch.set_num_threads(threads)
    kind = StubScorer if options.model == "stub" else Scorer
    score = kind(arguments, threads)

    def count_and_score(files):
        with open(f"{os.path.abspath(options.output)}.calls", "a") as out:
            out.write(f"{files[0]}\n")
        return score(files)

    count_and_score.columns = score.columns
    count_and_score.identity = score.identity
    return count_and_score


def main():
    """Be a worker or the driver."""
    if len(sys.argv) == 3:
        worker.main(make_scorer)
        return
    worker.JOB = "tests.cluster.bulk_stub"
    engines.Slurm.poll_seconds = 0.5
    arguments = sys.argv[1:]
    with one_sentence():
        options = parse(arguments)
        more = {}
        if options.model == "stub":
            stub = StubScorer(arguments, 1).identity
            more = {"identify": lambda *_: stub}
        sys.exit(driver.score(options, arguments, **more))


if __name__ == "__main__":
    main()
