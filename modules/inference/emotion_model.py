"""The whole model: a frozen encoder and the heads of one or several folds."""

import logging
import pathlib
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from modules.errors import BadInput
from modules.models.encoder_values import values_digests
from modules.models.fusion import pair_of_sizes
from modules.models.graph import build
from modules.models.padding import count_samples
from modules.models.upstream import open_upstream

WEIGHTS = "head.safetensors"
LABELS = "label_encoder.txt"
ENCODER_FOLDER = "encoder"

# Longer recordings are cut into windows of equal length, because the memory
# of an encoder grows with the square of the length. No utterance of the
# corpora named here is longer.
LONGEST_SECONDS = 60


class EmotionModel(nn.Module):
    """A frozen encoder and the heads of one or several folds.

    It stays in evaluation mode whatever is called on it or on its parents:
    neither dropout nor batch statistics change an answer. `load` adds the
    encoder, since the model's folder is not known before.

    Arguments
    ---------
    encoder_hub : str
        See `modules.models.upstream.open_upstream`.
    encoder_revision : str
        Branch, tag or commit on the Hub.
    encoder_files : list of str
        Files of an encoder in the model's folder, which then takes the place
        of ``encoder_hub``.
    whisper_window : int or str
        See `modules.models.whisper_window`.
    members : int
        Number of heads; their probabilities are averaged.
    head : dict
        The graph of a head, see `modules.models.graph.build`.
    sizes : dict
        ``num_hidden_states``, ``hidden_size`` and ``num_classes``.
    encoder_values : str
        Of the encoder, rounded to float16, see
        `modules.models.encoder_values.values_digests`; an encoder that is not
        in the model's folder must have it.
    channel : str
        "mean", "left" or "right": what the training read of stereo.
    encoder_unrounded : str
        Of the encoder, without rounding; one that has another is used with a
        line in the log.
    """

    encoder: Any  # None until `load`

    def __init__(
        self,
        encoder_hub,
        encoder_revision,
        encoder_files,
        whisper_window,
        members,
        head,
        sizes,
        encoder_values=None,
        channel="mean",
        encoder_unrounded=None,
    ):
        super().__init__()
        self.encoder_hub = encoder_hub
        self.encoder_revision = encoder_revision
        self.encoder_files = list(encoder_files)
        self.whisper_window = whisper_window
        self.sizes = dict(sizes)
        self.encoder_values = encoder_values
        self.encoder_unrounded = encoder_unrounded
        self.channel = channel
        self.adapted_to = 0  # recordings
        self.encoder = None
        make_head = build(head)
        self.heads = nn.ModuleList(make_head(**sizes) for _ in range(members))
        self.eval()

    def train(self, mode=True):
        """Stay in evaluation mode."""
        return super().train(False)

    def load(self, find):
        """Load weights and encoder.

        Arguments
        ---------
        find : callable
            Returns the local path of a file in the model's folder, given its
            name.
        """
        weights = find(WEIGHTS)
        try:
            tensors = load_file(weights)
            self.heads.load_state_dict(tensors)
        except (OSError, RuntimeError, SafetensorError) as problem:
            raise BadInput(
                f"{weights} does not contain the heads that hyperparams.yaml "
                "describes: export the model again"
            ) from problem
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise BadInput(
                f"{weights} contains values that are not finite: export the "
                "model again"
            )
        paths = [
            find(f"{ENCODER_FOLDER}/{name}") for name in self.encoder_files
        ]
        folder = pathlib.Path(paths[0]).parent if paths else None
        paired = pair_of_sizes(self.sizes["num_hidden_states"])
        upstream = open_upstream(
            self.encoder_hub if paired or not paths else folder,
            None if paths else self.encoder_revision,
            self.whisper_window,
            folder,
        )
        for key in ("num_hidden_states", "hidden_size"):
            found = np.ravel(getattr(upstream, key)).tolist()
            needed = np.ravel(self.sizes[key]).tolist()
            if found != needed:
                raise BadInput(
                    f"the encoder {self.encoder_hub} has {key} {found} and the "
                    f"head needs {needed}: export the model again"
                )
        if not paths and self.encoder_values:
            self._check_encoder(upstream)
        self.encoder = upstream.make()
        self.requires_grad_(False)
        self.eval()

    def _check_encoder(self, upstream):
        """Refuse an encoder with other weights than that of the training."""
        folder = upstream.folder
        rounded, unrounded = values_digests(folder) if folder else (None, None)
        if rounded != self.encoder_values:
            raise BadInput(
                f"the encoder {self.encoder_hub} has other weights than the one "
                "that the model was trained on: give that one with "
                "--encoder_hub"
            )
        if self.encoder_unrounded not in (None, unrounded):
            logging.getLogger(__name__).warning(
                f"the encoder {self.encoder_hub} differs from that of the "
                "training by rounding to half precision alone: probabilities "
                "may differ in the third digit"
            )

    def embed(self, wavs, lengths=None):
        """Return the embeddings of all heads, concatenated.

        Arguments
        ---------
        wavs : torch.Tensor
            Mono waveforms at 16 kHz, padded; [batch, samples].
        lengths : torch.Tensor
            In samples or as shares of the longest, see
            `modules.models.padding.count_samples`; [batch].

        Returns
        -------
        embeddings : torch.Tensor
            [batch, members * values].
        """
        if lengths is not None:
            longest = wavs.shape[1]
            lengths = count_samples(lengths, longest) / longest
        states, frames = self.encoder(wavs, lengths)
        return self.pool(states, frames / frames.max())

    def pool(self, hidden_states, lengths):
        """Return what `embed` returns, of the encoder's hidden states.

        Arguments
        ---------
        hidden_states, lengths
            See `modules.models.embedding.Embedding.forward`.
        """
        return torch.cat(
            [head.embedding(hidden_states, lengths) for head in self.heads],
            dim=1,
        )

    def classify(self, embeddings):
        """Return the log of the mean probabilities, [batch, classes].

        Raises
        ------
        BadInput
            If they are not finite.
        """
        scores = self.combine(embeddings)
        if not scores.isfinite().all():
            raise BadInput(
                "the model's probabilities for a recording are not finite: "
                "give a recording of ordinary loudness, or another model"
            )
        return scores

    def combine(self, embeddings):
        """Return what `classify` returns, whatever the values are."""
        parts = embeddings.chunk(len(self.heads), dim=1)
        members = [head.classify(part) for head, part in zip(self.heads, parts)]
        if len(members) == 1:
            return members[0]
        total = torch.logsumexp(torch.stack(members), dim=0)
        return torch.log_softmax(total, dim=1)

    @property
    def is_adapted(self):
        """Whether it is adapted, see `modules.inference.adaptation`."""
        return self.adapted_to > 0

    def distances(self, embeddings):
        """Return the mean distance of all heads from their training, [batch].

        None if they have none, see `modules.models.distance`.
        """
        if not all(h.distance and h.distance.is_fitted for h in self.heads):
            return None
        parts = embeddings.chunk(len(self.heads), dim=1)
        found = [head.distance(part) for head, part in zip(self.heads, parts)]
        return torch.stack(found).mean(dim=0)

    def forward(self, wavs, lengths=None):
        """Return log-probabilities [batch, classes]; see `embed`."""
        return self.classify(self.embed(wavs, lengths))

    def attention(self, wav):
        """Return the mean attention per frame of a waveform [samples].

        None if the pooling has no attention.
        """
        states, _ = self.encoder(wav[None])
        one = torch.ones(1, device=wav.device)
        weights = [
            head.embedding.attention_weights(states, one) for head in self.heads
        ]
        if weights[0] is None:
            return None
        return torch.stack(weights).mean(dim=0)[0]


def split_evenly(samples, rate, longest=LONGEST_SECONDS):
    """Cut a long recording into windows of nearly equal length.

    Arguments
    ---------
    samples : int
        Length of the recording.
    rate : int
        Samples per second.
    longest : float
        Longest window in seconds.

    Returns
    -------
    windows : list of tuple
        (start, stop) in samples.
    """
    count = max(1, -int(-samples // (longest * rate)))
    edges = [samples * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:]))
