"""Batches contain the utterances of their indices."""

import types

import torch

from modules.features.stored_utterances import StoredUtterances


def make(count):
    entries = {
        f"u{i}": {"sha256": f"r{i}", "label": str(i % 3)} for i in range(count)
    }
    cache = types.SimpleNamespace(
        read=lambda recording: f"states of {recording}"
    )
    encoder = types.SimpleNamespace(encode_label=int)
    return StoredUtterances(entries, cache, encoder)


def test_a_batch_contains_the_utterances_of_its_indices():
    dataset = make(7)
    batch = dataset.__getitems__([4, 0, 5])
    assert batch.id == ["u4", "u0", "u5"]
    assert batch.hidden_states == [f"states of r{i}" for i in (4, 0, 5)]
    assert torch.equal(batch.label_encoded, torch.tensor([1, 0, 2]))
    assert [item[0] for item in dataset] == dataset.ids
