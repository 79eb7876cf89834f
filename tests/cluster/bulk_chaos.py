"""Bulk scoring under random kills: rows lost, rows doubled, parts redone, bytes.

    python -m tests.cluster.bulk_chaos FOLDER --rows 200000
    python -m tests.cluster.bulk_chaos FOLDER --rows 2000 --model pretrained/emodb \
        --recordings EMODB/wav --encoder_hub ENCODER

What it does not know goes to predict.py. Without recordings the model is a stub. The first run, of one worker and without
kills, is what the others are compared with.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from tests.cluster.chaos import kill_one_of, processes_of
from tests.cluster.ray_nodes import RayNodes
from tests.cluster.slurm_node import SlurmNode, wait_for

ROOT = pathlib.Path(__file__).parents[2]
ENGINES = ("local", "slurm", "ray")


def write_list(path, rows, recordings=None):
    """Write a list of paths; of links to recordings, if there are any."""
    names = [f"{number // 1000:04}/{number:07}.wav" for number in range(rows)]
    if recordings is not None:
        found = sorted(pathlib.Path(recordings).glob("*.wav"))
        for number, name in enumerate(names):
            place = path.parent / name
            place.parent.mkdir(exist_ok=True)
            place.symlink_to(found[number % len(found)])
    seconds = random.Random(0)
    lines = [f"{name},{seconds.uniform(1, 9):.2f}\n" for name in names]
    path.write_text("path,duration\n" + "".join(lines))


def start_driver(folder, listed, engine, workers, model, more):
    """Start the driver of a run."""
    command = [sys.executable, "-m", "tests.cluster.bulk_stub", model]
    command += [str(listed), "--output", str(folder), "--launcher", engine]
    with open(f"{folder}.log", "a") as log:
        return subprocess.Popen(
            [*command, "--workers", str(workers), *more],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )


def read_folder(folder):
    """Return (digest of all parts' bytes, files of all rows, parts)."""
    import pyarrow.parquet

    digest, files = hashlib.sha256(), []
    paths = sorted(folder.glob("part-*.parquet"))
    for path in paths:
        digest.update(path.read_bytes())
        files += pyarrow.parquet.read_table(path)["file"].to_pylist()
    return digest.hexdigest(), files, len(paths)


def count_finished(folder):
    """Return how many parts are there."""
    return sum(1 for _ in folder.glob("part-*.parquet"))


def run(start, kills, order):
    """Run to the end, under kills; return (seconds, kills that were done).

    Arguments
    ---------
    start : list
        Arguments of `start_driver`.
    kills : dict
        Name -> function that kills; None: the driver, which starts again.
    order : list of str
        When the share k / (n + 1) of the parts is there, the kill k of n.
    """
    folder, begun, done = start[0], time.monotonic(), []
    driver = start_driver(*start)
    try:
        while (status := driver.poll()) is None:
            time.sleep(0.1)
            if len(done) == len(order) or not (folder / "plan.json").exists():
                continue
            parts = json.loads((folder / "plan.json").read_text())["parts"]
            share = (len(done) + 1) / (len(order) + 1)
            at_work = processes_of(f"{folder}/.work/jobs emotion-")
            if count_finished(folder) < share * parts or not at_work:
                continue
            act = kills[order[len(done)]]
            if act is None:
                driver.send_signal(signal.SIGKILL)
                driver.wait()
                driver = start_driver(*start)
            elif not act(_children(at_work)):
                continue
            done.append(order[len(done)])
        log = pathlib.Path(f"{folder}.log").read_text()
        assert status in (0, 1), log[-2000:]
    finally:
        driver.kill()
        driver.wait()
    return time.monotonic() - begun, done


def _children(numbers):
    """Return the processes that are no parent of another one."""
    parents = set()
    for number in numbers:
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{number}/stat").read_text()
            parents.add(int(text.rpartition(")")[2].split()[1]))
    return [number for number in numbers if number not in parents]


@contextlib.contextmanager
def started(engine, chosen):
    """Start an engine on this machine; give what can be killed of it."""
    kills = {
        "worker": lambda numbers: kill_one_of(numbers, chosen),
        "driver": None,
    }
    if engine == "slurm":
        with tempfile.TemporaryDirectory(prefix="slurm") as place:
            with SlurmNode(pathlib.Path(place) / "a") as node:

                def restart(_):
                    node.kill("slurmd")
                    node.start("slurmd")
                    return True

                yield kills | {"slurmd": restart}
    elif engine == "ray":
        with RayNodes() as nodes:
            yield kills | {"raylet": lambda _: nodes.replace_one()}
    else:
        yield kills


def check(folder, listed, reference, kills):
    """Return what was lost, doubled, redone and whether the bytes are equal."""
    digest, files, parts = read_folder(folder)
    rows = listed.read_text().splitlines()[1:]
    wanted = {str(listed.parent / row.split(",")[0]) for row in rows}
    calls = pathlib.Path(f"{folder}.calls").read_text().split("\n")[:-1]
    return {
        "lost": len(wanted - set(files)),
        "doubled": len(files) - len(set(files)),
        "parts": parts,
        "redone": len(calls) - parts,
        "kills": len(kills),
        "same_bytes": reference is None or digest == reference,
    }, digest


def campaign(options, more, engines=ENGINES):
    """Run engines; give what was found of each run.

    Arguments
    ---------
    options : argparse.Namespace
        See `main`; runs are "workers:kills".
    more : list of str
        For predict.py.
    engines : sequence of str
    """
    folder, chosen = options.folder, random.Random(options.seed)
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "list.csv"
    if not listed.exists():
        write_list(listed, options.rows, options.recordings)
    calm = sorted(folder.glob(f"{ENGINES[0]}-*-0"))
    reference = read_folder(calm[0])[0] if calm else None
    for engine in engines:
        with started(engine, chosen) as killable:
            for text in options.runs:
                workers, kills = map(int, text.split(":"))
                names = list(killable)
                order = [names[n % len(names)] for n in range(kills)]
                chosen.shuffle(order)
                place = folder / f"{engine}-{workers}-{kills}"
                start = [place, listed, engine, workers, options.model, more]
                wall, done = run(start, killable, order)
                wait_for(
                    lambda: not processes_of(f"{place}/.work/jobs emotion-")
                )
                found, digest = check(place, listed, reference, done)
                reference = reference or digest
                of = {name: done.count(name) for name in sorted(set(done))}
                yield {"run": place.name, "s": round(wall), **found, **of}


def main():
    """Run the campaign of the command line; print a line for each run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--engines", nargs="+", default=ENGINES)
    parser.add_argument(
        "--runs",
        nargs="+",
        default=["1:0", "2:0", "2:20", "4:0"],
        metavar="WORKERS:KILLS",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="stub")
    parser.add_argument("--recordings")
    options, more = parser.parse_known_args()
    os.environ.setdefault("STUB_SECONDS", "0.1")
    for found in campaign(options, more, options.engines):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
