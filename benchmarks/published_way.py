"""Pooling one utterance after the other, for comparison.

The published code of Kakouros et al. (ICASSP 2023) scores a padded batch and
then correlates in a Python loop over its utterances, all padded frames
included. Written from that description, with the mask mended so that the
results agree; what differs is the time.
"""

import torch
from torch.nn import functional as F


def loop_over_utterances(pooling, packed, frames):
    """Pool each utterance alone; [batch, values].

    Arguments
    ---------
    pooling : modules.models.pooling.Pooling
        Of any kind.
    packed : torch.Tensor
        [frames, channels].
    frames : list of int
        Of each utterance.
    """
    one = torch.ones(1, device=packed.device)
    return torch.cat([pooling(u[None], one) for u in packed.split(frames)])


def loop_over_padded(pooling, packed, frames):
    """Weigh the frames of the padded batch, then correlate in a loop."""
    longest = max(frames)
    batch = torch.stack(
        [
            F.pad(utterance, (0, 0, 0, longest - len(utterance)))
            for utterance in packed.split(frames)
        ]
    )
    counts = torch.tensor(frames, device=packed.device)
    steps = torch.arange(longest, device=packed.device)
    padding = steps >= counts[:, None]
    scores = torch.zeros_like(padding, dtype=batch.dtype)
    if hasattr(pooling, "score"):
        scores = torch.logsumexp(pooling.score(batch), dim=2)
    weights = scores.masked_fill(padding, -torch.inf).softmax(dim=1)
    channels = batch.shape[2]
    upper = torch.triu_indices(channels, channels, offset=1).unbind()
    pooled = []
    for utterance, weight in zip(batch, weights[..., None]):
        centred = utterance - (weight * utterance).sum(dim=0)
        covariance = torch.einsum("ta,tb->ab", weight * centred, centred)
        scale = torch.sqrt(covariance.diagonal() + 1e-9)
        pooled.append((covariance / torch.outer(scale, scale))[upper])
    return torch.stack(pooled)
