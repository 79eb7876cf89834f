"""One pass of an encoder over recordings: reading ahead, writing behind."""

import collections
import contextlib
import hashlib
import io
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from tqdm import tqdm

from modules.audio import read_waveform
from modules.errors import BadInput
from modules.features.stored_states import StoredStates
from modules.manifest import channel_of, recording_of

# A shard is closed when it has so many bytes or, on slow machines, after so
# many seconds: what a killed process can lose.
SHARD_BYTES = 2**27
SHARD_SECONDS = 30

_READERS = 2
_READ_AHEAD = 4


def plan_batches(entries, seconds, cost=float):
    """Group recordings of like length, the longest first.

    The plan depends on the recordings alone, not on which of them are there
    already: a batch decides the last bits of its features, and a pass that
    goes on after a kill must give what the unbroken one gives.

    Arguments
    ---------
    entries : list of dict
        Manifest entries ("duration", "sha256").
    seconds : float
        Of audio per batch, padding included; 0: one recording at a time.
    cost : callable
        Returns the seconds of audio that the encoder computes for a duration:
        Whisper's windows are longer than a recording.

    Returns
    -------
    batches : list of list of dict
    """
    batches = []
    for entry in sorted(entries, key=lambda e: (-e["duration"], e["sha256"])):
        if batches:
            longest = cost(batches[-1][0]["duration"])
            if (len(batches[-1]) + 1) * longest <= seconds:
                batches[-1].append(entry)
                continue
        batches.append([entry])
    return batches


def encode_batches(batches, encoder, store, dtype, device, progress=True):
    """Encode recordings and add them to a store.

    What is encoded when an error or Ctrl-C comes is kept.

    Arguments
    ---------
    batches : list of list of dict
        Manifest entries ("wav", "sha256", "duration").
    encoder : modules.models.encoder.FrozenEncoder
        On the device.
    store : modules.features.store.FeatureStore
        Where to.
    dtype : torch.dtype
        Number format of the store.
    device : str
        Where to compute.
    progress : bool
        Show a progress bar.

    Raises
    ------
    BadInput
        If a recording cannot be encoded or the disk has no room.
    """
    with (
        _ShardWriter(store) as writer,
        contextlib.closing(_Progress(batches, progress)) as bar,
        torch.inference_mode(),
    ):
        for batch, waveforms in _read_ahead(batches):
            longest = max(len(waveform) for waveform in waveforms)
            lengths = torch.tensor([len(w) / longest for w in waveforms])
            padded = torch.nn.utils.rnn.pad_sequence(waveforms, True)
            try:
                hidden_states, frames = encoder(padded.to(device), lengths)
                stored = {
                    recording_of(entry): StoredStates.from_hidden_states(
                        hidden_states[:, row, :count].movedim(0, 1), dtype
                    ).to("cpu")
                    for row, (entry, count) in enumerate(
                        zip(batch, frames.tolist())
                    )
                }
            except ValueError as problem:
                names = ", ".join(entry["wav"] for entry in batch)
                raise BadInput(f"{names}: {problem}") from problem
            except OverflowError as problem:
                raise BadInput(
                    f"{problem}: choose --cache_format float32 (or bfloat16)"
                ) from problem
            writer.add(stored)
            bar.done(batch)


def _read_ahead(batches):
    """Yield (batch, waveforms); the next ones are read meanwhile."""
    with ThreadPoolExecutor(_READERS) as readers:
        reading = collections.deque()
        try:
            for batch in batches:
                reading.append((batch, readers.submit(_read_batch, batch)))
                if len(reading) > _READ_AHEAD:
                    batch, waveforms = reading.popleft()
                    yield batch, waveforms.result()
            for batch, waveforms in reading:
                yield batch, waveforms.result()
        finally:
            readers.shutdown(cancel_futures=True)


def _read_batch(batch):
    return [read_recording(entry) for entry in batch]


def read_recording(entry):
    """Read a recording, which must be the one that was looked at.

    Arguments
    ---------
    entry : dict
        Of a manifest ("wav", "sha256"; "channel", if one of several is read).

    Returns
    -------
    waveform : torch.Tensor
        Mono, 16 kHz; [samples].

    Raises
    ------
    BadInput
        If it is gone or has changed.
    """
    try:
        with open(entry["wav"], "rb") as file:
            content = file.read()
    except OSError as problem:
        raise BadInput(
            f"{entry['wav']} cannot be read any more ({problem.strerror}): "
            "put it back and run the same command again"
        ) from problem
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise BadInput(
            f"{entry['wav']} has changed since this run looked at it: run "
            "the same command again"
        )
    # data_prep has refused or named those whose channels cancel.
    with io.BytesIO(content) as source:
        return read_waveform(
            source, channel=channel_of(entry), compares_channels=False
        )


class _ShardWriter:
    """Writes shards in a thread of its own while the next are computed."""

    def __init__(self, store):
        self.store = store
        self.thread = ThreadPoolExecutor(1)
        self.writing = None
        self._begin()

    def _begin(self):
        self.states, self.bytes, self.since = {}, 0, time.monotonic()

    def __enter__(self):
        return self

    def add(self, states):
        """Take the recordings of a batch; they end in the same shard."""
        self.states |= states
        for stored in states.values():
            self.bytes += sum(t.nbytes for t in stored.tensors().values())
        if (
            self.bytes >= SHARD_BYTES
            or time.monotonic() - self.since >= SHARD_SECONDS
        ):
            self.flush()

    def flush(self):
        """Begin to write what is there; wait for what was begun before."""
        self.wait()
        if self.states:
            self.writing = self.thread.submit(self.store.write, self.states)
        self._begin()

    def wait(self):
        """Wait until all that was begun is on disk."""
        if self.writing is None:
            return
        try:
            self.writing.result()
        except OSError as problem:
            raise BadInput(
                f"cannot keep features in {self.store.folder} ({problem}): "
                "make room there or choose another --cache_folder, then run "
                "the same command again"
            ) from problem
        finally:
            self.writing = None

    def __exit__(self, kind, error, trace):
        try:
            self.flush()
            self.wait()
        except BadInput:
            if kind is None:  # the first error is the one to report
                raise
        finally:
            self.thread.shutdown()


class _Progress:
    """A bar over the audio: what is left takes as long as it lasts."""

    def __init__(self, batches, show):
        self.seconds = self.count = 0
        self.all = sum(map(len, batches))
        self.bar = tqdm(
            total=sum(e["duration"] for batch in batches for e in batch),
            disable=not show,
            desc="encoding",
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {postfix} "
            "[{elapsed}, {remaining} left]",
        )
        self.start = time.monotonic()

    def done(self, batch):
        """Count a batch."""
        self.count += len(batch)
        seconds = sum(entry["duration"] for entry in batch)
        self.seconds += seconds
        passed = max(time.monotonic() - self.start, 1e-9)
        self.bar.set_postfix_str(
            f"{self.count}/{self.all} utterances, "
            f"{self.count / passed:.1f} per s, "
            f"{self.seconds / passed:.1f} h of audio per h",
            refresh=False,
        )
        self.bar.update(seconds)

    def close(self):
        """Leave the bar as it stands."""
        self.bar.close()
