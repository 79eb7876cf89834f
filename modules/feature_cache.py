"""Hidden states of a frozen encoder, computed once and kept on disk.

One safetensors file per recording, filed under the digest of the encoder (its
weights, configuration, input normalisation and precision) and the digest of
the recording. What the files are called is what they depend on: a feature of
another encoder or of a changed recording cannot be found by mistake, and all
folds, poolings, seeds and processes share what is there.
"""

import json
import os
import pathlib
import shutil
import tempfile

import safetensors
import torch
from safetensors.torch import save_file
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from bad_input import BadInput
from modules.audio import SAMPLE_RATE, read_waveform
from modules.encoder import (
    count_frames,
    encoder_digest,
    encoder_shape,
    locate_encoder,
    read_config,
)

logger = get_logger(__name__)

FORMATS = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}


class FeatureCache:
    """Where the hidden states of one encoder are kept.

    Arguments
    ---------
    cache_folder : str
        Shared by all encoders.
    encoder_hub : str
        A local folder or a name on the HuggingFace Hub.
    encoder_revision : str
        Branch, tag or commit on the Hub.
    precision : str
        In which the encoder computes: fp32, bf16 or fp16.
    number_format : str
        In which its hidden states are kept: a key of `FORMATS`.

    Raises
    ------
    BadInput
        If the encoder cannot be had or the number format is unknown.
    """

    def __init__(
        self,
        cache_folder,
        encoder_hub,
        encoder_revision=None,
        precision="fp32",
        number_format="float16",
    ):
        if number_format not in FORMATS:
            raise BadInput(
                f"cache_format '{number_format}' is unknown: choose one of "
                f"{', '.join(FORMATS)}"
            )
        self.encoder_folder = locate_encoder(encoder_hub, encoder_revision)
        self.config = read_config(self.encoder_folder)
        self.layers, self.width = encoder_shape(self.config)
        self.dtype = FORMATS[number_format]
        self.precision = precision
        self.identity = {
            "encoder_hub": str(encoder_hub),
            "encoder_digest": encoder_digest(self.encoder_folder, precision),
            "precision": precision,
            "number_format": number_format,
        }
        name = pathlib.Path(encoder_hub).name
        digest = self.identity["encoder_digest"][:16]
        self.folder = (
            pathlib.Path(cache_folder) / f"{name}-{digest}-{number_format}"
        )

    def path(self, recording_digest):
        """Return the file of a recording, named by its SHA-256."""
        return (
            self.folder
            / recording_digest[:2]
            / f"{recording_digest}.safetensors"
        )

    def read(self, recording_digest):
        """Return the hidden states of a recording [frames, layers, width].

        Raises
        ------
        BadInput
            If the file is damaged.
        """
        path = self.path(recording_digest)
        try:
            with safetensors.safe_open(path, framework="pt") as stored:
                states = stored.get_tensor("hidden_states")
        except (safetensors.SafetensorError, OSError) as problem:
            raise BadInput(
                f"feature file {path} is damaged ({problem}): delete it and "
                "run the same command again"
            ) from problem
        if states.shape[1:] != (self.layers, self.width):
            raise BadInput(
                f"feature file {path} has another shape than its encoder "
                "gives: delete it and run the same command again"
            )
        return states

    def write(self, recording_digest, hidden_states):
        """Keep hidden states [frames, layers, width], whole or not at all.

        Raises
        ------
        BadInput
            If the number format cannot hold them.
        """
        stored = hidden_states.to(self.dtype)
        if not torch.isfinite(stored).all():
            raise BadInput(
                f"hidden states beyond the range of {self.dtype}: choose "
                "--cache_format float32 (or bfloat16)"
            )
        path = self.path(recording_digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as unfinished:
            partial = os.path.join(unfinished, path.name)
            save_file({"hidden_states": stored.contiguous()}, partial)
            os.chmod(partial, 0o644)  # shared, and made with 0600
            os.replace(partial, path)

    def fill(self, recordings, make_encoder, device="cpu"):
        """Encode the recordings that are not there yet.

        Can be interrupted; what is written stays.

        Arguments
        ---------
        recordings : dict
            Manifest entries ("wav", "sha256", "duration") by utterance.
        make_encoder : callable
            Returns a `modules.encoder.FrozenEncoder`; not called when
            nothing is missing.
        device : str
            Where to compute.

        Returns
        -------
        computed : int
            Number of recordings encoded.

        Raises
        ------
        BadInput
            If the disk has no room, or a recording cannot be encoded.
        """
        missing = {
            entry["sha256"]: entry
            for entry in recordings.values()
            if not self.path(entry["sha256"]).exists()
        }
        if not missing:
            logger.info(f"all features are in {self.folder}")
            return 0
        self._check_room(missing.values())
        self._describe()
        encoder = make_encoder().to(device)
        for digest, entry in tqdm(
            missing.items(), desc="encoding", unit="utt", dynamic_ncols=True
        ):
            try:
                waveform = read_waveform(entry["wav"]).to(device)
                states, _ = encoder(waveform[None])
                self.write(digest, states[:, 0].movedim(0, 1).cpu())
            except ValueError as problem:
                raise BadInput(f"{entry['wav']}: {problem}") from problem
            except OSError as problem:
                raise BadInput(
                    f"cannot keep the features of {entry['wav']} in "
                    f"{self.folder} ({problem}): make room there or choose "
                    "another --cache_folder, then run the same command again"
                ) from problem
        return len(missing)

    def _check_room(self, entries):
        """Say how much disk the features take; refuse if it is not there."""
        values = sum(
            count_frames(self.config, round(entry["duration"] * SAMPLE_RATE))
            for entry in entries
        )
        needed = values * self.layers * self.width * self.dtype.itemsize
        self.folder.mkdir(parents=True, exist_ok=True)
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
