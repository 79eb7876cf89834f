"""Checkpoints that are complete or absent, ranked by their dev accuracy."""

import functools
import shutil

import torch
from speechbrain.utils.checkpoints import Checkpointer, average_checkpoints
from speechbrain.utils.distributed import ddp_barrier, if_main_process

_UNFINISHED = "UNFINISHED"


class WholeCheckpointer(Checkpointer):
    """A checkpointer whose checkpoints are complete or absent.

    SpeechBrain writes the file that marks a folder as a checkpoint before the
    parameters: a run that is killed in between finds half a checkpoint when
    it starts again. Here the folder gets its name last.
    """

    def _new_checkpoint_dirpath(self):
        path = super()._new_checkpoint_dirpath()
        return path.with_name(f"{_UNFINISHED}+{path.name}")

    def save_checkpoint(self, *args, **kwargs):
        """Save as SpeechBrain's `Checkpointer` does, then name the folder."""
        if if_main_process():
            for left in self.checkpoints_dir.glob(f"{_UNFINISHED}+*"):
                shutil.rmtree(left)
        saved = super().save_checkpoint(*args, **kwargs)
        if saved is not None and saved.path.name.startswith(_UNFINISHED):
            saved = self._named(saved)
        # Without the barrier another process would list the checkpoints
        # before this one has its name, delete others than the first process
        # does, and wait for that one forever.
        ddp_barrier()
        return saved

    @staticmethod
    def _named(saved):
        path = saved.path.with_name(
            saved.path.name.removeprefix(f"{_UNFINISHED}+")
        )
        if if_main_process():
            saved.path.rename(path)
        files = {key: path / f.name for key, f in saved.paramfiles.items()}
        return saved._replace(path=path, paramfiles=files)


def dev_rank(checkpoint) -> tuple[float, int]:
    """Rank a checkpoint: dev accuracy, of equals the earliest epoch."""
    return checkpoint.meta["dev_WA"], -checkpoint.meta["epoch"]


def best_checkpoints(checkpointer: Checkpointer, count: int = 1) -> list:
    """Return the checkpoints of highest dev accuracy, the best one first."""
    return checkpointer.find_checkpoints(
        importance_key=dev_rank,
        ckpt_predicate=lambda checkpoint: "dev_WA" in checkpoint.meta,
        max_num_checkpoints=count,
    )


def mean_weights(checkpoints: list, name: str) -> dict:
    """Return the mean of a module's weights over checkpoints.

    Arguments
    ---------
    checkpoints : list
        From `best_checkpoints`.
    name : str
        Of the module among the recoverables.

    Returns
    -------
    weights : dict
        A state dictionary on the CPU; of one checkpoint, its own.
    """
    return average_checkpoints(
        checkpoints,
        name,
        parameter_loader=functools.partial(torch.load, weights_only=True),
    )
