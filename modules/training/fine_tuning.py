"""The trainer that trains the encoder together with the head."""

import functools
import shutil
from typing import Any

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process, run_on_main
from speechbrain.utils.logger import get_logger

from modules.audio import SAMPLE_RATE
from modules.errors import BadInput
from modules.features.waveform_utterances import WaveformUtterances
from modules.files import write_whole
from modules.models.trainable_encoder import TrainableEncoder
from modules.models.upstream import open_upstream
from modules.training.brain import EmotionBrain
from modules.training.gradient_descent import GradientDescent

logger = get_logger(__name__)

# A parameter takes its own bytes and those of Adam's two moments, in fp32.
_BYTES_OF_ONE = 4
_WITH_OPTIMIZER = 3


class FineTunedUpstream:
    """An encoder that is trained: its waveforms are read, nothing is stored.

    Arguments
    ---------
    encoder_hub : str
        A local folder or a name on the HuggingFace Hub.
    encoder_revision : str
        Branch, tag or commit on the Hub.
    **options
        See `modules.models.trainable_encoder.TrainableEncoder`.

    Attributes
    ----------
    encoder : TrainableEncoder
        After `load_encoder`.
    digest : str
        Identifies the encoder before its training.
    """

    encoder: Any = None

    def __init__(
        self, encoder_hub: str, encoder_revision: str | None = None, **options
    ):
        self.make_encoder = functools.partial(
            TrainableEncoder, encoder_hub, encoder_revision, **options
        )
        self.encoder_hub = encoder_hub
        self.digest = open_upstream(encoder_hub, encoder_revision).digest()

    @property
    def num_hidden_states(self) -> int:
        """Number of hidden states that the head gets."""
        return self.encoder.num_hidden_states

    @property
    def hidden_size(self) -> int:
        """Channels of a hidden state."""
        return self.encoder.hidden_size

    def make_datasets(
        self, manifests: dict, label_encoder, device: str, progress: bool
    ) -> dict:
        """Return data sets of waveforms: "train", "dev" and "test"."""
        return {
            split: WaveformUtterances(entries, label_encoder)
            for split, entries in manifests.items()
        }

    def encode(self, manifests, device, progress, part=None) -> None:
        """Encode nothing: the encoder changes with every update."""

    def load_encoder(self) -> None:
        """Load the pretrained weights."""
        self.encoder = self.make_encoder()


class FineTuningBrain(EmotionBrain):
    """Trains ``modules.encoder`` and ``modules.head`` together.

    Batches are `modules.features.waveform_utterances.WaveformBatch`.
    """

    def compute_forward(self, batch, stage):
        """Return log-probabilities [batch, classes]."""
        batch = batch.to(self.device)
        states, frames = self.modules.encoder(batch.wavs, batch.lengths)
        return self.modules.head(states, frames / frames.max())

    def compute_objectives(self, predictions, batch, stage):
        """Return the loss; refuse a loss that is not finite."""
        loss = super().compute_objectives(predictions, batch, stage)
        if not torch.isfinite(loss):
            self._refuse(loss.item())
        return loss

    def _refuse(self, loss):
        """Stop; the checkpoint of the last complete epoch remains."""
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
        """After dev: save; delete the optimizer's state of earlier epochs."""
        super().on_stage_end(stage, stage_loss, epoch)
        if stage != sb.Stage.VALID or not if_main_process():
            return
        for checkpoint in self.checkpointer.list_checkpoints():
            if checkpoint.meta["epoch"] != epoch:
                # Two thirds of the disk; a run continues with the last epoch.
                path = checkpoint.paramfiles.get("optimizer")
                if path is not None:
                    path.unlink(missing_ok=True)

    def check_memory(self, dataset):
        """Try the largest batch of a data set before hours of work.

        Raises
        ------
        BadInput
            If it does not fit into the memory of the GPU.
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
            _, total = torch.cuda.mem_get_info(self.device)
            raise BadInput(
                f"{batch.wavs.numel() / SAMPLE_RATE:.0f} s of audio in one "
                f"batch do not fit into the {total / 1e9:.0f} GB of "
                f"{self.device}: lower --batch_size (and raise "
                "--grad_accumulation_factor), or give "
                "--gradient_checkpointing true or --precision bf16"
            ) from problem
        finally:
            self.modules.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()


class FineTuning(GradientDescent):
    """Trains encoder and head together by gradient descent.

    Arguments
    ---------
    lr : float
        Learning rate of the head, which ``optimizer`` has too.
    encoder_lr : float
        Learning rate of the encoder.
    **options
        See `modules.training.gradient_descent.GradientDescent`.
    """

    brain_class = FineTuningBrain

    def __init__(self, lr: float, encoder_lr: float, **options):
        super().__init__(**options)
        self.lr = lr
        self.encoder_lr = encoder_lr

    def modules(self, upstream, head) -> dict:
        """Return encoder and head."""
        return {"encoder": upstream.encoder, "head": head}

    def make_brain(self, run, run_opts, upstream, head):
        """Return the Brain, after a check of the disk."""
        self.check_room(run.save_folder, upstream.encoder)
        brain = super().make_brain(run, run_opts, upstream, head)
        # Checkpoints are of complete epochs: dev ranks them.
        brain.ckpt_interval_minutes = brain.ckpt_interval_steps = 0
        # Each process skips layers of its own and may mask nothing.
        brain.find_unused_parameters = True
        return brain

    def prepare(self, brain, upstream, datasets) -> None:
        """Check the memory of a GPU."""
        brain.check_memory(datasets["train"])

    def close(self, run, upstream) -> None:
        """Write the encoder that was tested, for the next stage."""
        run_on_main(
            save_encoder, args=[upstream.encoder, run.folder / "encoder"]
        )

    def check_room(self, folder, encoder) -> None:
        """Log how much disk the checkpoints take; refuse if it is not free.

        Raises
        ------
        BadInput
            Naming the bytes that are needed and those that are free.
        """
        one = _BYTES_OF_ONE * sum(p.numel() for p in encoder.parameters())
        # The best, the last and the next one, the last two with the state of
        # the optimizer, and the encoder for the next stage.
        kept = self.average_checkpoints + 2 * _WITH_OPTIMIZER + 1
        there = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        free = shutil.disk_usage(folder).free + there
        sizes = f"{one * kept / 1e9:.1f} GB at most, {free / 1e9:.1f} GB free"
        logger.info(f"{folder}: {one / 1e9:.2f} GB per checkpoint, {sizes}")
        if one * kept > free:
            raise BadInput(
                f"no room for checkpoints in {folder}: {sizes}; make room, "
                "give another --output_folder or lower --average_checkpoints"
            )


def save_encoder(encoder, folder) -> None:
    """Write a trained encoder in HuggingFace format; replace an old one."""
    shutil.rmtree(folder, ignore_errors=True)
    write_whole(folder, encoder.save)
