"""The test that SpeechBrain's tests/unittests/test_pooling.py gets."""

import torch


def test_correlation_pooling(device):
    from speechbrain.nnet.pooling import (
        AttentiveCorrelationPooling,
        CorrelationPooling,
    )

    torch.manual_seed(0)
    features = torch.randn(2, 9, 4, device=device)
    lengths = torch.tensor([1.0, 5 / 9], device=device)
    row, column = torch.triu_indices(4, 4, offset=1)
    pooled = CorrelationPooling(4)(features, lengths)
    for index, frames in enumerate([9, 5]):
        expected = torch.corrcoef(features[index, :frames].T)[row, column]
        assert torch.allclose(pooled[index], expected, atol=1e-5)

    pooling = AttentiveCorrelationPooling(4, attention_heads=2).to(device)
    assert pooling(features, lengths).shape == (2, pooling.output_size)
    weights = pooling.attention_weights(features, lengths)
    assert torch.allclose(weights.sum(dim=1), torch.ones(2, device=device))
    assert (weights[1, 5:] == 0).all()

    # What pads an utterance makes no difference.
    other_padding = features.clone()
    other_padding[1, 5:] = 1e4
    for module in [CorrelationPooling(4), pooling]:
        assert torch.equal(
            module(features, lengths), module(other_padding, lengths)
        )

    # Constant channels have finite correlations and gradients.
    silence = torch.zeros(1, 3, 4, device=device, requires_grad=True)
    pooled = pooling(silence, torch.ones(1, device=device))
    pooled.sum().backward()
    assert pooled.isfinite().all() and silence.grad.isfinite().all()
