"""The same updates with any number of processes and steps."""

import pytest
import torch
from hypothesis import given, strategies as st
from speechbrain.dataio.sampler import ReproducibleRandomSampler

from modules.training.update_batches import UpdateBatches

# Processes, steps, batch size: eight utterances an update.
SPLITS = [(1, 1, 8), (1, 4, 2), (2, 1, 4), (2, 2, 2), (4, 1, 2), (8, 1, 1)]


def updates(count, processes, steps, batch_size, epoch=1):
    """Return utterance -> weight in the mean of its update, for each update."""
    order = ReproducibleRandomSampler(range(count), seed=3)
    ranks = [
        UpdateBatches(order, batch_size, steps, processes, rank)
        for rank in range(processes)
    ]
    found = []
    for rank in ranks:
        rank.set_epoch(epoch)
        batches = list(rank)
        assert len(batches) == len(rank)
        for step, batch in enumerate(batches, start=1):
            assert 1 <= len(batch) <= batch_size
            number = (step - 1) // steps
            found += [{}] * (number + 1 - len(found))
            found[number] = dict(found[number])
            for one in batch:
                share = rank.weight(step) / len(batch) / (processes * steps)
                if share:
                    assert one not in found[number]
                    found[number][one] = share
    return found


@given(count=st.integers(1, 50), split=st.sampled_from(SPLITS))
def test_an_update_is_the_mean_over_the_same_utterances(count, split):
    expected = updates(count, *SPLITS[0])
    found = updates(count, *split)
    assert [set(one) for one in found] == [set(one) for one in expected]
    assert sorted(u for one in found for u in one) == list(range(count))
    for one in found:
        assert list(one.values()) == pytest.approx([1 / len(one)] * len(one))


def test_one_process_gets_the_batches_of_speechbrain():
    order = ReproducibleRandomSampler(range(20), seed=3)
    own = UpdateBatches(order, 8)
    own.set_epoch(5)
    theirs = list(torch.utils.data.BatchSampler(order, 8, drop_last=False))
    assert list(own) == theirs
    assert [own.weight(step) for step in (1, 2, 3)] == [1.0, 1.0, 1.0]
