"""Logistic regression: its optimum, its folds, the choice of C."""

import threading

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from modules.errors import BadInput
from modules.models.standardization import Standardization
from modules.training import logistic_regression
from modules.training.logistic_regression import (
    CANDIDATES,
    choose_C,
    fit,
    leave_out,
)
from modules.training.parts import Parts


def rotate(inputs):
    """Return inputs as few values, of one part that is not standardised."""
    standardization = Standardization({"all": inputs.shape[1]})
    return Parts(inputs, standardization).combine({"all": 1.0})


def one_hot(labels, classes=3):
    return torch.nn.functional.one_hot(labels, classes).double()


def problem(count=60, size=20, classes=3, noise=1.0, seed=0):
    """Return inputs [count, size] and labels that depend on them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, size, generator=generator)
    inputs = centres[labels] + noise * torch.randn(
        count, size, generator=generator
    )
    return inputs / size**0.5, labels


def speakers_of(count, each=12):
    return [f"speaker{i // each}" for i in range(count)]


def direct_minimum(inputs, targets, C):
    """Minimise the definition of the loss in fp64, without any trick."""
    inputs, targets = inputs.double().numpy(), targets.numpy()
    shape = targets.shape[1], inputs.shape[1] + 1

    def loss(flat):
        weights, bias = np.split(flat.reshape(shape), [-1], axis=1)
        scores = log_softmax(inputs @ weights.T + bias.T, axis=1)
        slopes = (np.exp(scores) - targets).T
        gradient = np.c_[slopes @ inputs + weights / C, slopes.sum(axis=1)]
        penalty = (weights**2).sum() / (2 * C)
        return penalty - (targets * scores).sum(), gradient.ravel()

    options = {"gtol": 1e-9, "ftol": 0, "maxiter": 10**5, "maxfun": 10**6}
    start = np.zeros(shape[0] * shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    return np.split(found.x.reshape(shape), [-1], axis=1)


def probabilities(inputs, weights, bias):
    scores = inputs.double() @ torch.as_tensor(weights).T
    return torch.softmax(scores + torch.as_tensor(bias).flatten(), dim=1)


def assert_close(found, expected, atol):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@pytest.mark.parametrize("C", [1.0, 30.0, 1e3])
@pytest.mark.parametrize("size", [20, 90])
def test_the_minimum_is_that_of_the_definition(C, size):
    inputs, labels = problem(size=size)
    rotated, back = rotate(inputs)
    weights, bias = fit(rotated, one_hot(labels), C)
    expected = direct_minimum(inputs, one_hot(labels), C)
    others = problem(size=size, seed=1)[0]
    for some in (inputs, others):
        assert_close(
            probabilities(some, back(weights), bias),
            probabilities(some, *expected),
            1e-5,
        )


@pytest.mark.parametrize("classes", [2, 3])
def test_the_minimum_is_that_of_scikit_learn(classes):
    inputs, labels = problem(classes=classes)
    found = fit(inputs.double().numpy(), one_hot(labels, classes), 30.0)
    theirs = LogisticRegression(C=30.0, tol=1e-9, max_iter=10_000)
    theirs.fit(inputs.double().numpy(), labels.numpy())
    expected = theirs.predict_proba(inputs.double().numpy())
    assert_close(
        probabilities(inputs, *found), torch.from_numpy(expected), 1e-5
    )


def test_soft_targets_have_their_own_minimum():
    inputs, labels = problem()
    targets = 0.7 * one_hot(labels) + 0.1
    assert_close(
        probabilities(inputs, *fit(inputs.double().numpy(), targets, 30.0)),
        probabilities(inputs, *direct_minimum(inputs, targets, 30.0)),
        1e-5,
    )


def test_inputs_that_are_not_finite_are_refused():
    inputs = torch.randn(5, 9)
    inputs[2, 3] = torch.nan
    with pytest.raises(BadInput, match="NaN or infinite"):
        rotate(inputs)


def test_utterances_that_are_all_the_same_are_fitted():
    rotated, back = rotate(torch.zeros(6, 9))
    targets = one_hot(torch.tensor([0, 0, 0, 0, 1, 1]), 2)
    weights, bias = fit(rotated, targets, 10.0)
    found = probabilities(torch.zeros(1, 9), back(weights), bias)
    assert_close(found, torch.tensor([[4, 2]]).double() / 6, 1e-5)


def test_a_class_without_utterances_gets_no_probability():
    inputs, labels = problem(classes=2)
    weights, bias = fit(inputs.double().numpy(), one_hot(labels, 3), 30.0)
    found = probabilities(inputs, weights, bias)
    assert (found[:, 2] == 0).all()
    expected = probabilities(
        inputs, *fit(inputs.double().numpy(), one_hot(labels, 2), 30.0)
    )
    assert_close(found[:, :2], expected, 1e-6)


def test_the_same_result_bit_for_bit():
    def once():
        inputs, labels = problem(size=90)
        rotated, back = rotate(inputs)
        targets, speakers = one_hot(labels), speakers_of(60)
        C, left_out, _ = choose_C(rotated, targets, labels, speakers)
        weights, bias = fit(rotated, targets, C)
        return back(weights), bias, C, left_out

    first, second = once(), once()
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert first[2:] == second[2:]


def test_speakers_are_left_out_whole():
    labels = np.arange(60) % 3
    speakers = speakers_of(60)
    folds = leave_out(labels, speakers)
    assert len(folds) == 5
    for kept, left in folds:
        assert not {speakers[i] for i in kept} & {speakers[i] for i in left}
        assert sorted([*kept, *left]) == list(range(60))
    lefts = np.concatenate([left for _, left in folds])
    assert sorted(lefts.tolist()) == list(range(60))


def test_a_class_of_one_speaker_is_divided_by_utterances():
    labels = np.array([0] * 6 + [1] * 6)
    folds = leave_out(labels, ["a"] * 6 + ["b"] * 6)
    assert len(folds) == 5
    assert all(set(labels[kept]) == {0, 1} for kept, _ in folds)


def test_a_class_of_one_utterance_leaves_nothing_to_choose_by():
    labels = torch.tensor([0] * 6 + [1])
    speakers = list("abcdefg")
    assert leave_out(labels.numpy(), speakers) == []
    inputs = torch.randn(7, 3)
    chosen = choose_C(
        inputs.double().numpy(), one_hot(labels, 2), labels, speakers
    )
    assert chosen == (CANDIDATES[len(CANDIDATES) // 2], None, None)


def test_more_speakers_than_utterances_of_a_class_can_be_left_out():
    labels = np.array([0, 0, 0, 1, 1, 1])
    folds = leave_out(labels, list("abcdef"))
    assert sorted(i for _, left in folds for i in left) == list(range(6))


def left_out_by_definition(inputs, targets, labels, speakers, C):
    """Fit each fold by itself and return the mean log-probability."""
    found = []
    for kept, left in leave_out(labels.numpy(), speakers):
        classes = labels[kept].unique()
        if len(classes) < 2:
            continue
        left = [i for i in left if labels[i] in classes]
        # With two classes scikit-learn penalises their difference alone.
        own = C / 2 if len(classes) == 2 else C
        weights, bias = direct_minimum(
            inputs[kept], targets[kept][:, classes], own
        )
        scores = probabilities(inputs[left], weights, bias).log()
        columns = [classes.tolist().index(label) for label in labels[left]]
        found += scores[range(len(left)), columns].tolist()
    return np.mean(found)


@pytest.mark.parametrize("size", [20, 90])
def test_the_score_of_C_is_that_of_its_definition(size):
    inputs, labels = problem(size=size)
    targets, speakers = one_hot(labels), speakers_of(60)
    rotated, _ = rotate(inputs)
    for C in (10.0, 300.0):
        _, found, _ = choose_C(rotated, targets, labels, speakers, [C])
        expected = left_out_by_definition(inputs, targets, labels, speakers, C)
        assert found == pytest.approx(expected, abs=1e-4)


def test_a_class_that_a_fold_lacks():
    """Two speakers have class 2; grouped folds leave both out together."""
    inputs, labels = problem(count=60, classes=2)
    labels[:5] = labels[12:17] = 2
    speakers = speakers_of(60)
    targets = one_hot(labels)
    original = logistic_regression.leave_out(labels.numpy(), speakers)
    assert min(len(left) for _, left in original) > 0

    def together(labels, speakers):
        left = np.arange(60) < 24
        return [
            (np.flatnonzero(~left), np.flatnonzero(left)),
            (np.flatnonzero(left), np.flatnonzero(~left)),
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logistic_regression, "leave_out", together)
        patch.setitem(globals(), "leave_out", together)
        _, found, _ = choose_C(
            inputs.double().numpy(), targets, labels, speakers, [30.0]
        )
        expected = left_out_by_definition(
            inputs, targets, labels, speakers, 30.0
        )
    assert found == pytest.approx(expected, abs=1e-4)


def test_clear_classes_get_a_larger_C_than_noise():
    speakers = speakers_of(60)
    inputs, labels = problem(size=100, noise=0.3)
    clear, high, _ = choose_C(
        inputs.double().numpy(), one_hot(labels), labels, speakers
    )
    torch.manual_seed(0)
    labels = labels[torch.randperm(60)]
    noise, low, _ = choose_C(
        inputs.double().numpy(), one_hot(labels), labels, speakers
    )
    assert noise == CANDIDATES[0] < clear
    assert low < high < 0


def test_rows_after_the_training_part_have_no_influence():
    inputs, labels = problem(size=90)
    changed = inputs.clone()
    changed[48:] *= -3
    targets, speakers = one_hot(labels[:48]), speakers_of(48)
    chosen = [
        choose_C(rotate(some)[0][:48, :48], targets, labels[:48], speakers)
        for some in (inputs, changed)
    ]
    assert chosen[0][:2] == chosen[1][:2]


@pytest.mark.parametrize("first", [1, 30, 48])
def test_rotation_keeps_the_products_of_the_first_utterances(first):
    inputs, _ = problem(count=48, size=90)
    inputs -= inputs.mean(dim=0)  # the products have no inverse
    rotated, back = rotate(inputs)
    own = torch.from_numpy(rotated[:first, :first])
    double = inputs[:first].double()
    assert_close(own @ own.T, double @ double.T, 1e-8)
    weights = torch.randn(2, first, dtype=torch.float64) @ own
    assert_close(double @ back(weights).T, own @ weights.T, 1e-5)


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_folds_run_side_by_side(four_threads):
    inputs, labels = problem(count=48)
    together = threading.Barrier(4)

    def of_kept(kept):
        # Broken, if fewer than four folds are here at a time.
        together.wait(timeout=60)
        assert torch.get_num_threads() == 1
        return inputs.double().numpy()

    problem_of = one_hot(labels), labels, speakers_of(48)
    found = choose_C(of_kept, *problem_of, [1.0, 10.0])
    expected = choose_C(inputs.double().numpy(), *problem_of, [1.0, 10.0])
    assert found[:2] == expected[:2]
    np.testing.assert_array_equal(found[2], expected[2])
    assert torch.get_num_threads() == 4
