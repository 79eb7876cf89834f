"""The trainer of heads whose classifier alone is trained.

The embedding has no trained weights, so that the loss is convex in the weights
of the classifier: multinomial logistic regression. Candidates weight the parts
of the embedding differently. The log-probability of speakers that are left out
of the training part in turn chooses each candidate's C and its share in the
mean of all candidates, which is one linear classifier again. The test fold
plays no role in a choice. Of several corpora each is standardised by itself.
"""

import copy
from typing import Any, NamedTuple

import torch
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from modules.errors import BadInput
from modules.training.candidate import (
    check_candidates,
    choose_candidates,
    left_out_scores,
    mean_classifier,
)
from modules.training.distance_fit import add_share_beyond, fit_distance
from modules.training.fold import Trained
from modules.training.metrics import Predictions
from modules.training.parts import Parts, check_weights
from modules.training.speaker_normalization import (
    SpeakerNormalization,
    describe_decision,
    left_out,
    subtract_means,
)
from modules.training.standardizations import CorpusStandardizations, corpora_of
from modules.training.targets import class_weights, make_targets

logger = get_logger(__name__)


class Fitted(NamedTuple):
    """What `LinearTrainer.fit_embeddings` returns.

    Attributes
    ----------
    scores : torch.Tensor
        Log-probabilities of dev, by the training without dev.
    chosen : dict
        As `LinearTrainer.fit` returns it, without ``dev_WA``.
    corpora : modules.training.standardizations.CorpusStandardizations
    left_out : torch.Tensor
        Of train, see `modules.training.candidate.left_out_scores`.
    """

    scores: torch.Tensor
    chosen: dict[str, Any]
    corpora: CorpusStandardizations
    left_out: torch.Tensor | None


class LinearTrainer:
    """Trains the classifier of a head by logistic regression.

    Arguments
    ---------
    C : float
        Inverse regularisation, as in scikit-learn, on embeddings whose values
        have a total variance of 1. None: chosen by left-out speakers.
    candidates : list of dict
        Each a classifier of some parts of a joint embedding, part -> share of
        the variance, or ``{"share": 1, "directions": 64}`` for correlations
        along learned directions, see `modules.training.directions`; they are
        averaged. If no speaker can be left out, the first one is used alone.
        None: one, of all parts alike.
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
    class_weights : str
        "balanced": utterances of rare classes count more, in the choices too,
        see `modules.training.targets`. None: all count alike.
    """

    def __init__(
        self,
        C: float | None = None,
        candidates: list[dict[str, Any]] | None = None,
        label_smoothing: float = 0.0,
        soft_labels: str | None = None,
        train_on_dev: bool = True,
        speaker_normalization: bool | str = False,
        class_weights: str | None = None,
    ):
        check_candidates(candidates or [])
        self.C = C
        self.candidates = candidates
        self.label_smoothing = label_smoothing
        self.soft_labels = soft_labels
        self.train_on_dev = train_on_dev
        self.speaker_normalization = SpeakerNormalization(speaker_normalization)
        self.class_weights = class_weights

    def check(self, head) -> None:
        """Refuse a head that cannot be trained.

        Raises
        ------
        BadInput
            See `check_linear` and `modules.training.parts.check_weights`.
        """
        check_linear(head)
        for weights in self.candidates or []:
            check_weights(weights, head.standardization.sizes)

    def train(self, run, run_opts, upstream, head, datasets) -> Trained:
        """Train a head; see `modules.training.gradient_descent`."""
        progress = not run_opts["noprogressbar"]
        train = datasets["train"]
        dev, fitted = self._fit(head, train, datasets["dev"], progress)
        chosen, corpora = fitted.chosen, fitted.corpora
        run.save_standardizations(corpora.state())
        test = datasets["test"]
        entries = test.entries.values()
        embeddings = embed(head, {"test": test}, progress)
        add_share_beyond(chosen, head, "test", embeddings)
        if chosen.get("speaker_normalization"):
            speakers = [entry["speaker"] for entry in entries]
            mean = head.standardization.mean
            embeddings = subtract_means(embeddings, speakers, mean)
        scores = corpora.classify(head, embeddings, corpora_of(entries))
        tested = Predictions(test.ids, test.targets, scores)
        return Trained(dev, tested, chosen, _left_out(train, fitted.left_out))

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
        predictions, fitted = self._fit(head, train, dev, progress)
        return predictions, fitted.chosen

    def _fit(self, head, train, dev, progress):
        """Train a head; return predictions of dev, and `Fitted`."""
        embeddings = embed(head, {"train": train, "dev": dev}, progress)
        labels = torch.cat([train.targets, dev.targets])
        entries = [*train.entries.values(), *dev.entries.values()]
        fitted = self.fit_embeddings(
            head, embeddings, labels, entries, len(train), progress
        )
        predictions = Predictions(dev.ids, dev.targets, fitted.scores)
        fitted.chosen["dev_WA"] = predictions.accuracy()
        return predictions, fitted

    def fit_embeddings(
        self, head, embeddings, labels, entries, count, progress=False
    ):
        """Train a head on embeddings, each corpus standardised by itself.

        Arguments
        ---------
        head : modules.models.head.EmotionHead
            Gets its standardisation, of all corpora, and its classifier.
        embeddings : torch.Tensor
            Of train, then of dev, [utterances, values].
        labels : torch.Tensor
            [utterances].
        entries : list of dict
            Manifest entries.
        count : int
            Number of utterances of train.
        progress : bool
            Show progress bars.

        Returns
        -------
        fitted : Fitted
        """
        if len(labels[:count].unique()) < 2:
            raise BadInput(
                "the training utterances are all of one class: choose another "
                "--seed or --dev_split, or add utterances of other classes"
            )
        targets = make_targets(
            labels,
            head.num_classes,
            entries,
            self.soft_labels,
            self.label_smoothing,
            class_weights(self.class_weights, labels[:count], head.num_classes),
        )
        temperatures = None
        if head.distance is not None:
            speakers = [entry["speaker"] for entry in entries[:count]]
            own = embeddings[:count], labels[:count], speakers
            temperatures = fit_distance(head.distance, *own)
        raw = embeddings[count:]
        candidates, embeddings, corpora, decision = self._normalize(
            head, embeddings, targets, labels, entries, count, progress
        )
        _set_classifier(head, *mean_classifier(candidates, targets[:count]))
        names = corpora_of(entries[count:])
        scores = corpora.classify(head, embeddings[count:], names)
        if self.train_on_dev:
            _set_classifier(head, *mean_classifier(candidates, targets))
        best = max(candidates, key=lambda candidate: candidate.share)
        chosen = {
            "C": best.C,
            "candidates": [candidate.summary() for candidate in candidates],
        } | decision
        add_share_beyond(chosen, head, "dev", raw)
        left_out = left_out_scores(candidates, temperatures)
        return Fitted(scores, chosen, corpora, left_out)

    def _normalize(
        self, head, embeddings, targets, labels, entries, count, progress
    ):
        """Fit the standardisation, and choose, with the speakers' means or not.

        Returns
        -------
        candidates, embeddings, corpora, decision
            Of the better one; see `choose_candidates` and `describe_decision`.
        """
        speakers = [entry["speaker"] for entry in entries]
        names = corpora_of(entries)

        def choose(own):
            corpora = CorpusStandardizations(
                head.standardization, own[:count], names[:count]
            )
            fitted = copy.deepcopy(head.standardization).cpu()
            parts = Parts(corpora.move(own, names).cpu(), fitted)
            candidates = choose_candidates(
                parts,
                self.candidates or [dict.fromkeys(parts.names, 1.0)],
                self.C,
                targets[:count],
                labels[:count],
                speakers[:count],
                progress,
            )
            return candidates, own, corpora

        found = choose(embeddings)
        setting = self.speaker_normalization
        # The test of the classes comes first: it takes no time.
        if not setting.is_offered(labels[:count].tolist(), speakers[:count]):
            asked = {"speaker_normalization": False} if setting.setting else {}
            return *found, asked
        mean = head.standardization.mean.clone()
        others = choose(subtract_means(embeddings, speakers, mean))
        scores = left_out(found[0]), left_out(others[0])
        if setting.helps(*scores):
            return *others, describe_decision(True, *scores)
        head.standardization.fit(embeddings[:count])
        return *found, describe_decision(False, *scores)


def _left_out(train, scores):
    """Return predictions of the training utterances that were left out."""
    if scores is None:
        return None
    rows = [i for i, own in enumerate(scores) if own.isfinite().all()]
    ids = [train.ids[i] for i in rows]
    return Predictions(ids, train.targets[rows], scores[rows])


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
def _set_classifier(head, weights, bias):
    """Copy weights [classes, values] and bias into the classifier."""
    head.classifier.weight.copy_(weights)
    head.classifier.bias.copy_(bias)
