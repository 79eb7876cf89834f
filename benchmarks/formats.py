#!/usr/bin/env python3
"""File formats for hidden states: a batch read and summed, store by store.

    python -m benchmarks.formats        # h5py: pip install h5py

32 utterances of WavLM large's size (random numbers) in the system's cache.
"""

import pathlib
import tempfile

import h5py
import torch
from safetensors.torch import load_file, save_file

from benchmarks.measure import (
    describe_machine,
    print_table,
    ratio,
    spread,
    time_beside,
)
from benchmarks.recordings import draw_durations
from modules.features.store import FeatureStore
from modules.features.stored_states import StoredStates
from modules.models.layer_pooling import LayerPooling

REPEATS = 5


def main():
    """Write the same states in each format, then read them in turn."""
    torch.manual_seed(0)
    print(describe_machine())
    states = {
        f"{i:064}": StoredStates.from_hidden_states(
            torch.randn(round(50 * seconds), 25, 1024), torch.float16
        )
        for i, seconds in enumerate(draw_durations(32))
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        store = FeatureStore(folder / "shards")
        store.write(states)
        store.refresh()
        for name, stored in states.items():
            save_file(stored.tensors(), folder / name)
        with h5py.File(folder / "states.h5", "w") as file:
            for name, stored in states.items():
                for part, tensor in stored.tensors().items():
                    file[f"{name}/{part}"] = tensor.numpy()
        hdf5 = h5py.File(folder / "states.h5")
        readers = {
            "safetensors shards, memory-mapped (ours)": store.read,
            "a safetensors file per recording": lambda name: StoredStates(
                **load_file(folder / name)
            ),
            "HDF5 (h5py), contiguous": lambda name: StoredStates(
                **{
                    part: torch.from_numpy(data[()])
                    for part, data in hdf5[name].items()
                }
            ),
        }
        layers = LayerPooling(25)
        seconds = time_beside(
            {
                key: lambda read=read: layers([read(n) for n in states])
                for key, read in readers.items()
            },
            REPEATS,
        )
    best, *_ = seconds.values()
    print_table(
        "A batch of 32 utterances read, and its layers summed",
        [["format", "time", "ours is faster by"]]
        + [[key, spread(t), ratio(best, t)] for key, t in seconds.items()],
    )


if __name__ == "__main__":
    main()
