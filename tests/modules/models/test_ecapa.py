"""ECAPA-TDNN equals SpeechBrain's where nothing is padded."""

import pytest
import torch
from heads import make_head, store
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

from modules.models.ecapa import EcapaPooling


def pooling_with_statistics():
    """Return a pooling whose running statistics are not the initial ones."""
    torch.manual_seed(0)
    pooling = EcapaPooling(6, channels=8, embedding_size=10)
    for _ in range(3):
        pooling(1 + 3 * torch.randn(4, 20, 6), torch.ones(4))
    return pooling.eval()


def test_without_padding_it_equals_speechbrains():
    ours = pooling_with_statistics()
    theirs = ECAPA_TDNN(6, channels=[8, 8, 8, 8, 24], lin_neurons=10)
    theirs.load_state_dict(ours.ecapa.state_dict())
    features = torch.randn(3, 15, 6)
    for module in (ours.eval(), theirs.eval()):
        assert not module.training
    torch.testing.assert_close(
        ours(features, torch.ones(3)), theirs(features).squeeze(1)
    )
    # In training, which uses and updates the statistics of the batch.
    torch.testing.assert_close(
        ours.train()(features, torch.ones(3)),
        theirs.train()(features).squeeze(1),
    )
    for mine, other in zip(ours.ecapa.buffers(), theirs.buffers()):
        torch.testing.assert_close(mine, other)


def test_padding_changes_speechbrains_and_not_ours():
    """The reason for a module of our own."""
    ours = pooling_with_statistics()
    theirs = ECAPA_TDNN(6, channels=[8, 8, 8, 8, 24], lin_neurons=10)
    theirs.load_state_dict(ours.ecapa.state_dict())
    short = torch.randn(1, 9, 6)
    padded = torch.zeros(2, 30, 6)
    padded[0, :9] = short
    padded[1] = torch.randn(30, 6)
    lengths = torch.tensor([0.3, 1.0])
    alone = ours(short, torch.ones(1))[0]
    torch.testing.assert_close(ours(padded, lengths)[0], alone)
    other = theirs.eval()(padded, lengths)[0, 0]
    assert (other - alone).abs().max() > 1e-3


def test_statistics_of_training_count_valid_frames_alone():
    counts = [3, 12, 7]
    utterances = [torch.randn(count, 6) for count in counts]
    running = []
    for junk, longest in ((0.0, 12), (1e6, 40)):
        torch.manual_seed(1)
        pooling = EcapaPooling(6, channels=8)
        batch = torch.full((3, longest, 6), junk)
        for row, utterance in zip(batch, utterances):
            row[: len(utterance)] = utterance
        pooling(batch, torch.tensor(counts) / longest)
        running.append([b.clone() for b in pooling.buffers()])
    for one, other in zip(*running):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("frames", [[1], [1, 2], [9]])
def test_a_small_last_batch_can_be_trained_on(frames):
    head = make_head(1, 4, 3, pooling="ecapa_tdnn", channel_dropout=0.25)
    stored = [store(torch.randn(1, n, 4)) for n in frames]
    head(stored)[:, 0].sum().backward()
    for parameter in head.parameters():
        assert torch.isfinite(parameter.grad).all()


def test_a_batch_is_normalised_as_a_whole():
    """On a CPU, other poolings process a batch in parts."""
    head = make_head(1, 4, 3, pooling="ecapa_tdnn")
    states = torch.randn(1, 9, 5, 4)
    stored = [store(states[:, i]) for i in range(9)]
    torch.testing.assert_close(
        head(stored), head(states, torch.ones(9)), atol=1e-5, rtol=1e-4
    )


def test_channels_come_in_groups_of_eight():
    with pytest.raises(ValueError, match="ecapa_channels 12 is no multiple"):
        EcapaPooling(6, channels=12)
