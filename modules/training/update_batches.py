"""Batches of a training, the same updates whatever the number of processes."""

from collections.abc import Iterator

import numpy as np
import torch
from speechbrain.dataio.sampler import ReproducibleRandomSampler
from torch.utils.data import Sampler


class UpdateBatches(Sampler):
    """Deals the utterances of each update among processes and steps.

    An update sees ``processes * steps * batch_size`` utterances, the last one
    of an epoch what is left. Which, depends on this product alone: of the
    order that ``order`` gives, each update takes the next. SpeechBrain's own
    samplers draw another order where there are several processes, repeat
    utterances until all processes have as many, and drop the last steps of an
    epoch that make no whole update.

    Arguments
    ---------
    order : speechbrain.dataio.sampler.ReproducibleRandomSampler
        Gives each utterance once, in the same order in all processes.
    batch_size : int
        Utterances of a process in a step.
    steps : int
        Steps of an update, whose gradients are accumulated.
    processes : int
        Number of processes.
    rank : int
        Of this process.

    Example
    -------
    >>> for rank in (0, 1):
    ...     print(list(UpdateBatches(range(10), 4, 1, 2, rank)))
    [[0, 1, 2, 3], [8]]
    [[4, 5, 6, 7], [9]]
    """

    def __init__(
        self,
        order: ReproducibleRandomSampler,
        batch_size: int,
        steps: int = 1,
        processes: int = 1,
        rank: int = 0,
    ):
        self.order, self.steps = order, steps
        self.shares, self.rank = steps * processes, rank
        self.processes = processes
        self.of_update = self.shares * batch_size

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return -(-len(self.order) // self.of_update) * self.steps

    def __iter__(self) -> Iterator[list[int]]:
        """Give the utterances of each step of this process."""
        order = list(self.order)
        for start in range(0, len(order), self.of_update):
            update = order[start : start + self.of_update]
            shares = np.array_split(np.array(update), self.shares)
            for share in shares[self.rank :: self.processes]:
                # Without an utterance of its own: one that does not count.
                yield share.tolist() or update[:1]

    def weight(self, step: int) -> float:
        """Return what the mean loss of a step is multiplied by.

        The mean over all processes and steps of an update is then the mean
        over its utterances.

        Arguments
        ---------
        step : int
            From 1, in this epoch.
        """
        update, number = divmod(step - 1, self.steps)
        size = len(self.order) - update * self.of_update
        size = min(size, self.of_update)
        share = number * self.processes + self.rank
        own = size // self.shares + (share < size % self.shares)
        return own * self.shares / size

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch."""
        self.order.set_epoch(epoch)


def world() -> tuple[int, int]:
    """Return the number of processes that torchrun started, and the rank."""
    if not torch.distributed.is_initialized():
        return 1, 0
    return torch.distributed.get_world_size(), torch.distributed.get_rank()
