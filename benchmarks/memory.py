#!/usr/bin/env python3
"""Peak memory against the size of the corpus, and a disk that is cold.

    python -m benchmarks.memory        # 100 and 1000 utterances of 4.5 s

Encoding and one epoch of training, each corpus in a process of its own. The
encoder is replaced by random numbers of WavLM large's size: what is measured
is what lies around it.
"""

import gc
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import torch

from benchmarks.measure import print_table
from benchmarks.recordings import make_recordings
from benchmarks.update import Update
from modules.features.extraction import encode_batches
from modules.features.store import FeatureStore
from modules.features.stored_utterances import StoredUtterances

NUM_HIDDEN_STATES, HIDDEN_SIZE, FRAMES, BATCH = 25, 1024, 225, 32
ROOT = pathlib.Path(__file__).parents[1]

# What is freed goes back to the system at once. By default glibc keeps it in
# pieces, more with time, and does not show what is in use.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "1000000"}


class RandomStates(torch.nn.Module):
    """Returns random hidden states in place of an encoder's."""

    def forward(self, wavs, lengths):
        """Return hidden states [layers, 1, frames, hidden_size], frames."""
        states = torch.rand(NUM_HIDDEN_STATES, 1, FRAMES, HIDDEN_SIZE)
        return states, torch.tensor([FRAMES])


class Peak(threading.Thread):
    """Watch the memory that belongs to this process alone, in MB.

    Not the resident size: that counts pages of memory-mapped files too, which
    the system takes back whenever it needs them.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.megabytes = 0.0
        self.start()

    def run(self):
        """Look a hundred times a second."""
        while True:
            status = pathlib.Path("/proc/self/status").read_text()
            for line in status.splitlines():
                if line.startswith("RssAnon"):
                    now = int(line.split()[1]) / 1024
                    self.megabytes = max(self.megabytes, now)
            time.sleep(0.01)

    def take(self):
        """Return the peak so far and begin anew."""
        peak, self.megabytes = self.megabytes, 0.0
        return peak


class _Labels:
    """A label encoder for labels that are numbers."""

    encode_label = int


def run(folder, count):
    """Encode and train on so many utterances; return what was measured."""
    torch.set_num_threads(1)
    peak = Peak()
    entries = make_recordings(pathlib.Path(folder), [0.6] * count)
    store = FeatureStore(pathlib.Path(folder) / "store")
    batches = [[entry] for entry in entries.values()]
    encode_batches(
        batches, RandomStates(), store, torch.float16, "cpu", progress=False
    )
    result = {"utterances": count, "encoding": peak.take()}
    store.refresh()
    for entry in entries.values():
        entry["label"] = "0"

    def epochs():
        """Train on all from a store just opened, then once more."""
        dataset = StoredUtterances(
            entries, FeatureStore(store.folder), _Labels()
        )
        return _epoch(dataset), _epoch(dataset)

    epochs()
    result["training"] = peak.take()
    gc.collect()  # unmaps the shards
    _forget(store.folder)
    result["first"], result["later"] = epochs()
    return result


def _epoch(dataset):
    """Return the seconds of an epoch in the dataset's order."""
    update = Update("attentive_corr", "cpu")
    start = time.perf_counter()
    for first in range(0, len(dataset) - BATCH + 1, BATCH):
        batch = dataset.__getitems__(list(range(first, first + BATCH)))
        update(batch.hidden_states)
    return time.perf_counter() - start


def _forget(folder):
    """Make the system drop its cached pages of the shards."""
    os.sync()
    for path in folder.glob("*.safetensors"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run_apart(folder, counts):
    """Return what `run` returns for each count, in processes of their own."""
    results = []
    for count in counts:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            command = [sys.executable, "-m", "benchmarks.memory"]
            done = subprocess.run(
                [*command, scratch, str(count)],
                cwd=ROOT,
                env=os.environ | GIVE_BACK,
                check=True,
                capture_output=True,
                text=True,
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    return results


def measure(folder, counts=(100, 1000)):
    """Print peaks for N and 10 N utterances, and epochs from a cold disk."""
    results = run_apart(folder, counts)
    rows = [["what", *(f"{r['utterances']} utterances" for r in results)]]
    rows[0].append("ratio")
    for key in ("encoding", "training"):
        values = [r[key] for r in results]
        rows.append([f"peak, {key}", *(f"{v:.0f} MB" for v in values)])
        rows[-1].append(f"{values[-1] / values[0]:.2f}")
    print_table("Memory of the process, memory-mapped pages not counted", rows)
    last = results[-1]
    print_table(
        f"An epoch of {last['utterances']} utterances, one thread, one run",
        [["what", "time"]]
        + [
            [name, f"{last[key]:.1f} s"]
            for key, name in (
                ("first", "first, from the disk, checksums compared"),
                ("later", "later, store in the system's cache"),
            )
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
    else:
        measure(None)
