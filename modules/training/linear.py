"""The trainer of heads whose classifier alone is trained.

The embedding has no trained weights, so that the loss is convex in the weights
of the classifier: multinomial logistic regression. C, and which parts of the
embedding are used, are chosen by the log-probability of speakers that are left
out of the training part in turn. The test fold plays no role in a choice.
"""

import torch
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from modules.errors import BadInput
from modules.training import logistic_regression
from modules.training.fold import Trained
from modules.training.logistic_regression import CANDIDATES
from modules.training.metrics import Predictions

logger = get_logger(__name__)


class LinearTrainer:
    """Trains the classifier of a head by logistic regression.

    Arguments
    ---------
    C : float
        Inverse regularisation, as in scikit-learn, on embeddings whose values
        have a total variance of 1. None: chosen by left-out speakers.
    candidates : list of list of str
        Parts of a joint embedding to choose among; None: all parts are used.
    label_smoothing : float
        Share of a target's probability that is spread over all classes.
    soft_labels : str
        Field of the manifest with the share of listeners who agreed with the
        label, such as "recognised" (EmoDB) or "agreement" (IEMOCAP); the
        other classes share the rest. None: the label has probability 1.
    train_on_dev : bool
        After all choices, train again on train and dev together. Predictions
        of dev are those of the training without dev.
    """

    def __init__(
        self,
        C: float | None = None,
        candidates: list[list[str]] | None = None,
        label_smoothing: float = 0.0,
        soft_labels: str | None = None,
        train_on_dev: bool = True,
    ):
        self.C = C
        self.candidates = candidates
        self.label_smoothing = label_smoothing
        self.soft_labels = soft_labels
        self.train_on_dev = train_on_dev

    def check(self, head) -> None:
        """Refuse a head that cannot be trained; see `check_linear`."""
        check_linear(head)

    def train(self, run, run_opts, upstream, head, datasets) -> Trained:
        """Train a head; see `modules.training.gradient_descent`."""
        progress = not run_opts["noprogressbar"]
        dev, chosen = self.fit(
            head, datasets["train"], datasets["dev"], progress
        )
        embeddings = embed(head, datasets["test"], "test", progress)
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
            ``parts`` (of the embedding), ``C``, ``left_out_log_probability``
            (of the training speakers, in nats) and ``dev_WA``.

        Raises
        ------
        BadInput
            If all training utterances are of one class.
        """
        embeddings = torch.cat(
            [
                embed(head, train, "train", progress),
                embed(head, dev, "dev", progress),
            ]
        )
        labels = torch.cat([train.targets, dev.targets])
        seen = slice(len(train))
        if len(labels[seen].unique()) < 2:
            raise BadInput(
                "the training utterances are all of one class: choose another "
                "--seed or --dev_split, or add utterances of other classes"
            )
        entries = [*train.entries.values(), *dev.entries.values()]
        targets = self.make_targets(labels, head.num_classes, entries)
        speakers = [entry["speaker"] for entry in entries[seen]]
        inputs, back, chosen = self._choose(
            head, embeddings, targets, labels, speakers, progress
        )
        weights, bias = logistic_regression.fit(
            _first(inputs, len(train), embeddings), targets[seen], chosen["C"]
        )
        _set_classifier(head, back(weights), bias)
        predictions = predict(head, dev, embeddings[len(train) :])
        if self.train_on_dev:
            weights, bias = logistic_regression.fit(
                inputs, targets, chosen["C"]
            )
            _set_classifier(head, back(weights), bias)
        return predictions, chosen | {"dev_WA": predictions.accuracy()}

    def _choose(self, head, embeddings, targets, labels, speakers, progress):
        """Choose parts and C; fit the standardisation.

        ``speakers`` are those of the training part, which comes first.
        """
        seen = slice(len(speakers))
        standardization = head.standardization
        best = None
        for parts in self.candidates or [list(standardization.sizes)]:
            standardization.fit(embeddings[seen], parts)
            inputs, back = logistic_regression.rotate(
                standardization(embeddings)
            )
            C, left_out = self.C, None
            if C is None or len(self.candidates or []) > 1:
                C, left_out = logistic_regression.choose_C(
                    inputs[seen, : len(speakers)],
                    targets[seen],
                    labels[seen],
                    speakers,
                    CANDIDATES if self.C is None else [self.C],
                    progress,
                )
            chosen = {
                "parts": parts,
                "C": C,
                "left_out_log_probability": left_out,
            }
            # Where no speaker can be left out the first candidate stays.
            if best is None or (left_out is not None and left_out > best[0]):
                best = left_out, inputs, back, chosen
        _, inputs, back, chosen = best
        standardization.fit(embeddings[seen], chosen["parts"])
        logger.info(f"chosen by left-out speakers: {chosen}")
        return inputs, back, chosen

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


def _first(inputs, count, embeddings):
    """Return the inputs of the first utterances.

    Where `logistic_regression.rotate` has replaced the embeddings by a
    triangular factor, its further columns are zero for them.
    """
    rotated = inputs.shape[1] < embeddings.shape[1]
    return inputs[:count, :count] if rotated else inputs[:count]


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
def embed(head, dataset, split: str = "", progress: bool = False):
    """Return the embeddings of a data set, fp32 [utterances, values].

    Arguments
    ---------
    head : modules.models.head.EmotionHead
    dataset : modules.features.stored_utterances.StoredUtterances
    split : str
        For the progress bar.
    progress : bool
        Show a progress bar.
    """
    head.eval()
    device = head.classifier.weight.device
    # One by one: concatenated layers are wide.
    return torch.cat(
        [
            head.embedding([dataset[i][1].to(device)])
            for i in tqdm(
                range(len(dataset)), f"pooling {split}", disable=not progress
            )
        ]
    )


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
