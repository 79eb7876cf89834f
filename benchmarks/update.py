"""The head of the paper, and one update of it as training makes it."""

import pathlib

import torch
from torch.nn import functional as F

from modules.models.head import EmotionHead
from modules.training.configuration import load_configuration

HPARAMS = pathlib.Path(__file__).parents[1] / "hparams/corr_wavlm.yaml"
# Of the poolings of that file, those that the benchmarks measure.
POOLINGS = ["mean", "mean_std", "corr", "attentive_corr"]
NUM_CLASSES = 4


def make_head(
    pooling: str, num_hidden_states: int, hidden_size: int
) -> EmotionHead:
    """Return an untrained head of hparams/corr_wavlm.yaml, without dropout.

    Arguments
    ---------
    pooling : str
        One of `POOLINGS`.
    num_hidden_states, hidden_size : int
        Of the encoder.
    """
    # Outputs of several computations are compared: dropout would differ.
    hparams, _ = load_configuration(
        [str(HPARAMS), f"--pooling={pooling}", "--channel_dropout=0.0"]
    )
    return hparams["head"](num_hidden_states, hidden_size, NUM_CLASSES)


class Update:
    """One update of a head on a large encoder's hidden states.

    Arguments
    ---------
    pooling : str
        One of `POOLINGS`.
    device : str
        Of the head.
    num_hidden_states, hidden_size : int
        Of the encoder.
    """

    def __init__(
        self,
        pooling: str,
        device: str,
        num_hidden_states: int = 25,
        hidden_size: int = 1024,
    ):
        head = make_head(pooling, num_hidden_states, hidden_size)
        self.head = head.to(device)
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=1e-4)

    def __call__(self, hidden_states):
        targets = torch.arange(len(hidden_states)) % NUM_CLASSES
        output = self.head(hidden_states)
        F.nll_loss(output, targets.to(output.device)).backward()
        torch.nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
