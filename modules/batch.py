"""Batches without padding."""

from dataclasses import dataclass

import torch


@dataclass
class PackedBatch:
    """Utterances end to end: no time or memory goes into padded frames.

    Attributes
    ----------
    id : list of str
        Utterances.
    hidden_states : torch.Tensor
        Frames of all utterances, one after the other;
        [frames, layers, width].
    frames : list of int
        Number of frames per utterance.
    label_encoded : torch.Tensor
        [batch].
    """

    id: list
    hidden_states: torch.Tensor
    frames: list
    label_encoded: torch.Tensor

    @classmethod
    def collate(cls, examples):
        """Pack the items of a data set; for a data loader."""
        states = [example["hidden_states"] for example in examples]
        return cls(
            id=[example["id"] for example in examples],
            hidden_states=torch.cat(states),
            frames=[len(utterance) for utterance in states],
            label_encoded=torch.tensor(
                [example["label_encoded"] for example in examples]
            ),
        )

    def to(self, device):
        """Return the batch on a device."""
        return PackedBatch(
            self.id,
            self.hidden_states.to(device, non_blocking=True),
            self.frames,
            self.label_encoded.to(device, non_blocking=True),
        )
