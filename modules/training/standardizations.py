"""Several corpora in one training: each is standardised by itself.

Rooms, microphones and languages differ between corpora more than emotions do
within them. Where each corpus is standardised by itself, the classifier cannot
learn from mean and deviation which corpus an utterance is of.
"""

import copy
import pathlib
from collections.abc import Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from modules.errors import BadInput
from modules.files import read_weights_index
from modules.models.standardization import Standardization


class CorpusStandardizations:
    """The standardisation of each training corpus, and that of all.

    The embeddings of a corpus are moved, so that the standardisation of all
    corpora turns them into what the corpus's own would. No other part of the
    training, or of a model, depends on corpora.

    Arguments
    ---------
    standardization : modules.models.standardization.Standardization
        Of the head; is fitted to the embeddings of all corpora.
    embeddings : torch.Tensor
        Of the training utterances, [utterances, values].
    corpora : sequence of str
        The corpus of each utterance.

    Attributes
    ----------
    own : dict
        Corpus -> its standardisation; empty for a single corpus.

    Example
    -------
    >>> embeddings = torch.randn(40, 3)
    >>> embeddings[20:] = 5 * embeddings[20:] + 100
    >>> corpora = ["a"] * 20 + ["b"] * 20
    >>> pooled = Standardization({"means": 3})
    >>> found = CorpusStandardizations(pooled, embeddings, corpora)
    >>> moved = pooled(found.move(embeddings, corpora))
    >>> bool(moved[20:].mean().abs() < 1e-4)
    True
    """

    def __init__(
        self,
        standardization: Standardization,
        embeddings: torch.Tensor,
        corpora: Sequence[str],
    ):
        standardization.fit(embeddings)
        self.pooled: Any = standardization
        self.own = {}
        names = sorted(set(corpora))
        for name in names if len(names) > 1 else []:
            self.own[name] = copy.deepcopy(standardization)
            self.own[name].fit(embeddings[_places(corpora, name)])

    @torch.no_grad()
    def move(
        self, embeddings: torch.Tensor, corpora: Sequence[str]
    ) -> torch.Tensor:
        """Move the embeddings of training corpora; leave others as they are.

        Arguments
        ---------
        embeddings : torch.Tensor
            [utterances, values]; not changed.
        corpora : sequence of str
            The corpus of each utterance.

        Returns
        -------
        moved : torch.Tensor
            [utterances, values].
        """
        if not self.own:
            return embeddings
        moved = embeddings.clone()
        scale = self.pooled.scale
        # A value that is constant in all corpora has no influence.
        deviation = torch.where(scale > 0, 1 / scale, 0.0)
        for name, own in self.own.items():
            places = _places(corpora, name)
            moved[places] = own(embeddings[places]) * deviation
            moved[places] += self.pooled.mean
        return moved

    @torch.no_grad()
    def classify(
        self, head, embeddings: torch.Tensor, corpora: Sequence[str]
    ) -> torch.Tensor:
        """Classify each utterance with the standardisation of its corpus.

        Arguments
        ---------
        head : modules.models.head.EmotionHead
            Has the standardisation of all corpora, for unseen ones.
        embeddings : torch.Tensor
            As they are, [utterances, values].
        corpora : sequence of str
            The corpus of each utterance.

        Returns
        -------
        log_probabilities : torch.Tensor
            [utterances, classes].
        """
        scores = head.classify(embeddings).cpu()
        for name, own in self.own.items():
            places = _places(corpora, name)
            head.standardization = own
            scores[places] = head.classify(embeddings[places]).cpu()
        head.standardization = self.pooled
        return scores

    def state(self) -> dict[str, torch.Tensor]:
        """Return mean and scale of each corpus, for `read_standardization`."""
        return {
            f"{name}.{key}": value.contiguous()
            for name, own in self.own.items()
            for key, value in own.state_dict().items()
        }


def read_standardization(
    path: pathlib.Path, corpus: str
) -> dict[str, torch.Tensor]:
    """Read the standardisation of one training corpus.

    Arguments
    ---------
    path : pathlib.Path
        standardizations.safetensors of a run.
    corpus : str
        The name in the column ``corpus``.

    Returns
    -------
    weights : dict
        Names in a head -> values.

    Raises
    ------
    BadInput
        If the run was not trained on this corpus and on others.
    """
    found = {}
    try:
        if path.exists():
            read_weights_index(path)
            found = load_file(path)
    except (OSError, ValueError, SafetensorError) as problem:
        raise BadInput(
            f"{path} is damaged ({problem!s:.60}): train the run again"
        ) from problem
    own = {
        f"standardization.{key}": value
        for name, value in found.items()
        for start, _, key in [name.rpartition(".")]
        if start == corpus and value.isfinite().all()
    }
    if not own:
        known = sorted({name.rpartition(".")[0] for name in found})
        raise BadInput(
            f"{path.parent} has no standardisation of the corpus {corpus!r} "
            f"(it has {', '.join(known) or 'one of all recordings'}): correct "
            "--corpus or leave it out"
        )
    return own


def corpora_of(entries: Sequence[dict]) -> list[str]:
    """Return the corpus of each manifest entry; "" where none is given.

    Example
    -------
    >>> corpora_of([{"label": "calm"}, {"label": "calm", "corpus": "b"}])
    ['', 'b']
    """
    return [str(entry.get("corpus", "")) for entry in entries]


def _places(corpora, name):
    """Return which utterances are of a corpus, a mask."""
    return torch.tensor([corpus == name for corpus in corpora])
