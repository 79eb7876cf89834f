"""Correlations along the directions of the channels that a classifier uses."""

import numpy as np
import pytest
import torch

from modules.errors import BadInput
from modules.models.standardization import Standardization
from modules.training import directions, logistic_regression
from modules.training.candidate import check_candidates, choose_candidates
from modules.training.linear import LinearTrainer
from modules.training.parts import Parts

CHANNELS = 12
PAIRS = CHANNELS * (CHANNELS - 1) // 2
ALONG = {"means": 1, "correlations": {"share": 1, "directions": 4}}


def square(correlations):
    """Return symmetric matrices with a diagonal of 0."""
    matrices = torch.zeros(len(correlations), CHANNELS, CHANNELS).double()
    row, column = torch.triu_indices(CHANNELS, CHANNELS, offset=1)
    matrices[:, row, column] = correlations.double()
    return matrices + matrices.transpose(1, 2)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 5, CHANNELS])
def test_moments_have_the_products_of_whole_matrices(count):
    correlations = random(70, PAIRS)
    found = random(CHANNELS, count, seed=1).double()
    moments = directions.along(correlations, found.numpy())
    assert moments.shape == (70, count * (count + 1) // 2)
    whole = found.T @ square(correlations) @ found
    # Moments are computed in fp32, and products are of the order of 1000.
    expected = torch.einsum("nij,mij->nm", whole, whole)
    torch.testing.assert_close(
        moments @ moments.T, expected, atol=1e-2, rtol=1e-4
    )


def test_weights_are_turned_back():
    correlations = random(9, PAIRS)
    found = random(CHANNELS, 5, seed=1).double().numpy()
    weights = random(3, 15, seed=2).double()
    scores = directions.along(correlations, found) @ weights.T
    turned = correlations.double() @ directions.back(weights, found).T
    torch.testing.assert_close(turned, scores, atol=1e-4, rtol=1e-4)


def test_directions_that_classes_share_are_found():
    used = np.linalg.qr(random(CHANNELS, 2).numpy())[0]
    generator = np.random.default_rng(0)
    row, column = np.triu_indices(CHANNELS, 1)
    weights = []
    for _ in range(3):
        own = generator.normal(size=(2, 2))
        weights.append((used @ (own + own.T) @ used.T)[row, column])
    found = directions.find_directions(np.array(weights), 4)
    lengths = (found**2).sum(axis=0)
    assert (np.diff(lengths) <= 1e-12).all() and lengths[0] == pytest.approx(1)
    # The diagonal, which correlations do not have, is missing.
    unit = found[:, :2] / lengths[:2] ** 0.5
    assert np.linalg.svd(used.T @ unit)[1].min() > 0.95


def make_parts(count, means=3):
    generator = torch.Generator().manual_seed(0)
    embeddings = 3 + torch.randn(count, means + PAIRS, generator=generator)
    standardization = Standardization({"means": means, "correlations": PAIRS})
    standardization.fit(embeddings)
    return Parts(embeddings, standardization), standardization(embeddings)


@pytest.mark.parametrize("count", [10, 40])  # fewer than values, and more
def test_the_scores_are_those_of_one_linear_classifier(count):
    parts, standardised = make_parts(count)
    targets = torch.eye(2).double().repeat(count // 2, 1)
    inputs, back = parts.combine(ALONG, targets)
    assert (inputs.shape[0] == inputs.shape[1]) is (count == 10)
    own, _ = logistic_regression.fit(inputs, targets, 10.0)
    scores = standardised.double() @ back(own).T
    expected = torch.from_numpy(inputs) @ own.T
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-3)
    assert own.abs().max() > 0.1
    # Each part has half of the variance.
    assert (inputs**2).sum(axis=1).mean() == pytest.approx(1, abs=1e-6)


def test_left_out_labels_play_no_part_in_the_scores_of_a_fold():
    parts, standardised = make_parts(40)
    labels = torch.arange(40) % 2
    speakers = [f"speaker{i // 10}" for i in range(30)]
    targets = torch.nn.functional.one_hot(labels[:30]).double()
    # The last 10 utterances are those of dev.
    own = parts, [ALONG], None, targets, labels[:30], speakers
    [chosen] = choose_candidates(*own)

    def expected(kept, known):
        inputs, back = parts.combine(ALONG, targets[known], known)
        weights, bias = logistic_regression.fit(
            inputs[kept], targets[kept], chosen.C
        )
        scores = standardised.double() @ back(weights).T + bias
        return torch.log_softmax(scores, dim=1)

    whole = np.arange(30)
    for kept, left in logistic_regression.leave_out(labels[:30], speakers):
        found = torch.from_numpy(chosen.scores[left])
        of_kept = expected(kept, kept)[left]
        torch.testing.assert_close(found, of_kept, atol=1e-3, rtol=1e-3)
        assert (expected(kept, whole)[left] - found).abs().max() > 0.02


def test_a_fold_has_the_inputs_of_the_utterances_it_keeps():
    labels = torch.arange(40) % 2
    speakers = [f"speaker{i // 10}" for i in range(40)]
    seen = []

    def inputs(kept):
        seen.append(frozenset(kept.tolist()))
        return random(40, 5).double().numpy()

    targets = torch.nn.functional.one_hot(labels).double()
    logistic_regression.choose_C(inputs, targets, labels, speakers, [1.0])
    expected = logistic_regression.leave_out(labels, speakers)
    assert set(seen) == {frozenset(kept.tolist()) for kept, _ in expected}
    assert len(seen) == len(expected) == 4


def planted(count, seed):
    """Return correlations in which a hidden direction carries the class."""
    channels = 40
    generator = torch.Generator().manual_seed(7)
    used = torch.linalg.qr(torch.randn(channels, 2, generator=generator))[0]
    generator.manual_seed(seed)
    labels = torch.arange(count) % 2
    frames = torch.randn(count, 60, channels, generator=generator)
    some = torch.randn(count, 60, 1, generator=generator)
    sign = 2 * labels[:, None, None] - 1
    frames += 0.5 * some * (used[:, 0] + sign * used[:, 1])
    frames -= frames.mean(dim=1, keepdim=True)
    frames /= frames.std(dim=1, keepdim=True)
    row, column = torch.triu_indices(channels, channels, offset=1)
    matrices = frames.transpose(1, 2) @ frames / 60
    return matrices[:, row, column], labels


def test_few_directions_are_found_by_few_utterances():
    correlations, labels = planted(60, 0)
    unseen, truth = planted(400, 1)
    standardization = Standardization({"correlations": correlations.shape[1]})
    standardization.fit(correlations)
    parts = Parts(correlations, standardization)
    targets = torch.nn.functional.one_hot(labels).double()
    right = []
    for weight in (1, {"share": 1, "directions": 8}):
        inputs, back = parts.combine({"correlations": weight}, targets)
        own, bias = logistic_regression.fit(inputs, targets, 10.0)
        scores = standardization(unseen).double() @ back(own).T + bias
        right.append((scores.argmax(1) == truth).double().mean().item())
    assert right[1] > right[0] + 0.05


@pytest.mark.parametrize(
    "weight",
    [
        True,
        "1",
        -1,
        float("nan"),
        float("inf"),
        {"share": 1},
        {"directions": 4},
        {"share": 1, "directions": 0},
        {"share": 1, "directions": 2.5},
        {"share": 1, "directions": 4, "layer": 2},
        None,
    ],
)
def test_a_weight_of_another_form_is_refused(weight):
    with pytest.raises(BadInput, match="gives correlations neither a share"):
        LinearTrainer(candidates=[{"means": 1, "correlations": weight}])


@pytest.mark.parametrize("candidates", [["means"], {"means": 1}, [None]])
def test_a_candidate_that_is_not_a_dict_is_refused(candidates):
    with pytest.raises(BadInput, match=r"is not a dict such as \{means: 1\}"):
        LinearTrainer(candidates=candidates)


def test_a_candidate_without_a_share_is_refused():
    with pytest.raises(BadInput, match="no part a share above 0"):
        check_candidates([{"means": 1}, {"means": 0}])


def test_directions_of_other_values_are_refused():
    parts, _ = make_parts(10, means=4)
    targets = torch.eye(2).double().repeat(5, 1)
    weights = {"means": {"share": 1, "directions": 4}}
    with pytest.raises(BadInput, match="4 values are not one for each pair"):
        parts.combine(weights, targets)
