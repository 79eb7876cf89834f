"""A model as one module whose inputs a graph in ONNX can have."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from modules.inference.emotion_model import EmotionModel
from modules.models.fusion import PaddedPair, PairedEncoder
from modules.models.vocal import VocalEncoder
from modules.models.whisper_window import encode_window


def encoders_of(model: EmotionModel) -> list[Any]:
    """Return the encoder of a model, or its two, in their order."""
    if isinstance(model.encoder, PairedEncoder):
        return [model.encoder.first, model.encoder.second]
    return [model.encoder]


class WaveformStates(nn.Module):
    """Hidden states of WavLM, HuBERT or wav2vec 2.0 for one waveform."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, waveform):
        """Encode a waveform [samples]."""
        wav = waveform[None]
        if self.encoder.wrapper.normalize_wav:
            # F.layer_norm would fix the number of samples.
            wav = wav - wav.mean(dim=1, keepdim=True)
            power = wav.square().mean(dim=1, keepdim=True)
            wav = wav * torch.rsqrt(power + 1e-5)
        return self.encoder._run(self.encoder.wrapper.model, wav)


class VocalStates(nn.Module):
    """Features of the voice for one waveform."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, waveform):
        """Transform a waveform [samples]."""
        return self.encoder.transform(waveform)[None, None]


class WhisperStates(nn.Module):
    """Hidden states of Whisper for the windows of one waveform.

    The log-mel spectrogram is computed with a convolution, which gives the
    same as a Fourier transform and needs no complex numbers.
    """

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        length = encoder.wrapper.n_fft
        window = torch.hann_window(length, dtype=torch.float64)
        angles = (
            -2
            * math.pi
            / length
            * torch.outer(
                torch.arange(length // 2 + 1, dtype=torch.float64),
                torch.arange(length, dtype=torch.float64),
            )
        )
        basis = torch.cat([angles.cos(), angles.sin()]) * window
        self.register_buffer("basis", basis[:, None].float())
        self.hop = encoder.wrapper.hop_length

    def forward(self, windows, kept):
        """Encode; see `modules.inference.emotion_onnx.whisper_inputs`."""
        wrapper = self.encoder.wrapper
        spectrum = F.conv1d(windows[:, None], self.basis, stride=self.hop)
        power = spectrum.square().unflatten(1, (2, -1)).sum(dim=1)
        mels = wrapper._mel_filters @ power
        mels = mels.clamp(min=1e-10).log10()
        mels = mels.maximum(mels.amax(dim=(1, 2), keepdim=True) - 8.0)
        states = encode_window(wrapper.model.encoder, (mels + 4.0) / 4.0)
        # [layers, frames of all windows, hidden_size]
        states = states.flatten(1, 2).index_select(1, kept)
        return states[:, None]


def states_of(encoder: Any) -> nn.Module:
    """Return the module that computes an encoder's states in a graph."""
    if isinstance(encoder, VocalEncoder):
        return VocalStates(encoder)
    kind = WhisperStates if encoder.is_whisper else WaveformStates
    return kind(encoder)


class WaveformGraph(nn.Module):
    """One or two encoders with heads: a waveform to an emotion.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
    """

    # Names of the inputs.
    inputs: tuple[str, ...] = ("waveform",)

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.encoders = nn.ModuleList(map(states_of, encoders_of(model)))

    def forward(self, waveform):
        """Classify a waveform [samples]."""
        return self.classify([encode(waveform) for encode in self.encoders])

    def classify(self, states):
        """Return probabilities [classes] and embedding [values].

        Arguments
        ---------
        states : list of torch.Tensor
            Of each encoder, [layers, 1, frames, hidden_size].
        """
        hidden_states = states[0]
        if len(states) == 2:
            frames = tuple(
                torch.ones(1, dtype=torch.int64) * one.shape[2]
                for one in states
            )
            hidden_states = PaddedPair(*states, frames)
        embedding = self.model.pool(hidden_states, torch.ones(1))
        probabilities = self.model.combine(embedding).exp()
        return probabilities.squeeze(0), embedding.squeeze(0)


class WhisperGraph(WaveformGraph):
    """Whisper's encoder with heads: windows of samples to an emotion."""

    inputs = ("windows", "kept")

    def forward(self, windows, kept):
        """Classify; see `WhisperStates`."""
        return self.classify([self.encoders[0](windows, kept)])


class WhisperPairGraph(WaveformGraph):
    """Whisper's encoder, a second one and heads."""

    inputs = ("windows", "kept", "waveform")

    def forward(self, windows, kept, waveform):
        """Classify; see `WhisperStates`."""
        return self.classify(
            [
                encode(windows, kept)
                if isinstance(encode, WhisperStates)
                else encode(waveform)
                for encode in self.encoders
            ]
        )


def make_graph(model: EmotionModel) -> WaveformGraph:
    """Return the graph of a model, not traced yet."""
    if not model.encoder.is_whisper:
        return WaveformGraph(model).eval()
    paired = isinstance(model.encoder, PairedEncoder)
    return (WhisperPairGraph if paired else WhisperGraph)(model).eval()
