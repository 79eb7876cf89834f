"""Logistic regression and the choice of C by left-out speakers."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from modules.training.logistic_regression import (
    CANDIDATES,
    choose_C,
    fit,
    leave_out,
    rotate,
)


def one_hot(labels, classes):
    return torch.nn.functional.one_hot(labels, classes).double()


def problem(count=60, size=20, classes=3, noise=1.0, seed=0):
    """Return inputs [count, size] and labels that depend on them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, size, generator=generator)
    inputs = centres[labels] + noise * torch.randn(
        count, size, generator=generator
    )
    return inputs.double() / size**0.5, labels


@pytest.mark.parametrize("C", [1.0, 30.0])
def test_the_minimum_is_that_of_scikit_learn(C):
    inputs, labels = problem()
    weights, bias = fit(inputs, one_hot(labels, 3), C)
    theirs = LogisticRegression(C=C, tol=1e-8, max_iter=10_000)
    theirs.fit(inputs.numpy(), labels.numpy())
    expected = theirs.predict_log_proba(inputs.numpy())
    found = torch.log_softmax(inputs @ weights.T + bias, dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_rotation_keeps_the_minimum():
    inputs, labels = problem(count=30, size=80)
    rotated, back = rotate(inputs.float())
    assert rotated.shape == (30, 30)
    targets = one_hot(labels, 3)
    weights, bias = fit(inputs, targets, 10.0)
    turned, turned_bias = fit(rotated, targets, 10.0)
    fresh = problem(count=9, size=80, seed=1)[0]
    torch.testing.assert_close(
        fresh @ back(turned).T + turned_bias,
        fresh @ weights.T + bias,
        atol=2e-3,
        rtol=0,
    )


def test_no_speaker_is_in_both_parts():
    labels = torch.arange(60) % 3
    speakers = [f"speaker{i // 12}" for i in range(60)]
    parts = leave_out(labels, speakers)
    assert len(parts) == 5
    for kept, left in parts:
        assert not {speakers[i] for i in kept} & {speakers[i] for i in left}
    assert sorted(torch.cat([left for _, left in parts]).tolist()) == list(
        range(60)
    )


def test_a_class_of_one_speaker_is_divided_by_utterances():
    labels = torch.tensor([0] * 6 + [1] * 6)
    parts = leave_out(labels, ["a"] * 6 + ["b"] * 6)
    assert len(parts) == 5
    assert all(set(labels[kept].tolist()) == {0, 1} for kept, _ in parts)


def test_a_class_of_one_utterance_leaves_the_middle_C():
    labels = torch.tensor([0] * 6 + [1])
    speakers = list("abcdef") + ["g"]
    assert leave_out(labels, speakers) == []
    inputs = torch.randn(7, 3).double()
    chosen = choose_C(inputs, one_hot(labels, 2), labels, speakers)
    assert chosen == (CANDIDATES[len(CANDIDATES) // 2], None)


def test_C_is_larger_where_classes_can_be_separated():
    speakers = [f"speaker{i // 12}" for i in range(60)]
    inputs, labels = problem(size=100, noise=0.3)
    clear, high = choose_C(inputs, one_hot(labels, 3), labels, speakers)
    torch.manual_seed(0)
    labels = labels[torch.randperm(60)]
    noise, low = choose_C(inputs, one_hot(labels, 3), labels, speakers)
    assert noise == CANDIDATES[0] < clear
    assert low < high < 0
