"""Training the head on hidden states, and testing it once."""

import functools
import shutil

import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import Checkpointer, average_checkpoints
from speechbrain.utils.distributed import ddp_barrier, if_main_process
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
        if saved is not None and saved.path.name.startswith(_UNFINISHED):
            saved = self._named(saved)
        # Or another process would list checkpoints before this one is named,
        # delete others than the first does, and wait for it forever.
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


def best_on_dev(checkpoint):
    """Rank a checkpoint: dev accuracy, of equals the earliest epoch."""
    return checkpoint.meta["dev_WA"], -checkpoint.meta["epoch"]


def best_checkpoints(checkpointer, count=1):
    """Return the checkpoints that are best on dev, the best one first."""
    return checkpointer.find_checkpoints(
        importance_key=best_on_dev,
        ckpt_predicate=lambda checkpoint: "dev_WA" in checkpoint.meta,
        max_num_checkpoints=count,
    )


def mean_weights(checkpoints, name):
    """Return the mean of a module's weights over checkpoints.

    Arguments
    ---------
    checkpoints : list
        From `best_checkpoints`.
    name : str
        Of the module among their recoverables.

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


def make_brain(kind, modules, hparams, run_opts, **recoverables):
    """Return a brain whose checkpoints hold its modules.

    Arguments
    ---------
    kind : type
        `EmotionBrain` or a class made from it.
    modules : dict
        Name -> what is trained, "head" among them.
    hparams : dict
        From `modules.training.experiment.load_experiment`.
    run_opts : speechbrain.utils.run_opts.RunOptions
        From the same.
    **recoverables
        What else the checkpoints hold.
    """
    return kind(
        modules=modules,
        opt_class=hparams.get("optimizer"),
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=WholeCheckpointer(
            hparams["save_folder"], {**modules, **recoverables}
        ),
    )


class EmotionBrain(sb.Brain):
    """Trains ``modules.models.head``; the encoder is not part of it.

    Batches are `modules.features.stored_utterances.StoredBatch`.
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
        """After dev: log, save, keep the best checkpoints and the last."""
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
            num_to_keep=self.hparams.average_checkpoints,
            keep_recent=False,
            # The one that a killed run goes on with.
            ckpt_predicate=lambda other: other.meta["epoch"] != epoch,
            verbosity=10,
        )

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the mean of the checkpoints that were best on dev."""
        best = best_checkpoints(
            self.checkpointer, self.hparams.average_checkpoints
        )
        for name, module in self.checkpointer.recoverables.items():
            if isinstance(module, torch.nn.Module):
                module.load_state_dict(mean_weights(best, name))
        self.chosen = best[0].meta
        self.averaged = sorted(checkpoint.meta["epoch"] for checkpoint in best)

    def predict(self, dataset, **loader_options):
        """Classify with the checkpoints that were best on dev.

        Arguments
        ---------
        dataset : modules.features.stored_utterances.StoredUtterances
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
