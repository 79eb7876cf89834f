"""Checkpoints that are complete or absent, ranked by their dev accuracy."""

import functools
import math
import pickle
import shutil

import torch
import yaml
from speechbrain.utils.checkpoints import Checkpointer, average_checkpoints
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from modules.errors import BadInput, disk_error, refused
from modules.files import check_file, sync, sync_tree

_UNFINISHED = "UNFINISHED"

# What reading a checkpoint with wrong bytes in it can raise.
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    RecursionError,
    pickle.UnpicklingError,
    yaml.YAMLError,
)
_MOST_META = 2**20
_MOST_PARAMETERS = 2**36


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
        try:
            saved = super().save_checkpoint(*args, **kwargs)
        except Exception as problem:  # PyTorch's for a full disk has no class
            if disk_error(problem) is None:
                raise
            raise BadInput(
                f"no checkpoint: {refused(problem, self.checkpoints_dir)}; the "
                "same command goes on where this one stopped"
            ) from problem
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
            sync_tree(saved.path)
            saved.path.rename(path)
            sync(path.parent)
        files = {key: path / f.name for key, f in saved.paramfiles.items()}
        return saved._replace(path=path, paramfiles=files)

    def load_checkpoint(self, checkpoint):
        """Load as SpeechBrain's `Checkpointer` does.

        Raises
        ------
        BadInput
            If the checkpoint is damaged or is one of another model.
        """
        try:
            for path in checkpoint.paramfiles.values():
                check_file(path, _MOST_PARAMETERS)
            return super().load_checkpoint(checkpoint)
        except _DAMAGE as problem:
            raise _damaged(checkpoint.path, problem) from problem

    @staticmethod
    def _construct_checkpoint_objects(checkpoint_dirs):
        """Read what is known of checkpoints; refuse damaged ones."""
        checkpoints = []
        for folder in checkpoint_dirs:
            try:
                check_file(folder / "CKPT.yaml", _MOST_META)
                checkpoints += Checkpointer._construct_checkpoint_objects(
                    [folder]
                )
                _check_meta(checkpoints[-1].meta)
            except _DAMAGE as problem:
                raise _damaged(folder, problem) from problem
        return checkpoints


def _check_meta(meta):
    """Refuse a rank that cannot be compared."""
    accuracy, epoch = meta.get("dev_WA", 0.0), meta.get("epoch", 0)
    for key in ("unixtime", "end-of-epoch"):  # of SpeechBrain
        if not isinstance(meta.get(key), int | float):
            raise ValueError(f"it lacks {key}")
    if type(accuracy) is not float or not math.isfinite(accuracy):
        raise ValueError(f"dev_WA {accuracy!r:.40}")
    if type(epoch) is not int:
        raise ValueError(f"epoch {epoch!r:.40}")


def _damaged(folder, problem):
    """Return the sentence for a checkpoint that cannot be read."""
    reason = str(problem).strip().partition("\n")[0] or type(problem).__name__
    return BadInput(
        f"checkpoint {folder} is damaged ({reason:.100}): delete it and run "
        "the same command again, which continues from the checkpoint before"
    )


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
    try:
        weights = average_checkpoints(
            checkpoints,
            name,
            parameter_loader=functools.partial(torch.load, weights_only=True),
        )
        return {key: _checked(key, value) for key, value in weights.items()}
    except _DAMAGE as problem:
        raise _damaged(checkpoints[0].path, problem) from problem


def _checked(key, value):
    """Refuse what is no finite tensor."""
    if not torch.isfinite(value).all():
        raise ValueError(f"{key} has values that are not finite")
    return value
