"""Adapting a model to recordings without labels.

Mean and deviation of the embeddings are estimated again on these recordings;
with n of them the estimates have the share n / (n + 5), the training's the
rest. Class priors: Saerens et al., "Adjusting the Outputs of a Classifier to
New a Priori Probabilities: A Simple Procedure", Neural Computation 14, 2002.
"""

import copy
import math
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq

from modules.errors import BadInput
from modules.models.standardization import Standardization

SHRINKAGE = 5.0
# Share of the way from chance to certainty that the mean confidence on another
# corpus is given; recipes/CROSS/README.md chooses it.
SKILL = 0.25
# Divides the scores before any recording has been seen.
FIRST_TEMPERATURE = 2.0
_LARGEST_TEMPERATURE = 50.0

# Embeddings that are in fp64 at a time.
_ROWS = 64
_EM_STEPS = 200


def check_adaptable(model) -> None:
    """Refuse a model that cannot be adapted.

    Raises
    ------
    BadInput
        If it has no standardisation, is a graph in ONNX or was adapted before.
    """
    heads = getattr(model, "heads", None)
    if heads is None:
        raise BadInput(
            "a graph in ONNX cannot be adapted: leave out --engine onnx, or "
            "write an adapted one by export.py --adapt_to FOLDER --onnx"
        )
    if not all(isinstance(h.standardization, Standardization) for h in heads):
        raise BadInput(
            "the model does not standardise its embeddings, so that it cannot "
            "be adapted: train one as in hparams/recommended.yaml"
        )
    if model.is_adapted:
        raise BadInput(
            "the model was adapted to other recordings before: give the model "
            "that it was made from"
        )


def adapted_graph(graph: dict, head: Any) -> dict:
    """Return the graph of a head, with the temperatures of an adapted one.

    Arguments
    ---------
    graph : dict
        See `modules.models.graph.describe`.
    head : modules.models.head.EmotionHead
        Adapted by `Adaptation`.
    """
    adapted = graph | {"temperature": head.temperature}
    if head.distance is not None:
        own = {"temperature": head.distance.temperature}
        adapted["distance"] = graph["distance"] | own
    return adapted


def confidence_temperature(scores: torch.Tensor) -> float:
    """Return what divides the scores of recordings of another corpus.

    A classifier is surer of them than it is right. Divided by the temperature,
    the mean of the highest probabilities is ``1 / classes``, which is chance,
    and `SKILL` of the rest. Its logarithm has the share n / (n + 5), that of
    `FIRST_TEMPERATURE` the rest; it is 1 at least.

    Arguments
    ---------
    scores : torch.Tensor
        Log-probabilities, [members, recordings, classes].

    Example
    -------
    >>> sure = 10 * torch.eye(4)[None].repeat(1, 1000, 1)
    >>> temperature = confidence_temperature(sure)
    >>> round(torch.softmax(sure / temperature, 2).max().item(), 2)
    0.44
    """
    count, classes = scores.shape[1:]
    target = 1 / classes + SKILL * (1 - 1 / classes)
    scores = scores.double()

    def excess(log_temperature):
        """Return the mean confidence above the target."""
        cooled = torch.softmax(scores / math.exp(log_temperature), dim=2)
        return float(cooled.mean(dim=0).amax(dim=1).mean()) - target

    largest = math.log(_LARGEST_TEMPERATURE)
    found = 0.0
    if excess(largest) > 0:
        found = largest
    elif excess(0.0) > 0:
        found = brentq(excess, 0.0, largest, xtol=1e-6)
    first = SHRINKAGE * math.log(FIRST_TEMPERATURE)
    return math.exp((count * found + first) / (count + SHRINKAGE))


class Adaptation:
    """Embeddings of recordings on disk, and the model adapted to them.

    `modules.inference.predictor.predict` keeps the embedding of every piece
    and answers afterwards, so that each is encoded once. The file lies where
    Python's `tempfile` puts it (``TMPDIR``) and vanishes with this object.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
        Is not changed.
    speakers : dict
        File -> speaker, "" where unknown: each speaker has a standardisation
        of its own, shrunk towards that of all recordings. A piece that has a
        speaker itself, the turn of a diarisation, needs no entry. None: one
        standardisation for all.
    class_shares : list of float
        Of the training utterances: class priors are estimated too. None: they
        stay.

    Raises
    ------
    BadInput
        If the model cannot be adapted.

    Attributes
    ----------
    model : modules.inference.emotion_model.EmotionModel
        The adapted one, with the encoder of the other; None before `finish`.
    recordings : int
        Number of recordings that it is adapted to.
    """

    def __init__(
        self,
        model: Any,
        speakers: dict[str, str] | None = None,
        class_shares: list[float] | None = None,
    ):
        check_adaptable(model)
        if class_shares is not None:
            _check_classifiers(model)
        self.source: Any = model
        self.model: Any = None
        self.speakers, self.class_shares = speakers, class_shares
        # Heads without trained weights in their embedding share one.
        self._stored_as = _equal_embeddings(model.heads)
        self._sizes = [_width(head) for head in model.heads]
        self._rows = {}
        self._file: Any = None
        self.recordings = 0

    def open(self, pieces) -> Callable:
        """Make room for the embeddings of pieces; return `keep`."""
        self._rows = {id(piece): row for row, piece in enumerate(pieces)}
        stored = sorted(set(self._stored_as))
        width = sum(self._sizes[i] for i in stored)
        self._is_there = np.zeros(len(pieces), bool)
        starts = np.cumsum([0, *(self._sizes[i] for i in stored)]).tolist()
        self._places = {
            i: slice(start, start + self._sizes[i])
            for i, start in zip(stored, starts)
        }
        if pieces:
            self._file = tempfile.TemporaryFile(prefix="embeddings")
            self._embeddings = np.memmap(
                self._file, "float32", "w+", shape=(len(pieces), width)
            )
        return self.keep

    def keep(self, piece, embedding: torch.Tensor) -> None:
        """Store the embedding of a piece, [members * values]."""
        parts = embedding.float().split(self._sizes)
        row = self._rows[id(piece)]
        for i, columns in self._places.items():
            self._embeddings[row, columns] = parts[i].numpy()
        self._is_there[row] = not piece.is_silent and bool(
            embedding.isfinite().all()
        )

    def finish(self, pieces) -> None:
        """Adapt the model to the pieces that are there."""
        rows = np.flatnonzero(self._is_there)
        self.recordings = len({pieces[row].file for row in rows})
        self.model = _copy(self.source)
        if len(rows) == 0:
            return
        self.model.adapted_to = self.recordings
        is_unlike = self._is_unlike(rows)
        self._standardise(self.model, rows)
        if is_unlike:
            self._soften(rows)
        if self.class_shares is not None:
            self._estimate_priors(rows)

    def answer(self, batches: list[list]) -> None:
        """Give pieces that are there the answers of the adapted model.

        Arguments
        ---------
        batches : list of list of modules.inference.recordings.Piece
            Answers are computed in the batches of the encoder.
        """
        groups = {}
        for batch in batches:
            for piece in batch:
                if self._is_there[self._rows[id(piece)]]:
                    group = groups.setdefault(self._speaker(piece), [])
                    group.append((piece, id(batch)))
        for speaker, members in groups.items():
            model = self.model
            if speaker:
                model = _copy(self.model)
                rows = [self._rows[id(piece)] for piece, _ in members]
                self._standardise(model, np.sort(rows))
            own = {}
            for piece, batch in members:
                own.setdefault(batch, []).append(piece)
            for batch in own.values():
                self._answer(model, batch)

    @torch.inference_mode()
    def _answer(self, model, batch):
        """Give pieces of one batch the answers of a model."""
        rows = [self._rows[id(piece)] for piece in batch]
        device = next(model.heads.parameters()).device
        scores = model.classify(self._load_all(rows).to(device)).cpu()
        for piece, own in zip(batch, scores):
            piece.log_probabilities = own

    def _speaker(self, piece):
        """Return the speaker of a piece; "" if unknown or of no matter."""
        if self.speakers is None:
            return ""
        return piece.speaker or self.speakers.get(piece.file, "")

    def _load_all(self, rows):
        """Return embeddings of all heads, fp32 [rows, members * values]."""
        parts = [self._load(i, rows) for i in range(len(self._sizes))]
        return torch.cat(parts, dim=1)

    def _load(self, member, rows):
        """Return embeddings of a head, fp32 [rows, values]."""
        columns = self._places[self._stored_as[member]]
        return torch.from_numpy(np.array(self._embeddings[rows, columns]))

    def _standardise(self, model, rows):
        """Adapt the standardisation of every head to rows."""
        found = {}
        for i, head in enumerate(model.heads):
            stored = self._stored_as[i]
            if stored not in found:
                found[stored] = self._moments(stored, rows)
            mean, variance = found[stored]
            head.standardization.adapt(mean, variance, len(rows), SHRINKAGE)

    def _moments(self, member, rows):
        """Return mean and variance of rows, fp64 [values]."""
        blocks = _blocks(rows)
        mean = sum(self._load(member, b).double().sum(0) for b in blocks)
        mean = mean / len(rows)
        squares = sum(
            (self._load(member, b).double() - mean).square().sum(0)
            for b in blocks
        )
        return mean, squares / len(rows)

    @torch.no_grad()
    def _over_rows(self, member, rows, function):
        """Return a function of a head's embeddings, of all rows."""
        device = next(self.model.heads.parameters()).device
        found = [
            function(self._load(member, block).to(device))
            for block in _blocks(rows)
        ]
        return torch.cat(found).cpu()

    @torch.no_grad()
    def _is_unlike(self, rows):
        """Return whether most rows are unlike the training, or unknown."""
        device = next(self.source.heads.parameters()).device
        beyond = 0
        for block in _blocks(rows):
            found = self.source.distances(self._load_all(block).to(device))
            if found is None:
                return True
            beyond += int((found > 1).sum())
        return 2 * beyond > len(rows)

    def _soften(self, rows):
        """Divide the scores of rows of another corpus by a temperature."""
        heads = self.model.heads
        for head in heads:
            if head.distance is not None:
                head.distance.temperature = 1.0
        scores = [
            self._over_rows(i, rows, head.classify)
            for i, head in enumerate(heads)
        ]
        temperature = confidence_temperature(torch.stack(scores))
        for head in heads:
            head.temperature = temperature

    @torch.no_grad()
    def _estimate_priors(self, rows):
        """Move each head's bias to the class priors of rows."""
        for i, head in enumerate(self.model.heads):
            scores = self._over_rows(i, rows, head.classify)
            shares = estimate_priors(scores.exp().double(), self.class_shares)
            bias = head.classifier.bias
            bias += head.temperature * shares.to(bias)


def estimate_priors(
    probabilities: torch.Tensor, class_shares: list[float]
) -> torch.Tensor:
    """Return the logarithm of new class priors divided by the old ones.

    Expectation maximisation; the old priors count as `SHRINKAGE` recordings.

    Arguments
    ---------
    probabilities : torch.Tensor
        Of new recordings by a model with the old priors, [recordings, classes].
    class_shares : list of float
        The old priors.

    Example
    -------
    >>> surely = torch.eye(2)[[0, 0, 0, 0, 1]].double()
    >>> estimate_priors(surely, [0.5, 0.5]).exp()
    tensor([1.3000, 0.7000], dtype=torch.float64)
    """
    old = torch.tensor(class_shares, dtype=torch.float64).clamp(min=1e-6)
    old = old / old.sum()
    new, count = old, len(probabilities)
    for _ in range(_EM_STEPS):
        found = probabilities * (new / old)
        found = found / found.sum(dim=1, keepdim=True)
        new = (found.sum(dim=0) + SHRINKAGE * old) / (count + SHRINKAGE)
    return (new / old).log()


def _blocks(rows):
    """Divide rows into blocks that are in memory at a time."""
    return [rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS)]


def _copy(model):
    """Return a copy of a model that shares its encoder."""
    return copy.deepcopy(model, {id(model.encoder): model.encoder})


def _width(head):
    """Return the number of values of a head's embedding."""
    return sum(head.embedding.sizes.values())


def _equal_embeddings(heads):
    """Return, for each head, the first one with an equal embedding."""
    states = [head.embedding.state_dict() for head in heads]

    def are_equal(a, b):
        return all(torch.equal(value, b[name]) for name, value in a.items())

    return [
        next(j for j in range(i + 1) if are_equal(states[i], states[j]))
        for i in range(len(states))
    ]


def _check_classifiers(model):
    """Refuse classifiers that have no bias to move."""
    for head in model.heads:
        if getattr(head.classifier, "bias", None) is None:
            raise BadInput(
                "--adapt_priors needs a linear classifier with a bias, and "
                "the model has another: leave it out"
            )
