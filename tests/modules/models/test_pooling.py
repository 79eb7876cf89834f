"""Laws 2 to 5 of the poolings."""

import pathlib

import numpy as np
import pytest
import torch
from heads import POOLINGS
from hypothesis import given, strategies as st

from modules.models.pooling import (
    EPS,
    AttentiveCorrelationPooling,
    CorrelationPooling,
    MeanPooling,
    MeanStdPooling,
)

GOLDEN = pathlib.Path(__file__).parents[2] / "data/published_pooling.npz"
CHANNELS = 6

seeds = st.integers(0, 10_000)
lengths_in_frames = st.lists(st.integers(1, 30), min_size=1, max_size=5)


def make_pooling(name, channels=CHANNELS):
    torch.manual_seed(3)
    return POOLINGS[name](channels).eval()


def padded_batch(counts, seed, junk=0.0):
    """Return a padded batch, its relative lengths and its utterances."""
    generator = torch.Generator().manual_seed(seed)
    utterances = [
        torch.randn(count, CHANNELS, generator=generator) for count in counts
    ]
    longest = max(counts)
    batch = torch.full((len(counts), longest, CHANNELS), float(junk))
    for row, utterance in zip(batch, utterances):
        row[: len(utterance)] = utterance
    return batch, torch.tensor(counts) / longest, utterances


def reference_correlation(frames, weights):
    """Equations 5 to 7 of the method, by loops, in float64."""
    frames = np.asarray(frames, dtype=np.float64)
    weights = np.asarray(weights, dtype=np.float64)
    count, channels = frames.shape
    mean = np.zeros(channels)
    for t in range(count):
        mean += weights[t] * frames[t]
    sigma = np.zeros((channels, channels))
    for t in range(count):
        deviation = frames[t] - mean
        sigma += weights[t] * np.outer(deviation, deviation)
    values = []
    for i in range(channels):
        for j in range(i + 1, channels):
            scale = np.sqrt((sigma[i, i] + EPS) * (sigma[j, j] + EPS))
            values.append(sigma[i, j] / scale)
    return np.array(values)


def reference_attention(frames, module):
    """Equation 4 of the method in float64."""
    first, _, second = module.score
    w1, b1, w2, b2 = (
        p.detach().double().numpy()
        for p in (first.weight, first.bias, second.weight, second.bias)
    )
    frames = np.asarray(frames, dtype=np.float64)
    heads = np.maximum(frames @ w1.T + b1, 0) @ w2.T + b2
    scores = np.log(np.exp(heads).sum(axis=1))
    shifted = np.exp(scores - scores.max())
    return shifted / shifted.sum()


@pytest.mark.parametrize("name", POOLINGS)
@given(counts=lengths_in_frames, seed=seeds, junk=st.sampled_from([0, 9, 1e6]))
def test_batch_mates_and_padding_do_not_matter(name, counts, seed, junk):
    batch, lengths, utterances = padded_batch(counts, seed, junk)
    pooling = make_pooling(name)
    together = pooling(batch, lengths)
    for row, utterance in zip(together, utterances):
        alone = pooling(utterance[None], torch.ones(1))[0]
        torch.testing.assert_close(row, alone, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("padding", [float("nan"), float("inf")])
def test_nan_in_the_padding_reaches_no_result(name, padding):
    batch, lengths, _ = padded_batch([4, 9], seed=0, junk=padding)
    batch.requires_grad_()
    pooled = make_pooling(name)(batch, lengths)
    pooled.sum().backward()
    assert torch.isfinite(pooled).all() and torch.isfinite(batch.grad).all()


@given(counts=lengths_in_frames, seed=seeds)
def test_correlation_equals_its_equations_in_float64(counts, seed):
    batch, lengths, utterances = padded_batch(counts, seed)
    plain = CorrelationPooling()(batch, lengths)
    module = make_pooling("attentive_corr")
    attentive = module(batch, lengths)
    for i, utterance in enumerate(utterances):
        uniform = np.full(len(utterance), 1 / len(utterance))
        expected = reference_correlation(utterance, uniform)
        np.testing.assert_allclose(plain[i], expected, atol=1e-5)
        weights = reference_attention(utterance, module)
        expected = reference_correlation(utterance, weights)
        np.testing.assert_allclose(attentive[i].detach(), expected, atol=1e-5)


@given(counts=lengths_in_frames, seed=seeds)
def test_mean_and_deviation_equal_numpy(counts, seed):
    batch, lengths, utterances = padded_batch(counts, seed)
    mean = MeanPooling()(batch, lengths)
    mean_std = MeanStdPooling()(batch, lengths)
    for i, utterance in enumerate(utterances):
        frames = utterance.double().numpy()
        np.testing.assert_allclose(mean[i], frames.mean(axis=0), atol=1e-5)
        deviation = (
            frames.std(axis=0, ddof=1) if len(frames) > 1 else np.zeros(6)
        )
        expected = np.concatenate([frames.mean(axis=0), deviation])
        np.testing.assert_allclose(mean_std[i], expected, atol=5e-5)


@pytest.mark.parametrize("i", [0, 1, 2])
def test_equal_to_the_published_code_without_padding(i):
    golden = np.load(GOLDEN)
    features = torch.from_numpy(golden[f"x_{i}"])[None]
    one = torch.ones(1)
    module = AttentiveCorrelationPooling(256, attention_heads=4)
    names = {
        "0.weight": "W1",
        "0.bias": "b1",
        "2.weight": "W2",
        "2.bias": "b2",
    }
    module.score.load_state_dict(
        {own: torch.from_numpy(golden[name]) for own, name in names.items()}
    )
    # The published plain correlation has two conventions of its own: it is
    # Pearson's times (T - 1) / T, and it adds eps to the deviation where the
    # equations (and its attentive one) add it to the variance.
    count = features.shape[1]
    variance = features[0].double().var(dim=0, correction=0)
    eps = torch.sqrt((variance + EPS) / variance)
    row, column = torch.triu_indices(256, 256, offset=1)
    plain = CorrelationPooling()(features, one) * eps[row] * eps[column]
    pairs = {
        "attention": module.attention_weights(features, one),
        "attentive_corr": module(features, one),
        "corr": plain * (count - 1) / count,
        "mean_std": MeanStdPooling()(features, one),
    }
    for name, ours in pairs.items():
        np.testing.assert_allclose(
            ours[0].detach(), golden[f"{name}_{i}"], atol=2e-6, err_msg=name
        )


@pytest.mark.parametrize("name", ["corr", "attentive_corr"])
@given(counts=lengths_in_frames, seed=seeds)
def test_correlation_lies_between_minus_one_and_one(name, counts, seed):
    batch, lengths, _ = padded_batch(counts, seed)
    batch[..., 1] = batch[..., 0]  # correlated to the last bit
    pooled = make_pooling(name)(batch, lengths)
    assert pooled.min() >= -1 and pooled.max() <= 1


@given(
    counts=st.lists(st.integers(5, 30), min_size=1, max_size=4),
    seed=seeds,
    scale=st.floats(0.1, 100),
    shift=st.floats(-10, 10),
)
def test_correlation_ignores_scale_and_shift(counts, seed, scale, shift):
    batch, lengths, _ = padded_batch(counts, seed)
    changed = batch.clone()
    changed[..., 2] = changed[..., 2] * scale + shift
    torch.testing.assert_close(
        CorrelationPooling()(changed, lengths),
        CorrelationPooling()(batch, lengths),
        atol=2e-4,  # fp32 loses digits to the shift
        rtol=0,
    )


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("case", ["one frame", "constant", "silence"])
def test_finite_with_finite_gradients_in_the_worst_cases(name, case):
    batch, lengths, _ = padded_batch([1, 7, 20], seed=1)
    if case == "constant":
        batch[..., :3] = 5.0
    if case == "silence":
        batch = torch.zeros_like(batch)
    batch.requires_grad_()
    pooling = make_pooling(name)
    pooled = pooling(batch, lengths)
    (pooled * torch.randn_like(pooled)).sum().backward()
    assert torch.isfinite(pooled).all()
    assert torch.isfinite(batch.grad).all()
    for parameter in pooling.parameters():
        assert torch.isfinite(parameter.grad).all()


@given(counts=lengths_in_frames, seed=seeds, loud=st.floats(0.1, 50))
def test_attention_is_a_distribution_over_valid_frames(counts, seed, loud):
    batch, lengths, _ = padded_batch(counts, seed, junk=7.0)
    module = make_pooling("attentive_corr")
    weights = module.attention_weights(batch * loud, lengths)
    assert weights.shape == batch.shape[:2]
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(counts)))
    for row, count in zip(weights, counts):
        assert (row[count:] == 0).all()


def test_attention_heads_are_merged_before_the_softmax():
    features, one = torch.randn(1, 9, CHANNELS), torch.ones(1)
    for heads in (1, 2, 8):
        module = AttentiveCorrelationPooling(CHANNELS, attention_heads=heads)
        assert module(features, one).shape == (1, module.output_size)


@pytest.mark.parametrize("name", POOLINGS)
def test_half_precision_input_is_pooled_in_fp32(name):
    batch, lengths, _ = padded_batch([5, 12], seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = make_pooling(name)(batch.bfloat16(), lengths)
    expected = make_pooling(name)(batch.bfloat16().float(), lengths)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, expected)


def test_a_temperature_evens_the_weights_out():
    features, lengths = torch.randn(2, 9, 6), torch.ones(2)
    sharp = AttentiveCorrelationPooling(6)
    even = AttentiveCorrelationPooling(6, temperature=4.0)
    even.load_state_dict(sharp.state_dict())
    logs = sharp.attention_weights(features, lengths).log() / 4
    torch.testing.assert_close(
        even.attention_weights(features, lengths), logs.softmax(dim=1)
    )
