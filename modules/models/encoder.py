"""Frozen self-supervised encoders (and Whisper's, which is supervised).

transformers loads the weights. The classes here make the hidden states of an
utterance depend on nothing but the utterance: the encoder stays in evaluation
mode, and neither padding nor batch mates reach a result.
"""

import copy
import warnings

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from modules.audio import SAMPLE_RATE
from modules.errors import BadInput
from modules.models.encoder_config import encoder_shape
from modules.models.encoder_files import locate_encoder
from modules.models.encoder_loading import load_wrapper, read_config
from modules.models.whisper_window import (
    FRAME,
    check_window,
    encode_window,
    log_mel,
    split_into_windows,
)

PRECISIONS = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

# transformers gives WavLM's attention a mask of each kind, which is right.
warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")

# Known to ignore masked padding to the last bit of rounding, provided that
# their convolutions are normalised frame by frame. Others are never padded.
_MASKING_FAMILIES = {"wavlm", "hubert", "wav2vec2"}


def count_frames(config, samples):
    """Return how many frames an utterance gets.

    Arguments
    ---------
    config : transformers.PretrainedConfig
        Of the encoder.
    samples : int
        Length of the waveform at 16 kHz.

    Returns
    -------
    frames : int
        At 50 per second for all encoders named here.
    """
    if config.model_type == "whisper":
        return -(-samples // FRAME)
    for kernel, stride in zip(config.conv_kernel, config.conv_stride):
        samples = (samples - kernel) // stride + 1
    return max(samples, 0)


def computed_seconds(config, whisper_window, seconds):
    """Return the seconds of audio that encoding an utterance costs.

    Arguments
    ---------
    config : transformers.PretrainedConfig
        Of the encoder.
    whisper_window : int or str
        See `modules.models.whisper_window`; other encoders have none.
    seconds : float
        Duration of the utterance.

    Returns
    -------
    computed : float
        Of all windows together for Whisper.
    """
    if config.model_type != "whisper":
        return seconds
    samples = max(1, round(seconds * SAMPLE_RATE))
    longest = config.max_source_positions * FRAME
    parts = split_into_windows(samples, whisper_window, longest)
    return sum(size for _, size in parts) / SAMPLE_RATE


def _fix_weight_norm(module):
    """Compute normalised weights once: frozen, they do not change.

    Bit for bit what every forward pass would compute; and PyTorch does not
    pickle modules that compute their weights.
    """
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            for name in list(part.parametrizations):
                parametrize.remove_parametrizations(part, name)
            part.requires_grad_(False)
            # For checkpoints of old; a closure, which cannot be pickled.
            part._load_state_dict_pre_hooks.clear()


# Samples of the noise that an encoder is tried with.
_TRIED = 1600


class FrozenEncoder(nn.Module):
    """A frozen encoder that returns the hidden states of all its layers.

    It stays in evaluation mode whatever is called on it or on its parents.
    An utterance gets the same hidden states alone, in any batch and at any
    amount of padding:

    - the waveform is normalised over the utterance's own samples;
    - encoders with layer normalisation in their convolutions are masked,
      others (the base models, whose GroupNorm runs over time) see utterances
      of one length at a time and no padding;
    - Whisper gets windows whose length depends on the utterance alone, each
      with its own log-mel floor, and the frames of the utterance are kept.

    Arguments
    ---------
    encoder_hub : str
        A local folder or a name on the HuggingFace Hub.
    revision : str
        Branch, tag or commit on the Hub.
    precision : str
        fp32, bf16 or fp16 (the latter two through autocast).
    whisper_window : int or str
        Seconds of audio per window of Whisper: "fit" for the next multiple of
        2 s, None for the window that it was trained with. Other encoders have
        no windows.

    Raises
    ------
    BadInput
        If the encoder cannot be found, or precision or window is unknown.
    """

    def __init__(
        self, encoder_hub, revision=None, precision="fp32", whisper_window=None
    ):
        super().__init__()
        if precision not in PRECISIONS:
            raise BadInput(
                f"precision '{precision}' is unknown: choose one of "
                f"{', '.join(PRECISIONS)}"
            )
        self.dtype = PRECISIONS[precision]
        self.folder = locate_encoder(encoder_hub, revision)
        config = read_config(self.folder)
        self.is_whisper = config.model_type == "whisper"
        self.whisper_window = None
        if self.is_whisper:
            self.whisper_window = check_window(
                whisper_window, config.max_source_positions
            )
        wrapper = load_wrapper(self.folder, copy.deepcopy(config))
        # Weights may be stored in half precision.
        self.wrapper = wrapper.float()
        self._freeze()
        self.config = config
        self.num_hidden_states, self.hidden_size = encoder_shape(config)
        self.masks_padding = (
            config.model_type in _MASKING_FAMILIES
            and config.feat_extract_norm == "layer"
            and not getattr(config, "conv_pos_batch_norm", False)
        )
        self.eval()

    def _freeze(self):
        """Make all weights constant."""
        self.wrapper.requires_grad_(False)
        _fix_weight_norm(self.wrapper)

    def train(self, mode=True):
        """Stay in evaluation mode: frozen means frozen.

        ``Brain`` calls ``train()`` on all modules at every epoch, which would
        bring dropout and LayerDrop back to life.
        """
        return super().train(False)

    def count_frames(self, samples):
        """Return the frames of an utterance; see `count_frames`."""
        return count_frames(self.config, samples)

    def _windows(self, samples):
        """Return the parts and windows of an utterance of Whisper."""
        longest = self.config.max_source_positions * FRAME
        return split_into_windows(samples, self.whisper_window, longest)

    def computed_seconds(self, seconds):
        """Return what an utterance costs; see `computed_seconds`."""
        return computed_seconds(self.config, self.whisper_window, seconds)

    @torch.no_grad()
    def forward(self, wavs, lengths=None):
        """Encode.

        Arguments
        ---------
        wavs : torch.Tensor
            Mono waveforms at 16 kHz, padded; [batch, samples].
        lengths : torch.Tensor
            Relative lengths [batch]; nothing is padded if left out.

        Returns
        -------
        hidden_states : torch.Tensor
            fp32, zero on padding; [layers, batch, frames, hidden_size].
        frames : torch.Tensor
            Valid frames per utterance; [batch].

        Raises
        ------
        ValueError
            If an utterance is shorter than one frame.
        """
        with torch.autocast(
            wavs.device.type, self.dtype, enabled=self.dtype != torch.float32
        ):
            return self._encode(wavs, lengths)

    def _encode(self, wavs, lengths=None):
        """Encode in the precision and the mode that are set."""
        if lengths is None:
            lengths = torch.ones(len(wavs))
        samples = torch.round(lengths.cpu().double() * wavs.shape[1])
        samples = samples.long().tolist()
        frames = [self.count_frames(count) for count in samples]
        if min(frames) < 1:
            raise ValueError(
                f"an utterance of {min(samples)} samples is shorter than one "
                "frame of the encoder"
            )
        encode = self._whisper if self.is_whisper else self._wav2vec
        hidden_states = encode(wavs.float(), samples, frames)
        return hidden_states, torch.tensor(frames, device=wavs.device)

    def _wav2vec(self, wavs, samples, frames):
        """Encode with WavLM, HuBERT, wav2vec 2.0 and their like."""
        wavs = [wav[:count] for wav, count in zip(wavs, samples)]
        if self.wrapper.normalize_wav:
            wavs = [F.layer_norm(wav, wav.shape) for wav in wavs]
        if self.masks_padding:
            groups = [list(range(len(wavs)))]
        else:
            groups = [
                [i for i, count in enumerate(samples) if count == length]
                for length in sorted(set(samples))
            ]
        result = wavs[0].new_zeros(
            self.num_hidden_states, len(wavs), max(frames), self.hidden_size
        )
        for group in groups:
            states = self._wav2vec_group([wavs[i] for i in group])
            for row, i in enumerate(group):
                result[:, i, : frames[i]] = states[:, row, : frames[i]]
        return result

    def _wav2vec_group(self, wavs):
        """Encode waveforms of one length, or mask what pads them."""
        batch = nn.utils.rnn.pad_sequence(wavs, batch_first=True)
        mask = None
        if any(len(wav) < batch.shape[1] for wav in wavs):
            counts = torch.tensor([len(wav) for wav in wavs])
            mask = torch.arange(batch.shape[1]) < counts[:, None]
            mask = mask.to(batch.device)
        return self._run(self.wrapper.model, batch, attention_mask=mask)

    def _run(self, model, *inputs, **options):
        """Return all hidden states of a model, [layers, batch, ...]."""
        out = model(*inputs, output_hidden_states=True, **options)
        return torch.stack(out.hidden_states)

    def _run_whisper(self, mels, frames):
        """Return the hidden states of windows of one length.

        ``frames`` are the valid frames of each window.
        """
        encoder = self.wrapper.model.encoder
        if mels.shape[2] < 2 * self.config.max_source_positions:
            return encode_window(encoder, mels)
        return self._run(encoder, mels)

    def _mels(self, waveforms, size):
        """Return log-mel spectrograms, [windows, bands, frames]."""
        return torch.cat([log_mel(self.wrapper, w, size) for w in waveforms])

    def _whisper(self, wavs, samples, frames):
        """Encode in windows and keep the utterance's own frames."""
        parts = []
        for wav, count in zip(wavs, samples):
            start = 0
            for length, size in self._windows(count):
                parts.append((wav[start : start + length], size))
                start += length
        states = [None] * len(parts)
        for size in sorted({size for _, size in parts}):
            rows = [i for i, part in enumerate(parts) if part[1] == size]
            waveforms = [parts[i][0] for i in rows]
            counts = [self.count_frames(len(part)) for part in waveforms]
            encoded = self._run_whisper(self._mels(waveforms, size), counts)
            for row, i in enumerate(rows):
                states[i] = encoded[:, row, : counts[row]]
        # [layers, frames of all utterances, hidden_size]
        kept = torch.cat(states, dim=1)
        return torch.stack(
            [
                F.pad(utterance, (0, 0, 0, max(frames) - utterance.shape[1]))
                for utterance in kept.split(frames, dim=1)
            ],
            dim=1,
        ).float()


def try_encoder(encoder):
    """Encode a tenth of a second of noise; refuse an encoder that cannot.

    Whisper, which would compute 30 s, is left out.

    Raises
    ------
    BadInput
        If a setting of its configuration fails or gives values that are not
        finite.
    """
    if encoder.is_whisper:
        return
    noise = torch.randn(1, _TRIED, generator=torch.Generator().manual_seed(0))
    try:
        states, _ = encoder(noise)
        finite = bool(torch.isfinite(states).all())
        reason = "its hidden states are not finite"
    except Exception as problem:  # of any class, for settings of any kind
        finite, reason = False, f"{type(problem).__name__}: {problem}"
    if not finite:
        raise BadInput(
            f"the encoder in {encoder.folder} cannot encode "
            f"({' '.join(reason.split()):.120}): download it again"
        )
