"""SpeechBrain's ECAPA-TDNN as a pooling that padding does not change.

SpeechBrain's convolutions reflect a batch at the end of its longest
utterance, so that the others' last frames see their padding, and its batch
normalisation counts padded frames. Here every utterance is reflected at its
own end and only valid frames are counted: without padding the result is
SpeechBrain's, with padding it is the same.

Source: Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN: Emphasized Channel
Attention, Propagation and Aggregation in TDNN Based Speaker Verification",
Interspeech 2020 (arXiv 2005.07143).
"""

import contextvars

import torch
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, TDNNBlock
from torch import nn
from torch.nn import functional as F

from modules.models.pooling import Pooling

# Channels are divided into so many groups; SpeechBrain's default.
_RES2NET_SCALE = 8


class _Frames:
    """Which frames of a padded batch are valid, for all parts of a network.

    Arguments
    ---------
    mask : torch.Tensor
        True on valid frames, [batch, frames].
    """

    def __init__(self, mask):
        self.mask = mask
        self._places = {}  # reach -> [batch, 1, frames + 2 * reach]

    def places(self, reach):
        """Return where frames come from when utterances are reflected.

        Arguments
        ---------
        reach : int
            Frames that a convolution needs on either side.

        Returns
        -------
        places : torch.Tensor
            Of frames -reach to frames + reach, [batch, 1, frames + 2 reach].
        """
        if reach not in self._places:
            counts = self.mask.sum(dim=1)[:, None]
            period = (2 * counts - 2).clamp(min=1)
            steps = torch.arange(
                -reach, self.mask.shape[1] + reach, device=self.mask.device
            )
            steps = steps[None, :] % period
            places = torch.minimum(steps, period - steps)
            # Of utterances of one frame, that frame.
            self._places[reach] = places.minimum(counts - 1)[:, None]
        return self._places[reach]


# The parts of SpeechBrain's network are called without a mask. Not an
# attribute of theirs: threads may share a network.
_frames = contextvars.ContextVar("frames")


class _Reflecting(nn.Module):
    """A convolution over time that reflects each utterance at its own ends.

    Arguments
    ---------
    convolution : speechbrain.nnet.CNN.Conv1d
        Of an odd kernel; gives its weights.
    """

    def __init__(self, convolution):
        super().__init__()
        self.conv = convolution.conv
        self.reach = convolution.dilation * (convolution.kernel_size - 1) // 2

    def forward(self, x):
        """Convolve [batch, channels, frames]."""
        places = _frames.get().places(self.reach)
        return self.conv(x.gather(2, places.expand(-1, x.shape[1], -1)))


class _CountingNorm(nn.BatchNorm1d):
    """Batch normalisation whose statistics are of valid frames alone."""

    def forward(self, x):
        """Normalise [batch, channels, frames], or one value per channel."""
        frames = x.shape[2]
        mask = _frames.get().mask
        if frames != mask.shape[1]:
            mask = mask[:, :1]  # after the pooling: one value per utterance
        if not self.training or mask.sum() < 2:
            # One value has no deviation.
            return F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                eps=self.eps,
            )
        packed = super().forward(x.transpose(1, 2)[mask])
        result = packed.new_zeros(len(x), frames, x.shape[1])
        return result.masked_scatter(mask[..., None], packed).transpose(1, 2)


class EcapaPooling(Pooling):
    """SpeechBrain's ECAPA-TDNN: frames become an embedding.

    Arguments
    ---------
    input_size : int
        Number of channels that come in.
    channels : int
        Of its convolutions, a multiple of 8; three times as many in the last.
    embedding_size : int
        Number of values per utterance.

    Example
    -------
    >>> pooling = EcapaPooling(16, channels=32)
    >>> pooling(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 192])
    """

    # Statistics of the batch: in training, all of it goes through at once.
    whole_batch = True

    def __init__(self, input_size, channels=512, embedding_size=192):
        super().__init__(input_size)
        if channels < 1 or channels % _RES2NET_SCALE:
            raise ValueError(f"ecapa_channels {channels} is no multiple of 8")
        self.ecapa = ECAPA_TDNN(
            input_size,
            channels=[channels] * 4 + [3 * channels],
            lin_neurons=embedding_size,
            res2net_scale=_RES2NET_SCALE,
        )
        self.embedding_size = embedding_size
        for part in list(self.ecapa.modules()):
            if isinstance(part, TDNNBlock):
                part.norm.norm = _CountingNorm(part.norm.norm.num_features)
                if part.conv.kernel_size > 1:
                    part.conv = _Reflecting(part.conv)
        self.ecapa.asp_bn.norm = _CountingNorm(6 * channels)

    @property
    def output_size(self):
        return self.embedding_size

    def pool(self, features, mask):
        counts = mask.sum(dim=1)
        # Half a frame less: rounding must not add one.
        lengths = (counts - 0.5) / mask.shape[1]
        token = _frames.set(_Frames(mask))
        try:
            return self.ecapa(features, lengths).squeeze(1)
        finally:
            _frames.reset(token)
