"""Utterances of a split, and batches of them, as training reads them."""

from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from modules.manifest import recording_of


@dataclass
class StoredBatch:
    """Utterances whose hidden states stay where the store has them.

    Attributes
    ----------
    id : list of str
        Utterances.
    hidden_states : list of modules.features.stored_states.StoredStates
        One per utterance; not a byte is copied to make a batch.
    label_encoded : torch.Tensor
        [batch].
    """

    id: list
    hidden_states: list
    label_encoded: torch.Tensor

    def to(self, device):
        """Return the batch on a device."""
        # "cuda" is the current one, such as "cuda:0", which tensors name.
        device = torch.empty(0, device=device).device
        return StoredBatch(
            self.id,
            [states.to(device) for states in self.hidden_states],
            self.label_encoded.to(device, non_blocking=True),
        )


class StoredUtterances(Dataset):
    """The utterances of a split, read from a store.

    Not SpeechBrain's `DynamicItemDataset`: its pipeline runs anew for every
    utterance of every batch, and all that it could find out is known before
    training.

    Arguments
    ---------
    entries : dict
        Manifest entries by utterance.
    cache : modules.features.cache.FeatureCache
        Contains every recording.
    label_encoder : speechbrain.dataio.encoder.CategoricalEncoder
        Encodes all labels.
    """

    def __init__(self, entries, cache, label_encoder):
        self.entries = entries
        self.ids = list(entries)
        self.recordings = list(map(recording_of, entries.values()))
        self.targets = torch.tensor(
            [label_encoder.encode_label(e["label"]) for e in entries.values()]
        )
        self.cache = cache

    def __len__(self):
        """Return the number of utterances."""
        return len(self.ids)

    def __getitem__(self, index):
        """Return (utterance, hidden states, target)."""
        states = self.cache.read(self.recordings[index])
        return self.ids[index], states, self.targets[index]

    def __getitems__(self, indices):
        """Return a `StoredBatch`; PyTorch's loaders ask for it at once."""
        return StoredBatch(
            [self.ids[i] for i in indices],
            [self.cache.read(self.recordings[i]) for i in indices],
            self.targets[indices],
        )


def as_is(batch):
    """Return what `StoredUtterances` made; for a data loader's collate_fn."""
    return batch
