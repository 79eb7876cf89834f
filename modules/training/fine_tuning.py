"""Training the upstream and the head together."""

import pathlib
import shutil

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

from modules.audio import SAMPLE_RATE
from modules.errors import BadInput
from modules.files import write_whole
from modules.training.brain import EmotionBrain, make_brain

logger = get_logger(__name__)

# What a parameter takes: itself and Adam's two moments, in fp32.
_BYTES_OF_ONE = 4
_WITH_OPTIMIZER = 3


class FineTuningBrain(EmotionBrain):
    """Trains ``modules.models.trainable_encoder`` with ``modules.models.head``.

    Batches are `modules.features.waveform_utterances.SpokenBatch`.
    """

    def compute_forward(self, batch, stage):
        """Return log-probabilities [batch, classes]."""
        batch = batch.to(self.device)
        states, frames = self.modules.encoder(batch.wavs, batch.lengths)
        return self.modules.head(states, frames / frames.max())

    def compute_objectives(self, predictions, batch, stage):
        """Return the loss, which must be a number."""
        loss = super().compute_objectives(predictions, batch, stage)
        if not torch.isfinite(loss):
            self._refuse(loss.item())
        return loss

    def _refuse(self, loss):
        """Stop; the checkpoint of the last whole epoch is still there."""
        best = self.checkpointer.find_checkpoints(max_num_checkpoints=1)
        kept = (
            f"the checkpoint of epoch {best[0].meta['epoch']} is kept in "
            f"{best[0].path}"
            if best
            else "there is no checkpoint yet"
        )
        raise BadInput(
            f"the loss is {loss}: encoder_lr {self.hparams.encoder_lr:g} or "
            f"lr {self.hparams.lr:g} is too high; give a lower one and "
            f"another --output_folder ({kept})"
        )

    def init_optimizers(self):
        """Make one optimizer with a learning rate for each part."""
        encoder = [
            p for p in self.modules.encoder.parameters() if p.requires_grad
        ]
        self.optimizer = self.opt_class(
            [
                {"params": encoder, "lr": self.hparams.encoder_lr},
                {"params": list(self.modules.head.parameters())},
            ]
        )
        self.optimizers_dict = {"opt_class": self.optimizer}
        self.checkpointer.add_recoverable("optimizer", self.optimizer)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """After dev: save, and keep the optimizer's state of the last alone."""
        super().on_stage_end(stage, stage_loss, epoch)
        if stage != sb.Stage.VALID or not if_main_process():
            return
        for checkpoint in self.checkpointer.list_checkpoints():
            if checkpoint.meta["epoch"] != epoch:
                # Two thirds of the disk; only the last one goes on.
                path = checkpoint.paramfiles.get("optimizer")
                if path is not None:
                    path.unlink(missing_ok=True)

    def check_memory(self, dataset):
        """Try the largest batch that can come, before hours of work.

        Raises
        ------
        BadInput
            If the GPU has not so much memory.
        """
        if torch.device(self.device).type != "cuda":
            return
        self.modules.train()
        batch = dataset.longest(self.hparams.batch_size)
        try:
            with self.training_ctx:
                predictions = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = predictions.float().square().mean()
            loss.backward()
        except torch.cuda.OutOfMemoryError as problem:
            free, total = torch.cuda.mem_get_info(self.device)
            raise BadInput(
                f"{batch.wavs.numel() / SAMPLE_RATE:.0f} s of audio in one batch "
                f"do not fit into the {total / 1e9:.0f} GB of {self.device}: "
                "lower --batch_size (and raise --grad_accumulation_factor), "
                "or give --gradient_checkpointing true or --precision bf16"
            ) from problem
        finally:
            self.modules.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()


def make_fine_tuning_brain(hparams, run_opts, encoder, head):
    """Return a brain that trains encoder and head.

    Arguments
    ---------
    hparams : dict
        From `modules.training.experiment.load_experiment`.
    run_opts : speechbrain.utils.run_opts.RunOptions
        From the same.
    encoder : modules.models.trainable_encoder.TrainableEncoder
    head : modules.models.head.EmotionHead

    Raises
    ------
    BadInput
        If the disk has no room for its checkpoints.
    """
    check_room(encoder, hparams)
    brain = make_brain(
        FineTuningBrain,
        {"encoder": encoder, "head": head},
        hparams,
        run_opts,
        counter=hparams["epoch_counter"],
    )
    # Checkpoints are of whole epochs: they are ranked by their dev.
    brain.ckpt_interval_minutes = brain.ckpt_interval_steps = 0
    # Processes side by side skip layers of their own and may mask nothing.
    brain.find_unused_parameters = True
    return brain


def check_room(encoder, hparams):
    """Say how much disk fine-tuning takes; refuse if it is not there.

    Arguments
    ---------
    encoder : modules.models.trainable_encoder.TrainableEncoder
    hparams : dict
        From `modules.training.experiment.load_experiment`.

    Raises
    ------
    BadInput
        Naming what is needed and what is free.
    """
    folder = pathlib.Path(hparams["save_folder"])
    one = _BYTES_OF_ONE * sum(p.numel() for p in encoder.parameters())
    # The best, the last and the next one, the last two with the optimizer's
    # state, and the encoder that is handed on.
    kept = hparams["average_checkpoints"] + 2 * _WITH_OPTIMIZER + 1
    there = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    free = shutil.disk_usage(folder).free + there
    sizes = f"{one * kept / 1e9:.1f} GB at most, {free / 1e9:.1f} GB free"
    logger.info(f"{folder}: {one / 1e9:.2f} GB per checkpoint, {sizes}")
    if one * kept > free:
        raise BadInput(
            f"no room for checkpoints in {folder}: {sizes}; make room, give "
            "another --output_folder or lower --average_checkpoints"
        )


def save_encoder(encoder, folder):
    """Write what was tested, for the next stage; replaces what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    write_whole(folder, encoder.save)
