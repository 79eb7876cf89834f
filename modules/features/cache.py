"""Hidden states of a frozen encoder, computed once and kept on disk.

The folder is named by the digest of the encoder (its weights, configuration,
input normalisation and precision), a record in it by the digest of the
recording, and by its channel where one of several is read. What things are
called is what they depend on: a feature of another encoder or of a changed
recording cannot be found by mistake, and all folds, poolings, seeds and
processes share what is there.
"""

import functools
import json
import math
import os
import pathlib
import shutil
import tempfile

import torch
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from modules.audio import SAMPLE_RATE
from modules.errors import BadInput
from modules.features.extraction import encode_batches, plan_batches
from modules.features.store import FeatureStore
from modules.features.store_locks import writing
from modules.features.stored_states import FORMATS
from modules.manifest import recording_of
from modules.models.upstream import open_upstream

logger = get_logger(__name__)

# Of audio per batch on a GPU. On a CPU one recording at a time is fastest: a
# batch of large activations leaves its caches (benchmarks/README.md).
GPU_BATCH_SECONDS = 240


class FeatureCache:
    """Where the hidden states of one encoder are kept.

    Arguments
    ---------
    cache_folder : str
        Shared by all encoders.
    encoder_hub : str
        Of one upstream, see `modules.models.upstream.open_upstream`.
    encoder_revision : str
        Branch, tag or commit on the Hub.
    precision : str
        In which the encoder computes: fp32, bf16 or fp16.
    number_format : str
        In which its hidden states are kept: a key of
        `modules.features.stored_states.FORMATS`.
    batch_seconds : float
        Of audio that is encoded at once; None: one recording on a CPU, four
        minutes on a GPU.

    whisper_window : int or str
        See `modules.models.whisper_window`.

    Raises
    ------
    BadInput
        If the encoder cannot be had, the number format is unknown, or a
        shard is damaged.
    """

    def __init__(
        self,
        cache_folder,
        encoder_hub,
        encoder_revision=None,
        precision="fp32",
        number_format="float16",
        batch_seconds=None,
        whisper_window=None,
    ):
        if number_format not in FORMATS:
            raise BadInput(
                f"cache_format '{number_format}' is unknown: choose one of "
                f"{', '.join(FORMATS)}"
            )
        self.encoder_hub = encoder_hub
        self.upstream = open_upstream(
            encoder_hub, encoder_revision, whisper_window
        )
        self.num_hidden_states, self.hidden_size = (
            self.upstream.num_hidden_states,
            self.upstream.hidden_size,
        )
        self.dtype = FORMATS[number_format]
        self.batch_seconds = batch_seconds
        self.identity = {
            "encoder_hub": str(encoder_hub),
            "encoder_digest": self.upstream.digest(precision),
            "precision": precision,
            "number_format": number_format,
        }
        name = pathlib.Path(encoder_hub).name
        digest = self.identity["encoder_digest"][:16]
        self.folder = (
            pathlib.Path(cache_folder) / f"{name}-{digest}-{number_format}"
        )
        self.store = FeatureStore(self.folder)

    def read(self, recording):
        """Return the hidden states of a recording, named by its SHA-256.

        Returns
        -------
        states : modules.features.stored_states.StoredStates

        Raises
        ------
        BadInput
            If they are damaged.
        """
        return self.store.read(recording)

    def fill(
        self,
        recordings,
        make_encoder=None,
        device="cpu",
        progress=True,
        part=None,
    ):
        """Encode the recordings that are not there yet.

        Can be interrupted; what is written stays. Processes started by
        torchrun share the work, and call this together. Of others one works
        at a time: the next waits, then uses what is there. Parts work side by
        side, on any number of machines, and one that is started again goes
        on. The batches, and with them the last bits of the hidden states, do
        not depend on the number of parts.

        Arguments
        ---------
        recordings : dict
            Manifest entries ("wav", "sha256", "duration") by utterance.
        make_encoder : callable
            Returns a `modules.models.encoder.FrozenEncoder`; not called when
            nothing is missing. None: the upstream of this cache makes it.
        device : str
            Where to compute.
        progress : bool
            Show a progress bar.
        part : tuple of int
            Index from 0 and number of parts, to encode one part alone; None:
            all recordings.

        Returns
        -------
        missing : int
            Number of recordings that were encoded, by all processes.

        Raises
        ------
        BadInput
            If the disk has no room or no permission, or a recording cannot
            be encoded.
        """
        if make_encoder is None:
            precision = self.identity["precision"]
            make_encoder = functools.partial(self.upstream.make, precision)
        entries = {recording_of(e): e for e in recordings.values()}
        seconds = self.batch_seconds
        if seconds is None:
            on_cpu = torch.device(device).type == "cpu"
            seconds = 0 if on_cpu else GPU_BATCH_SECONDS
        index, count = part or (0, 1)
        batches = plan_batches(
            list(entries.values()), seconds, self.upstream.computed_seconds
        )[index::count]
        entries = {recording_of(e): e for batch in batches for e in batch}
        if not _agreed(self._missing(entries)):
            self.store.refresh()
            logger.info(f"all features are in {self.folder}")
            return 0
        with writing(self.folder, part):
            missing = _agreed(self._missing(entries))
            if missing and if_main_process():
                self._check_room([entries[name] for name in missing])
                self._describe()
            batches = [
                batch
                for batch in batches
                if any(recording_of(entry) in missing for entry in batch)
            ][_rank() :: _processes()]
            if batches:
                encode_batches(
                    batches,
                    make_encoder().to(device),
                    self.store,
                    self.dtype,
                    device,
                    progress and if_main_process(),
                )
            ddp_barrier()
        self.store.refresh()
        return len(missing)

    def _missing(self, entries):
        """Return the recordings that are not there."""
        self.store.refresh()
        return {name for name in entries if name not in self.store}

    def load(self, recordings, device):
        """Keep recordings in the memory of a device while this lives.

        Arguments
        ---------
        recordings : dict
            Manifest entries by utterance; all are in the cache.
        device : str
            Such as "cuda", or "cpu" for a disk that is slow.

        Raises
        ------
        BadInput
            If there is not so much memory.
        """
        needed = self._bytes(recordings.values())
        free = _free_memory(device)
        if needed > free:
            raise BadInput(
                f"cache_device {device}: {needed / 1e9:.1f} GB of features, "
                f"{free / 1e9:.1f} GB of memory free; leave cache_device "
                "empty, or choose --cache_format int8"
            )
        digests = list(map(recording_of, recordings.values()))
        self.store.load(tqdm(digests, desc=f"loading to {device}"), device)

    def _bytes(self, entries):
        """Return how much the features of recordings take."""
        frames = sum(
            self.upstream.count_frames(round(entry["duration"] * SAMPLE_RATE))
            for entry in entries
        )
        moments = 2 * torch.float32.itemsize
        per_frame = self.num_hidden_states * (
            self.hidden_size * self.dtype.itemsize + moments
        )
        return frames * per_frame

    def _check_room(self, entries):
        """Log how much disk the features take; refuse if it is not free."""
        needed = self._bytes(entries)
        free = shutil.disk_usage(self.folder).free
        sizes = f"{needed / 1e9:.2f} GB of features, {free / 1e9:.1f} GB free"
        logger.info(f"{self.folder}: {len(entries)} recordings, {sizes}")
        if needed > free:
            raise BadInput(
                f"no room in {self.folder}: {sizes}; make room or choose "
                "another --cache_folder"
            )

    def _describe(self):
        """Write beside the features what made them, for people."""
        path = self.folder / "encoder.json"
        with tempfile.TemporaryDirectory(dir=self.folder) as unfinished:
            partial = os.path.join(unfinished, path.name)
            with open(partial, "w", encoding="utf-8") as out:
                json.dump(self.identity, out, indent=2)
            os.replace(partial, path)


def _processes():
    """Return how many processes torchrun started."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def _rank():
    """Return which of the processes that torchrun started this is."""
    return torch.distributed.get_rank() if _processes() > 1 else 0


def _agreed(value):
    """Return the value of the first process: all must do the same."""
    if _processes() == 1:
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values)
    return values[0]


def _free_memory(device):
    """Return the bytes that are free on a device."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return math.inf  # the system decides what it can swap
