"""Hidden states of one recording in the number format of a store."""

from dataclasses import dataclass

import torch

from modules.models.layer_pooling import layer_moments

FORMATS = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "int8": torch.int8,
}


@dataclass
class StoredStates:
    """Hidden states, frame after frame.

    Attributes
    ----------
    values : torch.Tensor
        One of `FORMATS`, [frames, layers, hidden_size].
    moments : torch.Tensor
        See `modules.models.layer_pooling.layer_moments`; of the values as stored,
        fp32, [frames, layers, 2].
    scales : torch.Tensor
        What int8 values are multiplied by, fp32, [layers, hidden_size]; None for
        the other formats.
    """

    values: torch.Tensor
    moments: torch.Tensor
    scales: torch.Tensor | None = None

    @classmethod
    def from_hidden_states(cls, states, dtype):
        """Store hidden states in a number format.

        Arguments
        ---------
        states : torch.Tensor
            fp32, [frames, layers, hidden_size].
        dtype : torch.dtype
            One of `FORMATS`. int8 divides the largest magnitude of each
            channel of each layer in this recording into 127 steps, so that
            no other recording has a part in it.

        Returns
        -------
        stored : StoredStates

        Raises
        ------
        OverflowError
            If they exceed the range of the number format.
        """
        if dtype != torch.int8:
            stored = cls(states.to(dtype).contiguous(), None)
        else:
            scales = states.abs().amax(dim=0) / 127
            steps = states / scales.clamp(min=1e-30)
            stored = cls(steps.round().to(dtype).contiguous(), None, scales)
        states = stored.float()
        if not torch.isfinite(states).all():
            raise OverflowError(f"hidden states beyond the range of {dtype}")
        stored.moments = layer_moments(states).contiguous()
        return stored

    def __len__(self):
        """Return the number of frames."""
        return len(self.values)

    def float(self):
        """Return the hidden states in fp32, [frames, layers, hidden_size]."""
        states = self.values.float()
        return states if self.scales is None else states * self.scales

    def layer(self, index):
        """Return one layer in fp32, [frames, hidden_size]."""
        states = self.values[:, index].float()
        return states if self.scales is None else states * self.scales[index]

    def to(self, device):
        """Return the hidden states on a device; no copy if they are there."""
        if self.values.device == torch.device(device):
            return self
        return self.copy_to(device)

    def copy_to(self, device):
        """Return a copy in the memory of a device."""
        return StoredStates(
            **{
                name: tensor.to(device, non_blocking=True, copy=True)
                for name, tensor in self.tensors().items()
            }
        )

    def tensors(self):
        """Return what is to be stored, by name."""
        named = {"values": self.values, "moments": self.moments}
        return named | ({} if self.scales is None else {"scales": self.scales})

    def parts(self, frames, means=None):
        """Yield fp32 states of at most so many frames.

        The states are valid until the next ones are yielded: all share one
        buffer.

        Arguments
        ---------
        frames : int
            Of a part.
        means : torch.Tensor
            Subtracted from all channels, [all frames, layers]; None: nothing
            is subtracted.
        """
        buffer = None
        for start in range(0, len(self), frames):
            rows = slice(start, start + frames)
            states = self.values[rows]
            if states.dtype == torch.float32 and means is None:
                yield states
                continue
            if buffer is None:
                buffer = torch.empty_like(states, dtype=torch.float32)
            part = buffer[: len(states)]
            if self.scales is not None:
                torch.mul(states, self.scales, out=part)
                states = part
            if means is not None:
                torch.sub(states, means[rows, :, None], out=part)
            elif states is not part:
                part.copy_(states)
            yield part

    @staticmethod
    def join(utterances):
        """Return one object with the frames of several."""
        if utterances[0].scales is None:
            values = torch.cat([u.values for u in utterances])
        else:
            values = torch.cat([u.float() for u in utterances])
        return StoredStates(values, torch.cat([u.moments for u in utterances]))
