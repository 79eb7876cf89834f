"""The trainer of heads that have weights before their classifier."""

from collections.abc import Callable

from speechbrain.utils.epoch_loop import EpochCounter

from modules.features.stored_utterances import as_is
from modules.training.brain import EmotionBrain
from modules.training.checkpoints import WholeCheckpointer
from modules.training.fold import Trained
from modules.training.train_loggers import TrainLoggers, check_installed


class GradientDescent:
    """Trains a head on stored hidden states by gradient descent.

    The checkpoint with the highest dev accuracy (of equals the earliest) is
    tested, or the mean of several.

    Arguments
    ---------
    seed : int
        Seeds every epoch.
    number_of_epochs, batch_size : int
        Length of the training; utterances of a process in a step, of which
        an update has one unless gradients are accumulated.
    optimizer : callable
        Returns an optimizer for parameters.
    compute_loss : callable
        Returns the training loss for log-probabilities and targets.
    max_grad_norm : float
        The gradient's norm is clipped to it.
    average_checkpoints : int
        Number of best checkpoints whose mean weights are tested.
    schedule : callable
        Returns a factor of the learning rate for the share of the training
        that is done, see `modules.training.schedule`; None: 1.
    layer_lr : float
        Learning rate of the weights of the layers; None: that of the rest.
    class_weights : str
        "balanced": utterances of rare classes count more in the loss, see
        `modules.training.targets`. None: all count alike.
    train_logger : str
        Where losses and dev accuracy of every epoch go beside train_log.txt:
        "tensorboard" or "wandb", into the run's folder. None: nowhere.
    """

    brain_class = EmotionBrain

    def __init__(
        self,
        seed: int,
        number_of_epochs: int,
        batch_size: int,
        optimizer: Callable,
        compute_loss: Callable,
        max_grad_norm: float = 1.0,
        average_checkpoints: int = 1,
        schedule: Callable | None = None,
        layer_lr: float | None = None,
        class_weights: str | None = None,
        train_logger: str | None = None,
    ):
        check_installed(train_logger)
        self.seed = seed
        self.number_of_epochs = number_of_epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.compute_loss = compute_loss
        self.max_grad_norm = max_grad_norm
        self.average_checkpoints = average_checkpoints
        self.schedule = schedule
        self.layer_lr = layer_lr
        self.class_weights = class_weights
        self.train_logger = train_logger

    def check(self, head) -> None:
        """Refuse a head that cannot be trained; any can be."""

    def train(self, run, run_opts, upstream, head, datasets) -> Trained:
        """Train a head, choose on dev, classify the test fold once.

        Arguments
        ---------
        run : modules.training.run.Run
            Gets checkpoints, train_log.txt and learning_curve.json.
        run_opts : speechbrain.utils.run_opts.RunOptions
            SpeechBrain's run options.
        upstream : object
            Such as `modules.features.frozen_upstream.FrozenUpstream`.
        head : modules.models.head.EmotionHead
            Is trained.
        datasets : dict
            "train", "dev" and "test".

        Returns
        -------
        trained : modules.training.fold.Trained
        """
        brain = self.make_brain(run, run_opts, upstream, head)
        self.prepare(brain, upstream, datasets)
        labels = datasets["train"].targets
        brain.set_class_weights(labels, head.num_classes)
        loader = {"batch_size": self.batch_size, "collate_fn": as_is}
        brain.fit(
            brain.hparams.epoch_counter,
            datasets["train"],
            datasets["dev"],
            train_loader_kwargs=loader | {"shuffle": True},
            valid_loader_kwargs=loader,
        )
        brain.hparams.train_logger.close()
        dev = brain.predict(datasets["dev"], self.batch_size)
        test = brain.predict(datasets["test"], self.batch_size)
        chosen = {
            "best_epoch": brain.chosen["epoch"],
            "dev_WA": brain.chosen["dev_WA"],
        }
        if len(brain.averaged) > 1:
            chosen["dev_WA"] = dev.accuracy()
            chosen["averaged_epochs"] = brain.averaged
        self.close(run, upstream)
        return Trained(dev, test, chosen)

    def modules(self, upstream, head) -> dict:
        """Return what is trained, by name."""
        return {"head": head}

    def make_brain(self, run, run_opts, upstream, head):
        """Return the Brain; its checkpoints contain what is trained."""
        modules = self.modules(upstream, head)
        counter = EpochCounter(limit=self.number_of_epochs)
        log = TrainLoggers(run, self.train_logger, run.settings)
        values = vars(self) | {
            "run": run,
            "epoch_counter": counter,
            "train_logger": log,
        }
        return self.brain_class(
            modules=modules,
            opt_class=self.optimizer,
            hparams=values,
            run_opts=run_opts,
            checkpointer=WholeCheckpointer(
                run.save_folder, {**modules, "counter": counter}
            ),
        )

    def prepare(self, brain, upstream, datasets) -> None:
        """Check what can be checked before the first update; nothing here."""

    def close(self, run, upstream) -> None:
        """Write what is left after the test; nothing here."""
