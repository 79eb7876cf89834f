"""Utterances of a split as waveforms: fine-tuning has no features to keep."""

from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from modules.features.extraction import read_recording


@dataclass
class WaveformBatch:
    """Utterances, padded.

    Attributes
    ----------
    id : list of str
        Utterances.
    wavs : torch.Tensor
        [batch, samples].
    lengths : torch.Tensor
        Relative lengths, [batch].
    label_encoded : torch.Tensor
        [batch].
    """

    id: list
    wavs: torch.Tensor
    lengths: torch.Tensor
    label_encoded: torch.Tensor

    def to(self, device):
        """Return the batch on a device."""
        return WaveformBatch(
            self.id,
            self.wavs.to(device),
            self.lengths.to(device),
            self.label_encoded.to(device),
        )


class WaveformUtterances(Dataset):
    """The utterances of a split, read for each batch.

    Arguments
    ---------
    entries : dict
        Manifest entries by utterance.
    label_encoder : speechbrain.dataio.encoder.CategoricalEncoder
        Encodes all labels.
    """

    def __init__(self, entries, label_encoder):
        self.ids = list(entries)
        self.entries = list(entries.values())
        self.targets = torch.tensor(
            [label_encoder.encode_label(e["label"]) for e in self.entries]
        )

    def __len__(self):
        """Return the number of utterances."""
        return len(self.ids)

    def __getitems__(self, indices):
        """Return a `WaveformBatch`; PyTorch's loaders ask for it at once."""
        wavs = [read_recording(self.entries[i]) for i in indices]
        longest = max(map(len, wavs))
        return WaveformBatch(
            [self.ids[i] for i in indices],
            pad_sequence(wavs, batch_first=True),
            torch.tensor([len(wav) / longest for wav in wavs]),
            self.targets[indices],
        )

    def longest(self, count):
        """Return a batch of the utterances that need the most memory."""
        order = sorted(
            range(len(self)), key=lambda i: -self.entries[i]["duration"]
        )
        return self.__getitems__(order[:count])
