"""The trainer of heads whose classifier alone is trained.

The embedding has no trained weights, so that the loss is convex in the weights
of the classifier: multinomial logistic regression. Candidates weight the parts
of the embedding differently. The log-probability of speakers that are left out
of the training part in turn chooses each candidate's C and its share in the
mean of all candidates, which is one linear classifier again. The test fold
plays no role in a choice.
"""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from modules.errors import BadInput
from modules.training import logistic_regression
from modules.training.distance_fit import add_share_beyond, fit_distance
from modules.training.fold import Trained
from modules.training.logistic_regression import CANDIDATES
from modules.training.metrics import Predictions
from modules.training.parts import Parts
from modules.training.speaker_normalization import (
    SpeakerNormalization,
    describe_decision,
    left_out,
    subtract_means,
)

logger = get_logger(__name__)

# A candidate whose left-out log-probability is lower by 1 / SHARPNESS nats has
# 1 / e of the share. 20 to 100 differ by 0.2 points of WA on EmoDB, TurEV-DB
# and ASED; the best candidate alone and the plain mean are behind.
SHARPNESS = 50.0


@dataclasses.dataclass
class Candidate:
    """One linear classifier among those that are averaged.

    Attributes
    ----------
    parts : dict
        Part of the embedding -> its share of the variance, relative.
    C : float
        Inverse regularisation.
    left_out_log_probability : float
        Of training speakers that were left out, in nats; None: unknown.
    share : float
        In the mean of the candidates' scores.
    """

    parts: dict[str, float]
    C: float
    left_out_log_probability: float | None
    share: float = 1.0
    inputs: Any = dataclasses.field(default=None, repr=False)
    back: Callable = dataclasses.field(default=None, repr=False)

    def summary(self) -> dict[str, Any]:
        """Return the plain values, for results.json."""
        return {
            "parts": self.parts,
            "C": self.C,
            "left_out_log_probability": self.left_out_log_probability,
            "share": self.share,
        }


class LinearTrainer:
    """Trains the classifier of a head by logistic regression.

    Arguments
    ---------
    C : float
        Inverse regularisation, as in scikit-learn, on embeddings whose values
        have a total variance of 1. None: chosen by left-out speakers.
    candidates : list of dict
        Each a classifier of some parts of a joint embedding, part -> share of
        the variance; they are averaged. If no speaker can be left out, the
        first one is used alone. None: one, of all parts alike.
    label_smoothing : float
        Share of a target's probability that is spread over all classes.
    soft_labels : str
        Field of the manifest with the share of listeners who agreed with the
        label, such as "recognised" (EmoDB) or "agreement" (IEMOCAP); the
        other classes share the rest. None: the label has probability 1.
    train_on_dev : bool
        After all choices, train again on train and dev together. Predictions
        of dev are those of the training without dev.
    speaker_normalization : bool or str
        True, or "auto" where it is offered: embeddings minus the mean of
        their speaker, see `modules.training.speaker_normalization`.
    """

    def __init__(
        self,
        C: float | None = None,
        candidates: list[dict[str, float]] | None = None,
        label_smoothing: float = 0.0,
        soft_labels: str | None = None,
        train_on_dev: bool = True,
        speaker_normalization: bool | str = False,
    ):
        self.C = C
        self.candidates = candidates
        self.label_smoothing = label_smoothing
        self.soft_labels = soft_labels
        self.train_on_dev = train_on_dev
        self.speaker_normalization = SpeakerNormalization(speaker_normalization)

    def check(self, head) -> None:
        """Refuse a head that cannot be trained; see `check_linear`."""
        check_linear(head)

    def train(self, run, run_opts, upstream, head, datasets) -> Trained:
        """Train a head; see `modules.training.gradient_descent`."""
        progress = not run_opts["noprogressbar"]
        dev, chosen = self.fit(
            head, datasets["train"], datasets["dev"], progress
        )
        embeddings = embed(head, {"test": datasets["test"]}, progress)
        add_share_beyond(chosen, head, "test", embeddings)
        if chosen.get("speaker_normalization"):
            entries = datasets["test"].entries.values()
            speakers = [entry["speaker"] for entry in entries]
            mean = head.standardization.mean
            embeddings = subtract_means(embeddings, speakers, mean)
        test = predict(head, datasets["test"], embeddings)
        return Trained(dev, test, chosen)

    def fit(self, head, train, dev, progress=False):
        """Train a head.

        Arguments
        ---------
        head : modules.models.head.EmotionHead
            Gets its standardisation and its classifier.
        train, dev : modules.features.stored_utterances.StoredUtterances
        progress : bool
            Show progress bars.

        Returns
        -------
        predictions : modules.training.metrics.Predictions
            Of dev, by the training without dev.
        chosen : dict
            ``candidates`` (see `Candidate`), ``C`` (of the one with the
            largest share), ``dev_WA``, and what `add_share_beyond` and
            `modules.training.speaker_normalization.describe_decision` return.

        Raises
        ------
        BadInput
            If all training utterances are of one class.
        """
        embeddings = embed(head, {"train": train, "dev": dev}, progress)
        labels = torch.cat([train.targets, dev.targets])
        count = len(train)
        if len(labels[:count].unique()) < 2:
            raise BadInput(
                "the training utterances are all of one class: choose another "
                "--seed or --dev_split, or add utterances of other classes"
            )
        entries = [*train.entries.values(), *dev.entries.values()]
        targets = self.make_targets(labels, head.num_classes, entries)
        speakers = [entry["speaker"] for entry in entries]
        if head.distance is not None:
            fit_distance(
                head.distance,
                embeddings[:count],
                labels[:count],
                speakers[:count],
            )
        raw = embeddings[count:]
        candidates, embeddings, decision = self._normalize(
            head, embeddings, targets, labels, speakers, count, progress
        )
        _set_classifier(head, *_mean(candidates, targets[:count]))
        predictions = predict(head, dev, embeddings[count:])
        if self.train_on_dev:
            _set_classifier(head, *_mean(candidates, targets))
        best = max(candidates, key=lambda candidate: candidate.share)
        chosen = {
            "C": best.C,
            "candidates": [candidate.summary() for candidate in candidates],
            "dev_WA": predictions.accuracy(),
        } | decision
        add_share_beyond(chosen, head, "dev", raw)
        return predictions, chosen

    def _normalize(
        self, head, embeddings, targets, labels, speakers, count, progress
    ):
        """Fit the standardisation, and choose, with the speakers' means or not.

        Returns
        -------
        candidates, embeddings, decision
            Of the better one; see `_choose` and `describe_decision`.
        """

        def choose(own):
            head.standardization.fit(own[:count])
            fitted = copy.deepcopy(head.standardization).cpu()
            return self._choose(
                Parts(own.cpu(), fitted),
                targets[:count],
                labels[:count],
                speakers[:count],
                progress,
            )

        candidates = choose(embeddings)
        setting = self.speaker_normalization
        # The test of the classes comes first: it takes no time.
        if not setting.is_offered(labels[:count].tolist(), speakers[:count]):
            asked = {"speaker_normalization": False} if setting.setting else {}
            return candidates, embeddings, asked
        mean = head.standardization.mean.clone()
        moved = subtract_means(embeddings, speakers, mean)
        others = choose(moved)
        scores = left_out(candidates), left_out(others)
        if setting.helps(*scores):
            return others, moved, describe_decision(True, *scores)
        head.standardization.fit(embeddings[:count])
        return candidates, embeddings, describe_decision(False, *scores)

    def _choose(self, parts, targets, labels, speakers, progress):
        """Return the candidates with C and share, and inputs of all.

        ``targets``, ``labels`` and ``speakers`` are those of the training
        part, which comes first in ``parts``.
        """
        everything = [dict.fromkeys(parts.names, 1.0)]
        weights = self.candidates or everything
        candidates = []
        for own in weights:
            inputs, back = parts.combine(own)
            C, left_out = self.C, None
            if C is None or len(weights) > 1:
                C, left_out = logistic_regression.choose_C(
                    _first(inputs, len(labels)),
                    targets,
                    labels,
                    speakers,
                    CANDIDATES if self.C is None else [self.C],
                    progress,
                )
            found = Candidate(own, C, left_out, inputs=inputs, back=back)
            candidates.append(found)
        if candidates[0].left_out_log_probability is None:
            # Nothing to compare by: the simplest one, which comes first.
            return candidates[:1]
        scores = torch.tensor([c.left_out_log_probability for c in candidates])
        shares = torch.softmax(SHARPNESS * scores.double(), dim=0)
        for candidate, share in zip(candidates, shares.tolist()):
            candidate.share = share
            logger.info(f"by left-out speakers: {candidate.summary()}")
        return candidates

    def make_targets(self, labels, num_classes, entries):
        """Return the target probabilities, fp64 [utterances, classes]."""
        certain = torch.nn.functional.one_hot(labels, num_classes).double()
        if self.soft_labels is None:
            share = torch.ones(len(labels), 1, dtype=torch.float64)
        else:
            share = torch.tensor(
                [[entry[self.soft_labels]] for entry in entries],
                dtype=torch.float64,
            )
        others = (1 - certain) / max(num_classes - 1, 1)
        targets = share * certain + (1 - share) * others
        smoothing = self.label_smoothing
        return (1 - smoothing) * targets + smoothing / num_classes


def _first(inputs, count):
    """Return the inputs of the first utterances.

    Where `modules.training.parts` has replaced the values by a triangular
    factor, its further columns are zero for them.
    """
    square = inputs.shape[0] == inputs.shape[1]
    return inputs[:count, :count] if square else inputs[:count]


def _mean(candidates, targets):
    """Train the candidates on the first utterances; return the mean.

    The mean of the scores of linear classifiers is that of their weights.

    Returns
    -------
    weights, bias : torch.Tensor
        Of all standardised values, fp64 [classes, values] and [classes].
    """
    weights, bias = 0, 0
    for candidate in candidates:
        inputs = _first(candidate.inputs, len(targets))
        own, own_bias = logistic_regression.fit(inputs, targets, candidate.C)
        weights = weights + candidate.share * candidate.back(own)
        bias = bias + candidate.share * own_bias
    return weights, bias


def check_linear(head) -> None:
    """Refuse a head that has more to train than a linear classifier.

    Raises
    ------
    BadInput
        Naming the weights.
    """
    trained = [
        name
        for name, parameter in head.named_parameters()
        if parameter.requires_grad and not name.startswith("classifier.")
    ]
    if trained or not isinstance(head.classifier, torch.nn.Linear):
        raise BadInput(
            f"logistic regression trains the classifier alone, and this head "
            f"has other weights ({', '.join(trained) or 'the classifier'}): "
            "choose a pooling without weights, or gradient descent as in "
            "hparams/corr_wavlm.yaml"
        )


@torch.no_grad()
def embed(head, datasets: dict, progress: bool = False) -> torch.Tensor:
    """Return the embeddings of data sets, one after the other.

    Arguments
    ---------
    head : modules.models.head.EmotionHead
    datasets : dict
        Name -> `modules.features.stored_utterances.StoredUtterances`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    embeddings : torch.Tensor
        fp32 [utterances, values].
    """
    head.eval()
    weight = head.classifier.weight
    count = sum(map(len, datasets.values()))
    # Filled in place: joint embeddings are wide, and a second copy is large.
    embeddings = weight.new_empty(count, weight.shape[1])
    bar = tqdm(
        (
            dataset[i][1]
            for dataset in datasets.values()
            for i in range(len(dataset))
        ),
        f"pooling {', '.join(datasets)}",
        count,
        disable=not progress,
    )
    for row, states in zip(embeddings, bar):
        row.copy_(head.embedding([states.to(weight.device)])[0])
    return embeddings


@torch.no_grad()
def predict(head, dataset, embeddings) -> Predictions:
    """Return the predictions of a data set from its embeddings."""
    log_probabilities = head.classify(embeddings).cpu()
    return Predictions(dataset.ids, dataset.targets, log_probabilities)


@torch.no_grad()
def _set_classifier(head, weights, bias):
    """Copy weights [classes, values] and bias into the classifier."""
    head.classifier.weight.copy_(weights)
    head.classifier.bias.copy_(bias)
