"""Embeddings minus the mean of their speaker, where it helps and is safe.

No label is used, but the other recordings of a test speaker are: it is a
protocol of its own. Where a speaker has nearly one class, as the guest of a
talk show may, the mean of the speaker is that of the class, and what remains
has nothing of it: such a corpus is refused.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import mutual_info_score
from speechbrain.utils.logger import get_logger

from modules.errors import BadInput

logger = get_logger(__name__)

AUTO = "auto"
# Of the entropy of the classes, the share that the speaker determines: 0 if
# all speakers have the same classes, 1 if each has one. The share of a
# speaker's largest class would be high for rare classes, too.
MOST_CONFOUNDED = 0.5


def confounding(labels: Sequence[int], speakers: Sequence[str]) -> float:
    """Return the share of the classes' entropy that the speaker determines.

    Arguments
    ---------
    labels, speakers : sequence
        Of each utterance.

    Example
    -------
    >>> confounding([0, 1, 0, 1], ["a", "a", "b", "b"])
    0.0
    >>> confounding([0, 0, 1, 1], ["a", "a", "b", "b"])
    1.0
    """
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    entropy = -(shares * np.log(shares)).sum()
    if entropy <= 0:
        return 1.0
    found = mutual_info_score(list(labels), list(speakers)) / entropy
    return float(np.clip(found, 0, 1))


@torch.no_grad()
def subtract_means(
    embeddings: torch.Tensor, speakers: Sequence[str], mean: torch.Tensor
) -> torch.Tensor:
    """Return embeddings in which every speaker has the same mean.

    Arguments
    ---------
    embeddings : torch.Tensor
        [utterances, values]; not changed.
    speakers : sequence of str
        [utterances].
    mean : torch.Tensor
        That mean, [values].

    Example
    -------
    >>> embeddings = torch.tensor([[1.0], [3.0], [7.0]])
    >>> subtract_means(embeddings, ["a", "a", "b"], torch.zeros(1)).flatten()
    tensor([-1.,  1.,  0.])
    """
    moved = embeddings.clone()
    places = {}
    for place, speaker in enumerate(speakers):
        places.setdefault(speaker, []).append(place)
    for own in places.values():
        moved[own] += mean - embeddings[own].mean(dim=0)
    return moved


def left_out(candidates: list) -> float | None:
    """Return the best log-probability of left-out speakers, in nats."""
    found = [one.left_out_log_probability for one in candidates]
    return None if None in found else max(found)


class SpeakerNormalization:
    """Decides whether embeddings are normalised by speaker.

    Arguments
    ---------
    setting : bool or str
        True refuses a corpus for which it is not offered; "auto" does without
        it there.

    Example
    -------
    >>> SpeakerNormalization("auto").is_offered([0, 0, 1], ["a", "a", "b"])
    False
    """

    def __init__(self, setting: bool | str):
        self.setting = setting

    def _refuse(self, sentence):
        """Raise or log a sentence; return False."""
        sentence = f"speaker_normalization is not offered: {sentence}"
        if self.setting != AUTO:
            raise BadInput(f"{sentence}; set it to false or auto")
        logger.info(sentence)
        return False

    def is_offered(
        self, labels: Sequence[int], speakers: Sequence[str]
    ) -> bool:
        """Return whether class and speaker are apart in the training part.

        Raises
        ------
        BadInput
            If they are not, and the setting is True.
        """
        if not self.setting:
            return False
        found = confounding(labels, speakers)
        if found <= MOST_CONFOUNDED:
            return True
        return self._refuse(
            f"the speaker determines {found:.0%} of the entropy of the classes "
            f"(at most {MOST_CONFOUNDED:.0%}), so that the mean of a speaker "
            "is that of a class"
        )

    def helps(self, without: float | None, with_it: float | None) -> bool:
        """Return whether left-out speakers have a higher log-probability.

        Raises
        ------
        BadInput
            If they do not, and the setting is True.
        """
        if without is None or with_it is None:
            return self._refuse("no speaker can be left out to compare by")
        if with_it > without:
            logger.info(
                "speaker normalisation: the log-probability of left-out "
                f"speakers is {with_it:.3f}, and {without:.3f} without"
            )
            return True
        return self._refuse(
            f"the log-probability of left-out speakers is {with_it:.3f} nats "
            f"with it and {without:.3f} without"
        )


def describe_decision(
    is_used: bool, without: float | None, with_it: float | None
) -> dict[str, Any]:
    """Return what results.json has of the decision."""
    return {
        "speaker_normalization": is_used,
        "left_out_log_probability": {
            "without_speaker_normalization": without,
            "with_speaker_normalization": with_it,
        },
    }
