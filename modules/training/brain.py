"""The Brain that trains a head by gradient descent."""

import os

import speechbrain as sb
import torch
from speechbrain.dataio.sampler import ReproducibleRandomSampler

from modules.errors import BadInput
from modules.features.stored_utterances import as_is
from modules.files import read_json, write_json
from modules.models.layer_pooling import LayerPooling
from modules.training.checkpoints import (
    best_checkpoints,
    dev_rank,
    mean_weights,
)
from modules.training.metrics import Predictions, score
from modules.training.targets import class_weights
from modules.training.update_batches import UpdateBatches, world

CURVE = "learning_curve.json"


class EmotionBrain(sb.Brain):
    """Trains ``modules.head`` on stored hidden states.

    Batches are `modules.features.stored_utterances.StoredBatch`.
    """

    def init_optimizers(self):
        """Make the optimizer; weights of layers may have their own rate."""
        own = [
            part.scores
            for part in self.modules.modules()
            if isinstance(part, LayerPooling) and self.hparams.layer_lr
        ]
        others = [
            parameter
            for parameter in self.modules.parameters()
            if all(parameter is not scores for scores in own)
        ]
        groups = [{"params": others}]
        if own:
            # A decay would draw the weights of layers to the uniform.
            rate = {"lr": self.hparams.layer_lr, "weight_decay": 0.0}
            groups.append({"params": own} | rate)
        self.optimizer = self.opt_class(groups)
        self.optimizers_dict = {"opt_class": self.optimizer}
        self.checkpointer.add_recoverable("optimizer", self.optimizer)

    def _train_loader_specifics(self, dataset, loader_kwargs):
        """Have an update see the same utterances with any number of processes."""
        seed = os.environ.get("SB_GLOBAL_SEED", 563375142)
        self.train_sampler = UpdateBatches(
            ReproducibleRandomSampler(dataset, seed=seed),
            self.hparams.batch_size,
            self.grad_accumulation_factor,
            *world(),
        )
        own = {"batch_sampler": self.train_sampler}
        return own | {"collate_fn": loader_kwargs["collate_fn"]}

    def on_fit_batch_start(self, batch, should_step):
        """Set the learning rates of this update."""
        if self.hparams.schedule is None:
            return
        epochs = self.hparams.epoch_counter
        steps = self.grad_accumulation_factor
        updates = len(self.train_sampler) // steps
        begun = epochs.current - 1 + (self.step - 1) // steps / updates
        factor = self.hparams.schedule(begun / epochs.limit)
        for group in self.optimizer.param_groups:
            rate = group.setdefault("initial_lr", group["lr"])
            group["lr"] = rate * factor

    def compute_forward(self, batch, stage):
        """Return log-probabilities [batch, classes]."""
        batch = batch.to(self.device)
        return self.modules.head(batch.hidden_states)

    def compute_objectives(self, predictions, batch, stage):
        """Return the loss; smoothed in training, plain in dev and test."""
        targets = batch.label_encoded.to(self.device)
        if stage == sb.Stage.TRAIN:
            loss = self._training_loss(predictions, targets)
            return loss * self.train_sampler.weight(self.step)
        self.utterances.extend(batch.id)
        self.targets.append(targets.cpu())
        self.log_probabilities.append(predictions.float().cpu())
        return sb.nnet.losses.nll_loss(predictions, targets)

    def set_class_weights(self, labels: torch.Tensor, num_classes: int) -> None:
        """Set how much each class counts; see `modules.training.targets`.

        Arguments
        ---------
        labels : torch.Tensor
            Of the training utterances, [utterances].
        num_classes : int
            Number of classes.
        """
        setting = self.hparams.class_weights
        self.class_weights = class_weights(setting, labels, num_classes)

    def _training_loss(self, predictions, targets):
        """Return the mean loss; each utterance has the weight of its label."""
        if self.class_weights is None:
            return self.hparams.compute_loss(predictions, targets)
        # As one frame each: SpeechBrain smooths no other losses one by one.
        losses = self.hparams.compute_loss(
            predictions[:, None], targets[:, None], reduction="batch"
        )
        weights = self.class_weights.to(predictions)[targets]
        return (weights * losses).mean()

    def on_stage_start(self, stage, epoch=None):
        """Reset the predictions; seed the epoch.

        Each epoch has a seed of its own, so that a run that continues after a
        kill draws the random numbers that the unbroken run draws, without a
        state of the generators in the checkpoint. Each process has one too:
        their masks and skipped layers differ.
        """
        if stage == sb.Stage.TRAIN:
            own = self.hparams.seed * 10_000 + epoch
            torch.manual_seed(own + world()[1] * 2**48)
        self.utterances, self.targets, self.log_probabilities = [], [], []

    def predictions(self) -> Predictions:
        """Return the predictions of the last stage."""
        return Predictions(
            self.utterances,
            torch.cat(self.targets),
            torch.cat(self.log_probabilities),
        )

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """After dev: log, save, keep the best checkpoints and the last."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
        if stage != sb.Stage.VALID:
            return
        found = self.predictions()
        accuracy = found.accuracy()
        classes = [str(i) for i in range(found.log_probabilities.shape[1])]
        recall = score(*found.pairs(), classes)["UA"]
        self.hparams.train_logger.log_stats(
            {"epoch": epoch},
            train_stats={"loss": self.train_loss},
            valid_stats={"loss": stage_loss, "WA": accuracy, "UA": recall},
        )
        self._extend_curve(epoch, stage_loss, accuracy)
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, "dev_WA": accuracy},
            importance_keys=[dev_rank],
            num_to_keep=self.hparams.average_checkpoints,
            keep_recent=False,
            # A killed run continues with this one.
            ckpt_predicate=lambda other: other.meta["epoch"] != epoch,
            verbosity=10,
        )

    def _extend_curve(self, epoch, dev_loss, accuracy):
        """Add an epoch to learning_curve.json; an epoch repeated replaces."""
        if not sb.utils.distributed.if_main_process():
            return
        path = self.hparams.run.folder / CURVE
        curve = [p for p in read_curve(path) if p["epoch"] < epoch]
        point = {
            "epoch": epoch,
            "train_loss": self.train_loss,
            "dev_loss": dev_loss,
            "dev_WA": accuracy,
        }
        write_json(path, [*curve, point])

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the mean of the checkpoints that are best on dev."""
        best = best_checkpoints(
            self.checkpointer, self.hparams.average_checkpoints
        )
        for name, module in self.checkpointer.recoverables.items():
            if isinstance(module, torch.nn.Module):
                module.load_state_dict(mean_weights(best, name))
        self.chosen = best[0].meta
        self.averaged = sorted(checkpoint.meta["epoch"] for checkpoint in best)

    def predict(self, dataset, batch_size: int) -> Predictions:
        """Classify with the checkpoints that are best on dev.

        Arguments
        ---------
        dataset : modules.features.stored_utterances.StoredUtterances
            Dev, or the test fold, which is read once.
        batch_size : int
            Utterances at a time.
        """
        loader = {"batch_size": batch_size, "collate_fn": as_is}
        self.evaluate(dataset, test_loader_kwargs=loader)
        return self.predictions()


def read_curve(path) -> list[dict]:
    """Return the epochs in learning_curve.json; none if there is no file.

    Raises
    ------
    BadInput
        If it is damaged.
    """
    try:
        curve = read_json(path) if path.exists() else []
        for point in curve:
            for key in ("epoch", "train_loss", "dev_loss", "dev_WA"):
                float(point[key])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BadInput(
            f"{path} is damaged: delete it and run the same command again"
        ) from problem
    return curve
