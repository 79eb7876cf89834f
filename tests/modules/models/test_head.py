"""The head: its parts are in the paper's order, stored equals padded."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from modules.errors import BadInput
from modules.features.stored_states import StoredStates
from modules.models.ecapa import POOLINGS
from modules.models.fusion import PairPooling
from modules.models.head import EmotionHead, Standardization
from modules.models.layer_pooling import LayerStack


def store(states):
    """Store hidden states [layers, frames, width] as they are."""
    return StoredStates.from_hidden_states(states.movedim(0, 1), torch.float32)


LAYERS = [
    {"projection_size": 6, "layer_pooling": "sum"},
    {"projection_size": 6, "layer_pooling": "stack"},
    {"projection_size": None, "layer_pooling": "stack", "standardize": True},
]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("layers", LAYERS)
@settings(deadline=None, max_examples=10)
@given(
    frames=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_stored_equals_padded_equals_alone(
    pooling, normalize, layers, frames, seed
):
    torch.manual_seed(seed)
    head = EmotionHead(
        3,
        8,
        4,
        pooling=pooling,
        normalize_layers=normalize,
        ecapa_channels=8,
        **layers,
    ).eval()
    states = [torch.randn(3, count, 8) for count in frames]
    stored = head([store(utterance) for utterance in states])
    batch = torch.full((3, len(frames), max(frames), 8), 5.0)
    for i, utterance in enumerate(states):
        batch[:, i, : frames[i]] = utterance
    padded = head(batch, torch.tensor(frames) / max(frames))
    torch.testing.assert_close(stored, padded, atol=1e-5, rtol=1e-4)
    for i, utterance in enumerate(states):
        alone = head(utterance[:, None], torch.ones(1))[0]
        torch.testing.assert_close(stored[i], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_of_stored_equal_those_of_padded(normalize):
    head = EmotionHead(
        3,
        8,
        4,
        projection_size=6,
        channel_dropout=0.0,
        normalize_layers=normalize,
    )
    states = torch.randn(3, 6, 5, 8)
    lengths = torch.tensor([1.0, 0.4, 1.0, 0.6, 0.8, 1.0])
    frames = (lengths * 5).round().int().tolist()
    gradients = []
    for output in (
        head(states, lengths),
        head([store(states[:, i, :n]) for i, n in enumerate(frames)]),
    ):
        head.zero_grad()
        output[:, 0].sum().backward()
        gradients.append([p.grad.clone() for p in head.parameters()])
    for padded, stored in zip(*gradients):
        torch.testing.assert_close(padded, stored, atol=1e-6, rtol=1e-4)


def test_sizes_at_the_scale_of_the_paper():
    head = EmotionHead(layers=25, width=1024, classes=4)
    assert head.classifier.in_features == 32_640
    megabytes = sum(p.numel() for p in head.parameters()) * 4 / 1e6
    assert 1.5 < megabytes < 2.5
    output = head(torch.randn(25, 2, 3, 1024), torch.ones(2))
    torch.testing.assert_close(output.exp().sum(dim=1), torch.ones(2))


def test_unknown_pooling_is_refused_with_the_choices():
    with pytest.raises(BadInput, match="mean, mean_std, corr, mean_corr"):
        EmotionHead(3, 8, 4, pooling="max")


def test_standardisation_gives_all_values_together_variance_one():
    torch.manual_seed(0)
    embeddings = 3 + torch.randn(50, 4) * torch.tensor([1.0, 10.0, 0.1, 0.0])
    standardization = Standardization([4])
    standardization.fit(embeddings)
    out = standardization(embeddings)
    torch.testing.assert_close(
        out.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0
    )
    deviations = out.std(dim=0, correction=0)
    torch.testing.assert_close(deviations[:3], torch.full((3,), 0.5))
    # What was constant in training stays out, whatever a test brings.
    assert standardization(torch.full((1, 4), 99.0))[0, 3] == 0


def test_each_moment_has_its_share_of_the_variance():
    torch.manual_seed(0)
    embeddings = torch.randn(50, 9) * torch.logspace(-3, 3, 9)
    standardization = Standardization([6, 0, 3])
    standardization.fit(embeddings)
    parts = standardization(embeddings).split([6, 3], dim=1)
    for part in parts:
        variance = part.var(dim=0, correction=0).sum().item()
        assert variance == pytest.approx(1 / 2, rel=1e-4)


@pytest.mark.parametrize("layers, middle", [(2, 1), (5, 2), (13, 6), (25, 12)])
def test_the_middle_transformer_layer_is_correlated(layers, middle):
    head = EmotionHead(
        layers,
        width=4,
        classes=2,
        projection_size=None,
        pooling="mean_corr",
        layer_pooling="stack",
    ).eval()
    states = torch.zeros(layers, 1, 9, 4)
    states[middle] = torch.randn(1, 9, 4)
    embedding = head.pool(head.project(states), torch.ones(1))[0]
    row, column = torch.triu_indices(4, 4, offset=1)
    expected = torch.corrcoef(states[middle, 0].T)[row, column]
    torch.testing.assert_close(embedding[-6:], expected)


def test_one_may_choose_the_layer_and_of_two_upstreams_it_is_both():
    stack = LayerStack(5)
    assert stack.layer_channels(2, layer=4) == [6, 7]
    with pytest.raises(BadInput, match="layer 5 does not exist.* 1 to 4"):
        stack.layer_channels(2, layer=5)
    pair = PairPooling(stack, LayerStack(3))
    assert pair.layer_channels((2, 3)) == [2, 3, 8, 9, 10]
