"""The head: log-probabilities of stored, padded and single utterances."""

import pytest
import torch
from heads import POOLINGS, make_head, make_joint_head, store
from hypothesis import given, settings, strategies as st

from modules.errors import BadInput
from modules.models.fusion import PairPooling
from modules.models.joint_embedding import JointEmbedding
from modules.models.layer_pooling import LayerPooling, LayerStack, OneLayer
from modules.models.standardization import Standardization

LAYERS = [
    {"layer_pooling": LayerPooling},
    {"layer_pooling": LayerPooling, "normalize": True},
    {"layer_pooling": LayerStack, "normalize": True},
    {"layer_pooling": OneLayer, "layer": 2},
    {
        "layer_pooling": LayerStack,
        "include_input": True,
        "projection_size": None,
        "standardization": Standardization,
    },
]
HEADS = [
    (make_head, {"pooling": pooling} | layers)
    for pooling in POOLINGS
    for layers in LAYERS
] + [(make_joint_head, {})]


@pytest.mark.parametrize("make, parts", HEADS)
@settings(max_examples=10)
@given(
    frames=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_stored_equals_padded_equals_alone(make, parts, frames, seed):
    torch.manual_seed(seed)
    head = make(**parts).eval()
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
    head = make_head(normalize=normalize)
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


def test_sizes_of_the_paper():
    head = make_head(25, 1024, 4, projection_size=256, channel_dropout=0.25)
    assert head.classifier.in_features == 32_640
    megabytes = sum(p.numel() for p in head.parameters()) * 4 / 1e6
    assert 1.5 < megabytes < 2.5
    output = head(torch.randn(25, 2, 3, 1024), torch.ones(2))
    torch.testing.assert_close(output.exp().sum(dim=1), torch.ones(2))


def test_channel_dropout_is_applied_in_training_alone():
    head = make_head(channel_dropout=0.5)
    states, one = torch.randn(3, 2, 30, 8), torch.ones(2)
    assert not torch.equal(head(states, one), head(states, one))
    head.eval()
    assert torch.equal(head(states, one), head(states, one))


def test_all_values_together_get_variance_one():
    embeddings = 3 + torch.randn(50, 4) * torch.tensor([1.0, 10.0, 0.1, 0.0])
    standardization = Standardization({"embedding": 4})
    standardization.fit(embeddings)
    out = standardization(embeddings)
    torch.testing.assert_close(
        out.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0
    )
    deviations = out.std(dim=0, correction=0)
    torch.testing.assert_close(deviations[:3], torch.full((3,), 0.5))
    # A value that is constant in training has no influence on a test.
    assert standardization(torch.full((1, 4), 99.0))[0, 3] == 0


def test_each_part_has_a_total_variance_of_one():
    embeddings = torch.randn(50, 9) * torch.logspace(-3, 3, 9)
    standardization = Standardization({"a": 6, "b": 0, "c": 3})
    standardization.fit(embeddings)
    parts = standardization(embeddings).split([6, 3], dim=1)
    for part in parts:
        variance = part.var(dim=0, correction=0).sum().item()
        assert variance == pytest.approx(1, rel=1e-4)


def test_some_columns_are_those_of_all():
    embeddings = torch.randn(50, 9)
    standardization = Standardization({"a": 6, "b": 3})
    standardization.fit(embeddings)
    some = standardization(embeddings, slice(4, 7))
    torch.testing.assert_close(some, standardization(embeddings)[:, 4:7])


@pytest.mark.parametrize("layers, middle", [(2, 1), (5, 2), (13, 6), (25, 12)])
def test_the_recommended_head_correlates_the_middle_layer(layers, middle):
    head = make_joint_head(layers, 4, 2).eval()
    states = torch.randn(layers, 1, 9, 4)
    embedding = head.embedding(states, torch.ones(1))[0]
    layer = torch.nn.functional.layer_norm(states[middle, 0], (4,))
    row, column = torch.triu_indices(4, 4, offset=1)
    expected = torch.corrcoef(layer.T)[row, column]
    torch.testing.assert_close(embedding[-6:], expected, atol=1e-5, rtol=1e-4)
    assert head.embedding.sizes == {
        "means": 4 * (layers - 1),
        "correlations": 6,
    }


def test_a_layer_that_does_not_exist_is_refused():
    assert OneLayer(5, layer=4).layer == 4
    assert OneLayer(1).layer == 0, "filter banks"
    for layer in (5, -1):
        with pytest.raises(BadInput, match=f"layer {layer} does not.* 0 to 4"):
            OneLayer(5, layer=layer)


def test_the_recommended_head_of_two_upstreams():
    head = make_joint_head((5, 3), (2, 3), 4)
    means, correlations = head.embedding.parts.values()
    assert isinstance(means.layer_pooling, PairPooling)
    # Layers 1 to 4 of two channels and 1 to 2 of three; 2 + 3 channels.
    assert head.embedding.sizes == {"means": 14, "correlations": 10}
    assert isinstance(head.embedding, JointEmbedding)
    assert correlations.layer_pooling.first.layer == 2
    assert correlations.layer_pooling.second.layer == 1
