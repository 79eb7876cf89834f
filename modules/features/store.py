"""Shards of hidden states on disk, memory-mapped.

A shard is a safetensors file: its header is the index, its tensors are read
where they lie, and its metadata has one SHA-256 per recording, compared when
the recording is first read. Shards are written whole or not at all and never
changed, so any number of processes may read and add at once.
"""

import hashlib
import json
import os
import pathlib
import tempfile

import safetensors
import torch
from safetensors.torch import save_file

from modules.errors import BadInput
from modules.features.stored_states import StoredStates
from modules.files import MOST_WEIGHTS, check_file, sync

UNFINISHED = ".unfinished-"

# What reading a shard with wrong bytes in it can raise.
_DAMAGE = (
    safetensors.SafetensorError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,  # and its RecursionError
)
# A shard of recordings of one frame each has less.
_MOST_HEADER = 2**27


class FeatureStore:
    """Hidden states by recording.

    Arguments
    ---------
    folder : str or pathlib.Path
        Of the shards; need not exist.

    Raises
    ------
    BadInput
        If a shard is damaged.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self._shards = {}  # path -> names of its tensors
        self._places = {}  # recording -> path
        self._files = {}  # path -> open shard
        self._states = {}  # recording -> StoredStates, compared
        self.refresh()

    def refresh(self):
        """Find the shards that were added since."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if path not in self._shards:
                self._shards[path], recordings = _read_index(path)
                self._places.update(dict.fromkeys(recordings, path))

    def __contains__(self, recording):
        """Return whether a recording (its SHA-256) is stored."""
        return recording in self._places

    def read(self, recording):
        """Return the hidden states of a recording, memory-mapped.

        Arguments
        ---------
        recording : str
            Its SHA-256.

        Returns
        -------
        states : modules.features.stored_states.StoredStates

        Raises
        ------
        BadInput
            If the shard is damaged.
        """
        states = self._states.get(recording)
        if states is None:
            states = self._states[recording] = self._read(recording)
        return states

    def _read(self, recording):
        path = self._places[recording]
        try:
            if path not in self._files:
                self._files[path] = safetensors.safe_open(path, framework="pt")
            shard = self._files[path]
            tensors = {
                name: shard.get_tensor(f"{recording}/{name}")
                for name in ("values", "moments", "scales")
                if f"{recording}/{name}" in self._shards[path]
            }
            states = StoredStates(**tensors)
            unchanged = shard.metadata()[recording] == _checksum(states)
        except _DAMAGE as problem:
            raise damaged(path, problem) from problem
        if not unchanged:
            raise damaged(path, f"recording {recording[:16]} has changed")
        return states

    def load(self, recordings, device):
        """Keep recordings in the memory of a device from now on."""
        for recording in recordings:
            self._states[recording] = self.read(recording).copy_to(device)

    def write(self, states):
        """Add a shard, whole or not at all.

        Arguments
        ---------
        states : dict
            `modules.features.stored_states.StoredStates` by recording.

        Raises
        ------
        OSError
            If there is no room or no permission.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("".join(sorted(states)).encode()).hexdigest()
        path = self.folder / f"{name[:32]}.safetensors"
        with tempfile.TemporaryDirectory(
            dir=self.folder, prefix=UNFINISHED
        ) as unfinished:
            partial = os.path.join(unfinished, path.name)
            try:
                save_file(
                    {
                        f"{recording}/{part}": tensor
                        for recording, stored in states.items()
                        for part, tensor in stored.tensors().items()
                    },
                    partial,
                    metadata={r: _checksum(s) for r, s in states.items()},
                )
            except safetensors.SafetensorError as problem:  # a full disk
                raise OSError(problem) from problem
            os.chmod(partial, 0o644)  # shared, and made with 0600
            sync(partial)
            os.replace(partial, path)
        sync(self.folder)


def _read_index(path):
    """Return the names of a shard's tensors, and its recordings.

    The header alone is read: safetensors would map every shard there is.
    """
    try:
        check_file(path, MOST_WEIGHTS)
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = os.fstat(file.fileno()).st_size
            if length > _MOST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(min(length, size)))
        recordings = header.pop("__metadata__")
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
        complete = 8 + length + max(ends) == size
        consistent = {n.partition("/")[0] for n in header} == set(recordings)
    except _DAMAGE as problem:
        raise damaged(path, "its index cannot be read") from problem
    if not complete:
        raise damaged(path, "its end is missing")
    if not consistent:
        raise damaged(path, "its index contradicts itself")
    return set(header), set(recordings)


def _checksum(states):
    """Return the SHA-256 of shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in states.tensors().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def damaged(path, problem):
    """Return the sentence for a shard that cannot be trusted."""
    return BadInput(
        f"feature file {path} is damaged ({problem}): delete it and run the "
        "same command again; only its recordings are encoded anew"
    )
