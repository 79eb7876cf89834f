"""The distance from the training: what it is, and whom it concerns."""

import numpy as np
import pytest
import torch

from modules.errors import BadInput
from modules.models.distance import TrainingDistance
from modules.training.distance_fit import fit_distance

SIZES = {"voice": 3, "means": 40}


def corpus(shift=0.0, seed=0, speakers=10, each=20):
    """Return embeddings that vary mostly in a few directions."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn(6, 40, generator=generator)
    generator = torch.Generator().manual_seed(seed)
    count = speakers * each
    voices = torch.randn(speakers, 6, generator=generator)
    hidden = torch.randn(count, 6, generator=generator)
    hidden = hidden + 0.5 * voices.repeat_interleave(each, 0)
    noise = torch.randn(count, 43, generator=generator)
    noise[:, 3:] = hidden @ axes + 0.3 * noise[:, 3:] + shift
    names = [f"speaker{i // each}" for i in range(count)]
    return noise, torch.arange(count) % 4, names


def fitted(components=6):
    distance = TrainingDistance(SIZES, "means", components)
    fit_distance(distance, *corpus())
    return distance


def test_it_is_the_mahalanobis_distance_and_the_residual():
    distance = fitted()
    train, others = corpus()[0][:, 3:], corpus(seed=1)[0]
    z = (train - train.mean(0)) / train.std(0, correction=0) / 40**0.5
    u, s, v = np.linalg.svd(z.double().numpy(), full_matrices=False)
    tested = (others[:, 3:] - train.mean(0)) / train.std(0, correction=0)
    tested = tested.double().numpy() / 40**0.5
    along = tested @ v[:6].T
    squared = (along**2 / (s[:6] ** 2 / 200)).mean(1)
    rest = ((z.double().numpy() @ v[6:].T) ** 2).sum(1).mean()
    squared = squared + ((tested @ v[6:].T) ** 2).sum(1) / rest
    found = distance(others).double().numpy()
    ratio = found**2 / squared
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.05)


def test_unseen_speakers_are_near_and_another_corpus_is_far():
    distance = fitted()
    own = (distance(corpus(seed=1)[0]) > 1).float().mean()
    foreign = (distance(corpus(shift=2.0, seed=1)[0]) > 1).float().mean()
    assert own < 0.2 and foreign > 0.9


def test_other_parts_have_no_influence():
    distance, embeddings = fitted(), corpus(seed=1)[0]
    changed = embeddings.clone()
    changed[:, :3] += 100
    assert torch.equal(distance(embeddings), distance(changed))


def test_scores_beyond_the_limit_are_divided_the_more_the_further():
    distance, embeddings = fitted(), corpus(shift=0.4, seed=1)[0]
    far = corpus(shift=40.0, seed=2)[0]
    found = distance(embeddings)
    temperature = distance.temperature_of(embeddings)[:, 0]
    assert 0 < (found > 1).sum() < len(found)
    assert torch.equal(temperature > 1, found > 1)
    order = found.argsort()
    assert bool((temperature[order].diff() >= 0).all())
    assert torch.equal(
        distance.temperature_of(far), torch.full((len(far), 1), 8.0)
    )


def test_it_is_zero_before_it_is_fitted_and_where_nobody_is_left_out():
    distance = TrainingDistance(SIZES)
    assert not distance(corpus()[0]).any()
    labels = torch.tensor([0] * 9 + [1])  # one utterance of a class
    fit_distance(distance, torch.randn(10, 43), labels, list("abcdefghij"))
    assert not distance(corpus()[0]).any()


def test_constant_and_few_values():
    distance = TrainingDistance({"means": 4}, components=64)
    embeddings = torch.randn(12, 4)
    embeddings[:, 1] = 7.0
    names = [f"speaker{i // 3}" for i in range(12)]
    fit_distance(distance, embeddings, torch.arange(12) % 2, names)
    assert distance(torch.randn(5, 4)).isfinite().all()


def test_a_part_that_is_not_there_is_refused():
    with pytest.raises(BadInput, match="no part 'mean': choose one of voice"):
        TrainingDistance(SIZES, "mean")
