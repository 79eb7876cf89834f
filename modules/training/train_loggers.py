"""TensorBoard and W&B beside train_log.txt, by SpeechBrain's own loggers."""

import importlib.util
import os
import pathlib
import uuid
from typing import Any

from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.train_logger import (
    FileTrainLogger,
    TensorboardLogger,
    TrainLogger,
    WandBLogger,
)

from modules.errors import BadInput

# Name of a setting -> package that it needs.
LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb"}
_PROJECT = "speech-emotion-recognition"


def check_installed(name: str | None) -> None:
    """Refuse a logger whose package is missing, before any work.

    Raises
    ------
    BadInput
        Naming the package.
    """
    package = LOGGERS.get(name or "")
    if package and importlib.util.find_spec(package) is None:
        raise BadInput(
            f"train_logger {name} needs the package {package}: pip install -r "
            "requirements-logging.txt, or leave train_logger out"
        )


class EpochTensorboardLogger(TensorboardLogger):
    """SpeechBrain's logger, with the epoch as the step.

    It counts its own calls, so that a run that goes on after a kill would
    begin again at step 1.
    """

    def log_stats(self, stats_meta, train_stats=None, valid_stats=None, **more):
        """Write the losses and metrics of an epoch; see `TrainLogger`."""
        before = stats_meta["epoch"] - 1
        self.global_step = {
            "meta": before,
            "train": dict.fromkeys(train_stats or {}, before),
            "valid": dict.fromkeys(valid_stats or {}, before),
        }
        super().log_stats(stats_meta, train_stats, valid_stats, **more)
        if self.writer is not None:
            self.writer.flush()


class TrainLoggers(TrainLogger):
    """train_log.txt, and TensorBoard or W&B.

    Arguments
    ---------
    run : modules.training.run.Run
        Its folder gets train_log.txt, and ``tensorboard`` or ``wandb``.
    name : str
        One of `LOGGERS`; None: train_log.txt alone.
    config : dict
        Plain settings of the run, for W&B.

    Raises
    ------
    BadInput
        If W&B cannot be started.
    """

    def __init__(self, run, name: str | None, config: dict[str, Any]):
        text = FileTrainLogger(save_file=str(run.folder / "train_log.txt"))
        self.loggers: list[Any] = [text]
        if name == "tensorboard":
            folder = str(run.folder / "tensorboard")
            self.loggers.append(EpochTensorboardLogger(folder))
        elif name == "wandb":
            self.loggers.append(_wandb_logger(run.folder, config))

    def log_stats(self, *args, **kwargs):
        """Log an epoch everywhere; see SpeechBrain's `TrainLogger`."""
        for logger in self.loggers:
            logger.log_stats(*args, **kwargs)

    def close(self) -> None:
        """Finish the files; another run may follow in this process."""
        for logger in self.loggers if if_main_process() else []:
            if isinstance(logger, TensorboardLogger):
                logger.writer.close()
            elif isinstance(logger, WandBLogger):
                logger.run.finish()


def _wandb_logger(folder, config):
    """Return SpeechBrain's logger for W&B; a run that goes on keeps its id."""
    import wandb

    try:
        return WandBLogger(
            wandb.init,
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name="/".join(folder.parts[-3:]),
            id=_identity(folder) if if_main_process() else None,
            resume="allow",
            dir=str(folder),
            config=config,
        )
    # SpeechBrain fails to raise what wandb.init raised, which has any class.
    except Exception as problem:
        cause = problem.__context__ or problem
        words = " ".join(str(cause).split())
        raise BadInput(
            f"W&B cannot be started ({words:.120}): log in with `wandb login`, "
            "or set WANDB_MODE=offline, and start the same command again"
        ) from problem


def _identity(folder: pathlib.Path) -> str:
    """Return the id of a run at W&B, made once for its folder."""
    path = folder / "wandb_id.txt"
    if not path.exists():
        path.write_text(uuid.uuid4().hex, encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
