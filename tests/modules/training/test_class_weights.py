"""Weights of rare classes: their values, and what they do in training."""

import types

import numpy as np
import pytest
import torch
from speechbrain.nnet.losses import nll_loss
from test_linear import CANDIDATES, Dataset, make_head, make_joint

from modules.errors import BadInput
from modules.training import candidate
from modules.training.brain import EmotionBrain
from modules.training.linear import LinearTrainer
from modules.training.logistic_regression import choose_C, fit
from modules.training.metrics import score
from modules.training.settings import check_settings
from modules.training.targets import class_weights, make_targets


def test_balanced_weights_make_every_class_count_alike():
    labels = torch.tensor([0] * 6 + [1] * 3 + [3])
    weights = class_weights("balanced", labels, 5)
    # n / (classes * count); class 2 and 4 have no utterance.
    expected = [10 / 18, 10 / 9, 1, 10 / 3, 1]
    np.testing.assert_allclose(weights.numpy(), expected)
    assert weights[labels].sum() == pytest.approx(10)


def test_an_utterance_of_weight_two_counts_as_two():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(30, 4, generator=generator).double().numpy()
    labels = torch.arange(30) % 3
    entries = [{"agreement": 0.5 + i / 60} for i in range(30)]
    twice = [*range(30), *(i for i in range(30) if labels[i] == 1)]
    options = {"soft_labels": "agreement", "label_smoothing": 0.1}
    weighted = make_targets(
        labels, 3, entries, weights=torch.tensor([1.0, 2.0, 1.0]), **options
    )
    repeated = make_targets(
        labels[twice], 3, [entries[i] for i in twice], **options
    )
    found = fit(inputs, weighted, 10.0)
    expected = fit(inputs[twice], repeated, 10.0)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def trained(train, dev, make, **options):
    head = make()
    predictions, chosen = LinearTrainer(**options).fit(head, train, dev)
    return head.classifier.weight, predictions, chosen


def test_weights_of_one_are_the_unweighted_training():
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    found = [
        trained(train, dev, make_joint, candidates=CANDIDATES, class_weights=w)
        for w in ("balanced", None)
    ]
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][2] == found[1][2]


def test_a_rare_class_gains_recall():
    labels = ([0] * 9 + [1]) * 12
    train, dev = Dataset(labels, 0), Dataset([0, 1] * 100, 1)
    recalls = {}
    for setting in ("balanced", None):
        _, predictions, _ = trained(
            train, dev, make_head, class_weights=setting
        )
        recalls[setting] = score(*predictions.pairs(), ["a", "b"])["recall"]
    assert recalls["balanced"]["b"] > recalls[None]["b"] + 0.05


def test_choices_count_utterances_by_their_weights():
    labels = torch.tensor(([0] * 4 + [1]) * 12)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 4, generator=generator).double()
    inputs[:, 0] += labels
    speakers = [f"speaker{i % 4}" for i in range(60)]
    weights = class_weights("balanced", labels, 2)
    targets = make_targets(labels, 2, [{}] * 60, weights=weights)
    _, found, scores = choose_C(
        inputs.numpy(), targets, labels, speakers, [10.0]
    )
    own = scores[np.arange(60), labels]
    assert found == pytest.approx(np.average(own, weights=weights[labels]))
    assert abs(found - own.mean()) > 0.01


def test_the_shares_of_candidates_come_from_the_weighted_choice(monkeypatch):
    monkeypatch.setattr(candidate, "SHARPNESS", 2.0)
    train, dev = Dataset(([0] * 5 + [1]) * 10, 0), Dataset([0, 1] * 6, 1)
    options = {"candidates": CANDIDATES, "class_weights": "balanced"}
    _, _, chosen = trained(train, dev, make_joint, **options)
    scores = [c["left_out_log_probability"] for c in chosen["candidates"]]
    expected = torch.softmax(2 * torch.tensor(scores).double(), 0)
    shares = [c["share"] for c in chosen["candidates"]]
    assert shares == pytest.approx(expected.tolist())
    for number, parts in enumerate(CANDIDATES):
        _, _, alone = trained(
            train, dev, make_joint, **options | {"candidates": [parts]}
        )
        own = alone["candidates"][0]["left_out_log_probability"]
        assert own == pytest.approx(scores[number])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_gradient_descent_by_hand(smoothing):
    logs = torch.log_softmax(torch.randn(5, 3), dim=1)
    targets = torch.tensor([0, 2, 1, 1, 0])
    weights = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)

    def loss(*args, **more):
        return nll_loss(*args, label_smoothing=smoothing, **more)

    brain = types.SimpleNamespace(
        hparams=types.SimpleNamespace(compute_loss=loss), class_weights=weights
    )
    found = EmotionBrain._training_loss(brain, logs, targets)
    smoothed = make_targets(targets, 3, [{}] * 5, None, smoothing, weights)
    expected = -(smoothed * logs).sum(dim=1).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    brain.class_weights = torch.ones(3)
    ones = EmotionBrain._training_loss(brain, logs, targets)
    brain.class_weights = class_weights("balanced", torch.arange(9) % 3, 3)
    assert torch.equal(
        EmotionBrain._training_loss(brain, logs, targets), loss(logs, targets)
    ), "a balanced corpus has no weights"
    torch.testing.assert_close(ones, loss(logs, targets))


def test_another_setting_is_refused():
    with pytest.raises(BadInput, match="class_weights must be one of balanced"):
        check_settings({"class_weights": "rare"})
