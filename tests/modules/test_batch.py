"""Batches are the utterances asked for, in an order of its own per epoch."""

import types

import torch

from modules.batch import ReadAheadSampler, StoredUtterances


def make(count):
    entries = {
        f"u{i}": {"sha256": f"r{i}", "label": str(i % 3)} for i in range(count)
    }
    asked = []
    cache = types.SimpleNamespace(
        read=lambda recording: f"states of {recording}",
        will_need=asked.append,
    )
    encoder = types.SimpleNamespace(encode_label=int)
    return StoredUtterances(entries, cache, encoder), asked


def test_a_batch_is_the_utterances_asked_for():
    dataset, _ = make(7)
    batch = dataset.__getitems__([4, 0, 5])
    assert batch.id == ["u4", "u0", "u5"]
    assert batch.hidden_states == [f"states of r{i}" for i in (4, 0, 5)]
    assert torch.equal(batch.label_encoded, torch.tensor([1, 0, 2]))
    assert [item[0] for item in dataset] == dataset.ids


def test_each_epoch_has_an_order_which_a_seed_repeats():
    dataset, _ = make(50)
    orders = []
    for seed, epoch in ((1, 1), (1, 2), (2, 1), (1, 1)):
        sampler = ReadAheadSampler(dataset, seed, ahead=4)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] and orders[0] != orders[2]


def test_every_recording_is_asked_for_once_and_ahead():
    dataset, asked = make(20)
    order = []
    for index in ReadAheadSampler(dataset, 1, ahead=4):
        order.append(f"r{index}")
        assert len(asked) == min(20, len(order) + 4)
    assert asked == order
