"""The attention of a finished run's head to a recording."""

import pathlib

import torch

from modules.errors import BadInput
from modules.features.paired_cache import PairedCache
from modules.training.brain import (
    WholeCheckpointer,
    best_checkpoints,
    mean_weights,
)
from modules.training.settings import is_fine_tuning


class TrainedHead:
    """The head of a finished run, and the stored features that it reads."""

    def __init__(self, head, cache):
        self.head, self.cache = head.eval(), cache

    @classmethod
    def with_attention(cls, folder: pathlib.Path, hparams: dict):
        """Return the head of a run, or None if it has no attention.

        Raises
        ------
        BadInput
            If the head or its features are gone.
        """
        if is_fine_tuning(hparams) or hparams["pooling"] != "attentive_corr":
            return None
        cache = hparams["cache"](precision=hparams["encoder_precision"])
        if isinstance(cache, PairedCache):
            raise BadInput("the system has two upstreams")
        best = best_checkpoints(
            WholeCheckpointer(folder / "save"), hparams["average_checkpoints"]
        )
        if not best:
            raise BadInput("the checkpoints are gone")
        head = hparams["head"](
            layers=cache.layers, width=cache.width, classes=3
        )
        head.load_state_dict(mean_weights(best, "head"))
        return cls(head, cache)

    @torch.inference_mode()
    def attention(self, entry: dict) -> torch.Tensor:
        """Return the weight of each frame of a recording, [frames]."""
        if entry["sha256"] not in self.cache.store:
            raise BadInput("the features of a recording are gone")
        states = self.cache.read(entry["sha256"]).float().movedim(1, 0)
        features = self.head.project(states[:, None])
        return self.head.pooling.attention_weights(features, torch.ones(1))[0]
