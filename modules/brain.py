"""Training the head on hidden states, and testing it once."""

import shutil

import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

_UNFINISHED = "UNFINISHED"


class WholeCheckpointer(Checkpointer):
    """A checkpointer whose checkpoints are there whole or not at all.

    SpeechBrain's writes the file that marks a folder as a checkpoint first
    and the parameters after it: a run killed in between finds half a
    checkpoint when it starts again. Here the folder gets its name last.
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
        if saved is None or not saved.path.name.startswith(_UNFINISHED):
            return saved
        name = saved.path.name.removeprefix(f"{_UNFINISHED}+")
        path = saved.path.rename(saved.path.with_name(name))
        files = {key: path / f.name for key, f in saved.paramfiles.items()}
        return saved._replace(path=path, paramfiles=files)


def best_on_dev(checkpoint):
    """Rank a checkpoint: dev accuracy, of equals the earliest epoch."""
    return checkpoint.meta["dev_WA"], -checkpoint.meta["epoch"]


class EmotionBrain(sb.Brain):
    """Trains ``modules.head``; the encoder is not part of it.

    Batches are `modules.batch.StoredBatch`.
    """

    def compute_forward(self, batch, stage):
        """Return log-probabilities [batch, classes]."""
        batch = batch.to(self.device)
        return self.modules.head(batch.hidden_states)

    def compute_objectives(self, predictions, batch, stage):
        """Return the loss; smoothed in training, plain in dev and test."""
        targets = batch.label_encoded.to(self.device)
        if stage == sb.Stage.TRAIN:
            return self.hparams.compute_loss(predictions, targets)
        self.utterances.extend(batch.id)
        self.targets.append(targets.cpu())
        self.log_probabilities.append(predictions.float().cpu())
        return sb.nnet.losses.nll_loss(predictions, targets)

    def on_stage_start(self, stage, epoch=None):
        """Start counting, and make the epoch's random numbers its own.

        A run that goes on after a kill draws the numbers that the unbroken
        run draws, without a state of the generators in the checkpoint.
        """
        if stage == sb.Stage.TRAIN:
            torch.manual_seed(self.hparams.seed * 10_000 + epoch)
        self.utterances, self.targets, self.log_probabilities = [], [], []

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """After dev: log, save, keep the best checkpoint and the last."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
        if stage != sb.Stage.VALID:
            return
        truth = torch.cat(self.targets)
        guess = torch.cat(self.log_probabilities).argmax(dim=1)
        accuracy = (truth == guess).double().mean().item()
        self.hparams.train_logger.log_stats(
            {"epoch": epoch},
            train_stats={"loss": self.train_loss},
            valid_stats={"loss": stage_loss, "WA": accuracy},
        )
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, "dev_WA": accuracy},
            importance_keys=[best_on_dev],
            verbosity=10,
        )

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the checkpoint that was best on dev."""
        self.chosen = self.checkpointer.recover_if_possible(
            importance_key=best_on_dev
        ).meta

    def predict(self, dataset, **loader_options):
        """Classify with the checkpoint that was best on dev.

        Arguments
        ---------
        dataset : modules.batch.StoredUtterances
            Dev again, or the held-out session, which is read but once.
        **loader_options
            Passed to the data loader.

        Returns
        -------
        utterances : list of str
            In the order of the rows of the others.
        targets : torch.Tensor
            [utterances].
        log_probabilities : torch.Tensor
            [utterances, classes].
        """
        self.evaluate(dataset, test_loader_kwargs=loader_options)
        return (
            self.utterances,
            torch.cat(self.targets),
            torch.cat(self.log_probabilities),
        )
