"""The layer-weighted sum equals its definition, from memory or a store."""

import pytest
import torch
from hypothesis import given, strategies as st

from modules.features.stored_states import FORMATS, StoredStates
from modules.models import layer_pooling
from modules.models.layer_pooling import LayerPooling, LayerStack


def normalized(states):
    """Return each frame of each layer at mean 0, deviation 1, in float64."""
    return torch.nn.functional.layer_norm(states.double(), states.shape[-1:])


@given(
    seed=st.integers(0, 2**16),
    scale=st.floats(0.05, 50),
    ratio=st.one_of(st.floats(-2, 2), st.floats(20, 200)),
    outlier=st.booleans(),
)
def test_layer_pooling_equals_its_definition(seed, scale, ratio, outlier):
    """At any ratio of mean to deviation; one channel may be an outlier.

    The error is at most 1e-5 of the largest term, of deviation 1 or as large
    as the states: offsets of real encoders' outlier channels lose no digits.
    """
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(4, 2, 5, 16, generator=generator)
    if outlier:
        states[..., 3] += ratio * 16**0.5
    else:
        states += ratio
    states *= scale
    for normalize in (False, True):
        module = LayerPooling(4, normalize)
        module.scores.data = torch.randn(4, generator=generator)
        weights = module.scores.softmax(dim=0).double()
        layers = normalized(states) if normalize else states.double()
        expected = torch.einsum("l,lbtc->btc", weights, layers)
        atol = 1e-5 * (1 if normalize else states.abs().max().item())
        stored = [
            StoredStates.from_hidden_states(
                states[:, i].movedim(0, 1), torch.float32
            )
            for i in range(2)
        ]
        for found in (module(states), module(stored).view(2, 5, 16)):
            torch.testing.assert_close(
                found.double(), expected, atol=atol, rtol=1e-5
            )


def test_layer_weights_start_uniform():
    torch.testing.assert_close(
        LayerPooling(5).layer_weights(), torch.full((5,), 0.2)
    )


@pytest.mark.parametrize("number_format", FORMATS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("part", [1, 200, 2**20])
def test_stored_sum_and_gradient_equal_those_of_autograd(
    number_format, normalize, part, monkeypatch
):
    """In parts of any size; a part may be shorter than an utterance."""
    monkeypatch.setattr(layer_pooling, "_PART", part)
    torch.manual_seed(0)
    stored = [
        StoredStates.from_hidden_states(
            3 + torch.randn(frames, 4, 16), FORMATS[number_format]
        )
        for frames in (5, 1, 9)
    ]
    module = LayerPooling(4, normalize)
    module.scores.data = torch.randn(4)
    states = torch.cat([utterance.float() for utterance in stored])
    expected = module(states.movedim(1, 0))
    upstream = torch.randn(expected.shape)
    (wanted,) = torch.autograd.grad(expected, module.scores, upstream)
    result = module(stored)
    (gradient,) = torch.autograd.grad(result, module.scores, upstream)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, wanted, atol=1e-4, rtol=1e-4)


def test_joined_utterances_have_the_same_sum():
    """As on a GPU, where all utterances of a batch are joined."""
    torch.manual_seed(0)
    stored = [
        StoredStates.from_hidden_states(torch.randn(n, 3, 8), torch.int8)
        for n in (4, 2)
    ]
    joined = StoredStates.join(stored)
    module = LayerPooling(3, normalize=True)
    torch.testing.assert_close(module([joined]), module(stored))


@pytest.mark.parametrize("layers, kept", [(4, [1, 2, 3]), (1, [0])])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_stack_contains_the_transformer_layers_in_order(
    layers, kept, normalize
):
    torch.manual_seed(0)
    states = 3 + 5 * torch.randn(layers, 2, 6, 16)
    stacked = LayerStack(layers, normalize)(states)
    assert stacked.shape == (2, 6, len(kept) * 16)
    for part, layer in zip(stacked.split(16, dim=-1), kept):
        expected = states[layer]
        if normalize:
            expected = expected - expected.mean(dim=-1, keepdim=True)
            deviation = expected.square().mean(dim=-1, keepdim=True).sqrt()
            expected = expected / deviation
        torch.testing.assert_close(part, expected, atol=1e-5, rtol=1e-4)
    stored = [
        StoredStates.from_hidden_states(
            states[:, i].movedim(0, 1), torch.float32
        )
        for i in range(2)
    ]
    packed = LayerStack(layers, normalize)(stored)
    torch.testing.assert_close(packed, stacked.flatten(0, 1))
