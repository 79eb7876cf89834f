"""An encoder that is trained with the head: fine-tuning.

The statements of `modules.models.encoder.FrozenEncoder` on padding and batch mates hold
here in evaluation. In training dropout, LayerDrop and SpecAugment are alive;
all of them draw from torch's generator, so that a seed decides everything.
"""

import json
import pathlib

import torch

from modules.audio import SAMPLE_RATE
from modules.models.encoder import FrozenEncoder
from modules.models.whisper_window import FRAME, check_window

# Frames that SpecAugment hides at once, and channels.
_SPAN = 10


def draw_spans(counts, longest, share, span=_SPAN):
    """Choose spans of frames (or channels) to hide.

    Arguments
    ---------
    counts : list of int
        Valid frames of each utterance.
    longest : int
        Frames of the padded batch.
    share : float
        Of the valid frames, hidden on average; less where spans overlap.
    span : int
        Frames of one span.

    Returns
    -------
    hidden : torch.Tensor
        True where hidden, [batch, longest].
    """
    hidden = torch.zeros(len(counts), longest, dtype=torch.bool)
    for row, count in zip(hidden, counts):
        # Rounded by chance: the mean is right for short utterances too.
        number = int(share * count / span + torch.rand(()).item())
        starts = torch.randint(max(1, count - span + 1), (number,))
        for start in starts.tolist():
            row[start : min(start + span, count)] = True
    return hidden


class TrainableEncoder(FrozenEncoder):
    """An encoder whose transformer is trained; its convolutions are not.

    Arguments
    ---------
    encoder_hub : str
        A local folder or a name on the HuggingFace Hub.
    revision : str
        Branch, tag or commit on the Hub.
    layers_used : str
        "last": the last hidden state alone goes to the head; "all": all do.
    layerdrop : float
        Probability to skip a layer while training, in [0, 1).
    mask_time, mask_channels : float
        Share of frames and of channels that SpecAugment hides while training,
        in [0, 1): of the first transformer layer's input, or of Whisper's
        log-mel spectrogram.
    gradient_checkpointing : bool
        Compute activations anew in the backward pass: less memory, more time.
    whisper_window : int
        Seconds of audio per window of Whisper; None: 30, as it was trained.
        Short windows save most of the time. Longer utterances are divided
        into windows.

    Raises
    ------
    BadInput
        If the encoder cannot be had, or has no such window.
    """

    def __init__(
        self,
        encoder_hub,
        revision=None,
        layers_used="last",
        layerdrop=0.0,
        mask_time=0.0,
        mask_channels=0.0,
        gradient_checkpointing=False,
        whisper_window=None,
    ):
        super().__init__(encoder_hub, revision)
        self.mask_time, self.mask_channels = mask_time, mask_channels
        self.last_alone = layers_used == "last"
        if self.last_alone:
            self.num_hidden_states = 1
        model = self.wrapper.model
        self.wrapper.requires_grad_(True)
        if self.is_whisper:
            model.encoder.layerdrop = layerdrop
            if whisper_window is not None:
                self._shorten(whisper_window)
            for name in ("conv1", "conv2", "embed_positions"):
                getattr(model.encoder, name).requires_grad_(False)
        else:
            model.config.layerdrop = layerdrop
            # Ours, below, draws from torch's generator.
            model.config.apply_spec_augment = False
            model.feature_extractor._freeze_parameters()
            model.masked_spec_embed.requires_grad_(mask_time > 0)
            model.feature_projection.register_forward_hook(self._augment)
        self.transformer = [model.encoder]  # listed: it is the wrapper's part
        if gradient_checkpointing:
            enable = getattr(  # older transformers have the other alone
                model,
                "activation_checkpointing_enable",
                model.gradient_checkpointing_enable,
            )
            enable({"use_reentrant": False})
        self._frames = self._ran = None
        for index, layer in enumerate(self.transformer[0].layers):
            layer.register_forward_pre_hook(self._noting(index))
        self.train()

    def _shorten(self, seconds):
        """Cut Whisper's window to a number of seconds."""
        encoder = self.wrapper.model.encoder
        check_window(seconds, encoder.max_source_positions)
        positions = seconds * SAMPLE_RATE // FRAME
        self.config.max_source_positions = positions
        self.wrapper.model.config.max_source_positions = positions
        encoder.max_source_positions = positions
        encoder.embed_positions = torch.nn.Embedding.from_pretrained(
            encoder.embed_positions.weight[:positions].detach().clone()
        )
        self.wrapper.n_samples = seconds * SAMPLE_RATE

    def _freeze(self):
        """Freeze nothing here; the constructor freezes the convolutions."""

    def train(self, mode=True):
        """Change the mode, as any module does."""
        return torch.nn.Module.train(self, mode)

    def forward(self, wavs, lengths=None):
        """Encode; see `modules.models.encoder.FrozenEncoder.forward`."""
        return self._encode(wavs, lengths)

    def _noting(self, index):
        """Return a hook that notes that a layer was not skipped."""

        def note(layer, inputs):
            if self._ran is not None:
                self._ran.add(index)

        return note

    def _run(self, model, *inputs, **options):
        """Return the hidden states that the head is to get."""
        if self.last_alone:
            return model(*inputs, **options).last_hidden_state[None]
        self._ran = set()
        out = model(*inputs, output_hidden_states=True, **options)
        ran, self._ran = self._ran, None
        # What is recorded is the input of each layer that ran, and the end.
        states, recorded = [], list(out.hidden_states)
        if not ran:
            recorded = [out.last_hidden_state]
        for index in range(len(self.transformer[0].layers)):
            states.append(recorded[0])
            if index in ran:
                recorded.pop(0)
        return torch.stack([*states, recorded[0]])

    def _wav2vec_group(self, wavs):
        """Encode; note how many frames each utterance has."""
        self._frames = [self.count_frames(len(wav)) for wav in wavs]
        return super()._wav2vec_group(wavs)

    def _augment(self, module, inputs, output):
        """Hide frames and channels of the transformer's input."""
        if not self.training:
            return None
        features = output[0] if isinstance(output, tuple) else output
        features = self._hide(
            features, self._frames, self.wrapper.model.masked_spec_embed
        )
        if isinstance(output, tuple):
            return (features, *output[1:])
        return features

    def _hide(self, features, counts, mark):
        """Hide frames and channels of features [batch, frames, channels]."""
        batch, longest, channels = features.shape
        if self.mask_time:
            hidden = draw_spans(counts, longest, self.mask_time)
            hidden = hidden.to(features.device)[..., None]
            features = torch.where(hidden, mark.to(features.dtype), features)
        if self.mask_channels:
            hidden = draw_spans(
                [channels] * batch, channels, self.mask_channels
            )
            hidden = hidden.to(features.device)[:, None]
            features = features.masked_fill(hidden, 0.0)
        return features

    def _mels(self, waveforms, size):
        """Return spectrograms in fp32, also under autocast."""
        with torch.autocast(waveforms[0].device.type, enabled=False):
            return super()._mels(waveforms, size)

    def _run_whisper(self, mels, frames):
        """Hide parts of the spectrograms [batch, bands, frames], then run."""
        if self.training:
            counts = [min(2 * count, mels.shape[2]) for count in frames]
            silence = mels.amin()
            mels = self._hide(mels.transpose(1, 2), counts, silence)
            mels = mels.transpose(1, 2)
        return super()._run_whisper(mels, frames)

    def save(self, folder):
        """Write the encoder in HuggingFace format.

        ``--encoder_hub <folder>`` makes it a frozen upstream.

        Arguments
        ---------
        folder : pathlib.Path
            Is made, or filled.
        """
        folder = pathlib.Path(folder)
        self.wrapper.model.save_pretrained(folder)
        name = "preprocessor_config.json"
        preprocessor = json.loads((self.folder / name).read_text())
        if self.is_whisper:
            samples = self.wrapper.n_samples
            preprocessor |= {
                "chunk_length": samples // SAMPLE_RATE,
                "n_samples": samples,
                "nb_max_frames": 2 * self.config.max_source_positions,
            }
        text = json.dumps(preprocessor, indent=2) + "\n"
        (folder / name).write_text(text)
