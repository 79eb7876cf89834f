"""The linear trainer: targets, dev, the choice of the embedding's parts."""

import functools

import numpy as np
import pytest
import torch
from heads import describe_head, make_joint_head, store

from modules.errors import BadInput
from modules.models.layer_pooling import LayerStack
from modules.models.standardization import Standardization
from modules.training import candidate, logistic_regression
from modules.training.candidate import SHARPNESS, Candidate, left_out_scores
from modules.training.linear import LinearTrainer, check_linear, embed
from modules.training.targets import make_targets

MEANS, BOTH = {"means": 1}, {"means": 1, "correlations": 1}
CANDIDATES = [MEANS, BOTH]


def test_soft_targets_and_smoothing_by_hand():
    entries = [{"recognised": 1.0, "wav": "a"}, {"recognised": 0.8, "wav": "b"}]
    labels = torch.tensor([0, 2])
    targets = make_targets(labels, 3, entries, "recognised", 0.3)
    expected = [[0.8, 0.1, 0.1], [0.17, 0.17, 0.66]]
    np.testing.assert_allclose(targets.numpy(), expected)


class Dataset(list):
    """What `LinearTrainer` uses of a data set of stored utterances."""

    def __init__(self, labels, seed):
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.tensor(labels)
        self.ids = [f"{seed}-{i}" for i in range(len(labels))]
        self.entries = {
            name: {"speaker": f"speaker{i % 4}", "wav": name}
            for i, name in enumerate(self.ids)
        }
        for name, label in zip(self.ids, self.targets):
            states = torch.randn(3, 5, 8, generator=generator)
            states[..., 0] += label
            self.append((name, store(states), label))


make_head = functools.partial(
    describe_head(
        pooling="mean",
        projection_size=None,
        layer_pooling=LayerStack,
        standardization=Standardization,
    ),
    num_hidden_states=3,
    hidden_size=8,
    num_classes=2,
)
make_joint = functools.partial(make_joint_head, 3, 8, 2)


def test_dev_is_predicted_by_a_classifier_trained_without_it():
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    heads, predictions, choices = [], [], []
    for train_on_dev in (False, True):
        heads.append(make_head())
        trainer = LinearTrainer(train_on_dev=train_on_dev)
        predicted, chosen = trainer.fit(heads[-1], train, dev)
        predictions.append(predicted)
        choices.append(chosen)
    without, again = predictions
    assert without.utterances == dev.ids
    assert without.targets.tolist() == dev.targets.tolist()
    torch.testing.assert_close(
        without.log_probabilities, again.log_probabilities
    )
    assert choices[0] == choices[1]
    states = [stored for _, stored, _ in dev]
    with torch.no_grad():
        torch.testing.assert_close(
            heads[0](states), without.log_probabilities, atol=1e-4, rtol=1e-4
        )
        # The classifier that was trained on dev too is another one.
        changed = heads[1](states) - without.log_probabilities
        assert changed.abs().max() > 0.01
    assert choices[0]["dev_WA"] == without.accuracy() > 0.5


@pytest.mark.parametrize("n_train, n_dev", [(12, 8), (8, 8), (8, 4), (20, 8)])
def test_more_values_than_utterances_or_fewer(n_train, n_dev):
    # 16 values; train alone and train with dev lie on either side.
    train = Dataset([0, 1] * (n_train // 2), 0)
    dev = Dataset([0, 1] * (n_dev // 2), 1)
    head = make_head()
    LinearTrainer(C=1.0, train_on_dev=False).fit(head, train, dev)
    embeddings = embed(head, {"train": train})
    weights, bias = logistic_regression.fit(
        head.standardization(embeddings).double().numpy(),
        torch.nn.functional.one_hot(train.targets).double(),
        1.0,
    )
    torch.testing.assert_close(
        head.classifier.weight, weights.float(), atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(
        head.classifier.bias, bias.float(), atol=1e-3, rtol=1e-3
    )


def test_dev_does_not_change_the_standardisation():
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    head, other = make_head(), make_head()
    LinearTrainer().fit(head, train, dev)
    LinearTrainer().fit(other, train, Dataset(dev.targets.tolist(), 2))
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
            states = torch.randn(3, 50, 8, generator=generator)
            states[..., 1] = states[..., 0] * (2 * label - 1)
            states -= states.mean(dim=1, keepdim=True)
            self.append((name, store(states), label))


def shares(chosen):
    return [candidate["share"] for candidate in chosen["candidates"]]


def test_the_candidate_that_left_out_speakers_prefer_has_the_share():
    train, dev = Correlated([0, 1] * 20, 0), Correlated([0, 1] * 20, 1)
    head = make_joint().eval()
    _, chosen = LinearTrainer(candidates=CANDIDATES).fit(head, train, dev)
    assert shares(chosen)[1] > 0.99 and chosen["dev_WA"] == 1
    scores = [c["left_out_log_probability"] for c in chosen["candidates"]]
    expected = torch.softmax(SHARPNESS * torch.tensor(scores).double(), 0)
    assert shares(chosen) == pytest.approx(expected.tolist())


def test_many_equal_candidates_have_equal_shares():
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    trainer = LinearTrainer(C=10.0, candidates=[MEANS] * 11)
    _, chosen = trainer.fit(make_joint(), train, dev)
    shares = [own["share"] for own in chosen["candidates"]]
    assert shares == pytest.approx([1 / 11] * 11)


def test_candidates_are_averaged_by_their_shares(monkeypatch):
    monkeypatch.setattr(candidate, "SHARPNESS", 2.0)
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    heads = [make_joint().eval() for _ in range(3)]
    states = [stored for _, stored, _ in dev]
    for head, candidates in zip(heads, [CANDIDATES, [MEANS], [BOTH]]):
        trainer = LinearTrainer(C=10.0, candidates=candidates)
        _, chosen = trainer.fit(head, train, dev)
        if len(candidates) == 2:
            weights = shares(chosen)
    assert min(weights) > 0.1, "neither has all"
    scores = [
        head.classifier(head.standardization(head.embedding(states)))
        for head in heads
    ]
    expected = weights[0] * scores[1] + weights[1] * scores[2]
    torch.testing.assert_close(scores[0], expected, atol=1e-4, rtol=1e-4)


def test_without_speakers_to_leave_out_the_first_candidate_is_used():
    trainer = LinearTrainer(candidates=CANDIDATES)
    train, dev = Dataset([0] * 9 + [1], 0), Dataset([0], 1)
    _, chosen = trainer.fit(make_joint(), train, dev)
    assert [c["parts"] for c in chosen["candidates"]] == [MEANS]
    assert chosen["candidates"][0]["left_out_log_probability"] is None


def test_a_candidate_with_a_part_that_is_not_there_is_refused():
    trainer = LinearTrainer(candidates=[{"voice": 1}])
    train, dev = Dataset([0, 1] * 9, 0), Dataset([0, 1], 1)
    with pytest.raises(BadInput, match="names the part voice.* means, corr"):
        trainer.fit(make_joint(), train, dev)


@pytest.mark.parametrize(
    "candidate, words",
    [
        ({"voice": 1}, "names the part voice.* means, corr"),
        ({"means": {"share": 1, "directions": 4}}, "one for each pair"),
    ],
)
def test_a_candidate_is_compared_with_the_head_before_encoding(
    candidate, words
):
    trainer = LinearTrainer(candidates=[BOTH, candidate])
    with pytest.raises(BadInput, match=words):
        trainer.check(make_joint())


def test_a_given_C_is_used():
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    _, chosen = LinearTrainer(C=17.0).fit(make_head(), train, dev)
    assert chosen["C"] == 17
    assert chosen["candidates"][0]["left_out_log_probability"] is None
    trainer = LinearTrainer(C=17.0, candidates=CANDIDATES)
    _, chosen = trainer.fit(make_joint(), train, dev)
    assert chosen["C"] == 17, "also where the parts are chosen"


def test_training_utterances_of_one_class_are_refused():
    with pytest.raises(BadInput, match="all of one class.* --seed"):
        LinearTrainer().fit(make_head(), Dataset([1] * 9, 0), Dataset([0], 1))


@pytest.mark.parametrize(
    "parts, words",
    [
        ({"pooling": "attentive_corr"}, r"embedding\.pooling\.score"),
        ({"projection_size": 4}, "embedding.projection.weight"),
        ({"layer_pooling": "sum"}, "embedding.layer_pooling.scores"),
    ],
)
def test_a_head_with_other_weights_is_refused(parts, words):
    linear = {"pooling": "mean", "projection_size": None}
    linear |= {"layer_pooling": LayerStack} | parts
    if linear["layer_pooling"] == "sum":
        del linear["layer_pooling"]
    with pytest.raises(BadInput, match=f"{words}.* hparams/corr_wavlm.yaml"):
        check_linear(describe_head(**linear)(3, 8, 2))


def test_left_out_predictions_are_of_classifiers_without_their_speakers():
    train, dev = Dataset([0, 1] * 20, 0), Dataset([0, 1] * 6, 1)
    head, trainer = make_head(), LinearTrainer()
    embeddings = embed(head, {"train": train, "dev": dev})
    labels = torch.cat([train.targets, dev.targets])
    entries = [*train.entries.values(), *dev.entries.values()]
    fitted = trainer.fit_embeddings(
        head, embeddings, labels, entries, len(train)
    )
    inputs = head.standardization(embeddings[:40]).double().numpy()
    targets = torch.nn.functional.one_hot(train.targets).double()
    speakers = [entry["speaker"] for entry in train.entries.values()]
    folds = logistic_regression.leave_out(train.targets.numpy(), speakers)
    for kept, left in folds:
        assert not {speakers[i] for i in kept} & {speakers[i] for i in left}
        weights, bias = logistic_regression.fit(
            inputs[kept], targets[kept], fitted.chosen["C"]
        )
        scores = torch.from_numpy(inputs[left]) @ weights.T + bias
        torch.testing.assert_close(
            fitted.left_out[left],
            torch.log_softmax(scores, dim=1),
            atol=1e-3,
            rtol=1e-3,
        )


def test_left_out_predictions_are_the_mean_of_the_candidates():
    scores = [
        np.log([[0.9, 0.1], [0.5, 0.5]]),
        np.log([[0.2, 0.8], [0.6, 0.4]]),
    ]
    scores[0][1] = scores[1][1] = np.nan
    candidates = [
        Candidate(MEANS, 1.0, -1.0, share, own)
        for share, own in zip([0.25, 0.75], scores)
    ]
    found = left_out_scores(candidates, torch.tensor([2.0, 1.0]))
    expected = (0.25 * scores[0][0] + 0.75 * scores[1][0]) / 2
    expected = torch.log_softmax(torch.from_numpy(expected), 0)
    torch.testing.assert_close(found[0], expected)
    assert found[1].isnan().all(), "was never left out"
    candidates[0].scores = None
    assert left_out_scores(candidates, None) is None
