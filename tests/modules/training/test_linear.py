"""The linear classifier's minimum, and what it may not see."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from modules.features.stored_states import StoredStates
from modules.models.head import EmotionHead
from modules.training.linear import (
    STRENGTHS,
    LinearTraining,
    choose_strength,
    fit_classifier,
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


@pytest.mark.parametrize("strength", [1.0, 30.0])
def test_the_minimum_is_scikit_learns(strength):
    inputs, labels = problem()
    weights, bias = fit_classifier(inputs, one_hot(labels, 3), strength)
    theirs = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
    theirs.fit(inputs.numpy(), labels.numpy())
    expected = theirs.predict_log_proba(inputs.numpy())
    found = torch.log_softmax(inputs @ weights.T + bias, dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_rotation_keeps_the_minimum():
    inputs, labels = problem(count=30, size=80)
    rotated, back = rotate(inputs.float())
    assert rotated.shape == (30, 30)
    targets = one_hot(labels, 3)
    weights, bias = fit_classifier(inputs, targets, 10.0)
    turned, turned_bias = fit_classifier(rotated, targets, 10.0)
    fresh = problem(count=9, size=80, seed=1)[0]
    torch.testing.assert_close(
        fresh @ back(turned).T + turned_bias,
        fresh @ weights.T + bias,
        atol=2e-3,
        rtol=0,
    )


def test_soft_targets_and_smoothing_by_hand():
    training = LinearTraining(label_smoothing=0.3, soft_labels="recognised")
    entries = [{"recognised": 1.0, "wav": "a"}, {"recognised": 0.8, "wav": "b"}]
    targets = training.make_targets(torch.tensor([0, 2]), 3, entries)
    expected = [[0.8, 0.1, 0.1], [0.17, 0.17, 0.66]]
    np.testing.assert_allclose(targets.numpy(), expected)


def test_speakers_are_left_out_whole():
    labels = torch.arange(60) % 3
    speakers = [f"speaker{i // 12}" for i in range(60)]
    parts = leave_out(labels, speakers)
    assert len(parts) == 5
    for kept, left in parts:
        assert not {speakers[i] for i in kept} & {speakers[i] for i in left}
    assert sorted(torch.cat([left for _, left in parts]).tolist()) == list(
        range(60)
    )


def test_a_class_of_one_speaker_or_one_utterance():
    labels = torch.tensor([0] * 6 + [1] * 6)
    parts = leave_out(labels, ["a"] * 6 + ["b"] * 6)
    assert len(parts) == 5
    assert all(set(labels[kept].tolist()) == {0, 1} for kept, _ in parts)
    labels = torch.tensor([0] * 6 + [1])
    speakers = list("abcdef") + ["g"]
    assert leave_out(labels, speakers) == []
    inputs = torch.randn(7, 3).double()
    chosen = choose_strength(inputs, one_hot(labels, 2), labels, speakers)
    assert chosen == (STRENGTHS[len(STRENGTHS) // 2], None)


def test_what_speakers_agree_on_is_trusted_and_noise_is_not():
    speakers = [f"speaker{i // 12}" for i in range(60)]
    inputs, labels = problem(size=100, noise=0.3)
    clear, sure = choose_strength(inputs, one_hot(labels, 3), labels, speakers)
    torch.manual_seed(0)
    labels = labels[torch.randperm(60)]
    noise, guess = choose_strength(inputs, one_hot(labels, 3), labels, speakers)
    assert noise == STRENGTHS[0] < clear
    assert guess < sure < 0


class Dataset(list):
    """What `LinearTraining` knows of `modules.features.stored_utterances.StoredUtterances`."""

    def __init__(self, labels, seed):
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.tensor(labels)
        self.ids = [f"{seed}-{i}" for i in range(len(labels))]
        self.entries = {
            name: {"speaker": f"speaker{i % 4}", "wav": name}
            for i, name in enumerate(self.ids)
        }
        for name, label in zip(self.ids, self.targets):
            states = torch.randn(5, 3, 8, generator=generator)
            states[..., 0] += label
            stored = StoredStates.from_hidden_states(states, torch.float32)
            self.append((name, stored, label))


def make_head(pooling="mean"):
    return EmotionHead(
        3,
        8,
        2,
        projection_size=None,
        pooling=pooling,
        channel_dropout=0.0,
        layer_pooling="stack",
        standardize=True,
    )


def test_dev_is_told_by_a_classifier_that_has_not_seen_it():
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    heads, told = [], []
    for train_on_dev in (False, True):
        heads.append(make_head())
        training = LinearTraining(train_on_dev=train_on_dev)
        told.append(training.fit(heads[-1], train, dev))
    (ids, targets, without), chosen = told[0]
    assert ids == dev.ids and targets.tolist() == dev.targets.tolist()
    torch.testing.assert_close(without, told[1][0][2])
    assert chosen == told[1][1]
    states = [stored for _, stored, _ in dev]
    with torch.no_grad():
        torch.testing.assert_close(
            heads[0](states), without, atol=1e-4, rtol=1e-4
        )
        # Trained on dev, it knows dev better.
        assert (heads[1](states) - without).abs().max() > 0.01
    accuracy = (without.argmax(dim=1) == targets).double().mean().item()
    assert chosen["dev_WA"] == accuracy > 0.5


def test_dev_has_no_part_in_the_scale():
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    head, other = make_head(), make_head()
    LinearTraining().fit(head, train, dev)
    LinearTraining().fit(other, train, Dataset(dev.targets.tolist(), 2))
    torch.testing.assert_close(
        head.standardization.mean, other.standardization.mean
    )


class Correlated(Dataset):
    """Classes that differ in how two channels go together, and not in mean."""

    def __init__(self, labels, seed):
        super().__init__(labels, seed)
        self.clear()
        generator = torch.Generator().manual_seed(seed)
        for name, label in zip(self.ids, self.targets):
            states = torch.randn(50, 3, 8, generator=generator)
            states[..., 1] = states[..., 0] * (2 * label - 1)
            states -= states.mean(dim=0)
            stored = StoredStates.from_hidden_states(states, torch.float32)
            self.append((name, stored, label))


def test_correlations_are_used_where_left_out_speakers_gain_by_them():
    labels = [0, 1] * 20
    training = LinearTraining(choose_moments=True)
    head = make_head("mean_corr").eval()
    _, chosen = training.fit(head, Correlated(labels, 0), Correlated(labels, 1))
    assert chosen["moments"] == 2 and chosen["dev_WA"] == 1
    unused = LinearTraining().fit(
        make_head(), Correlated(labels, 0), Correlated(labels, 1)
    )[1]["left_out_log_probability"]
    assert chosen["left_out_log_probability"] > unused + 0.1


def test_correlations_that_are_noise_are_left_out():
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    head, plain = make_head("mean_corr").eval(), make_head().eval()
    _, chosen = LinearTraining(choose_moments=True).fit(head, train, dev)
    _, expected = LinearTraining().fit(plain, train, dev)
    assert chosen == pytest.approx(expected) and chosen["moments"] == 1
    states = [stored for _, stored, _ in dev]
    torch.testing.assert_close(head(states), plain(states))


def test_where_nothing_can_be_left_out_the_mean_is_used():
    training = LinearTraining(choose_moments=True)
    head = make_head("mean_corr")
    _, chosen = training.fit(head, Dataset([0] * 9 + [1], 0), Dataset([0], 1))
    assert chosen["moments"] == 1
    assert chosen["left_out_log_probability"] is None
