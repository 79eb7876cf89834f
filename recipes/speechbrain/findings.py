"""Four findings in SpeechBrain that change numbers of trained recipes.

    python -m recipes.speechbrain.findings

Each function measures one, on an encoder with random weights and noise as
audio: how much the result for an utterance depends on what must not matter.
A fix changes what trained models return, so it needs a discussion first.
"""

import pathlib
import tempfile

import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from recipes.speechbrain.checks import make_random_encoder

_SECONDS = 16000


def _short_and_padded() -> tuple:
    """Return an utterance of 1 s, a batch of it and 4 s, and lengths."""
    generator = torch.Generator().manual_seed(0)
    short = 0.1 * torch.randn(1, _SECONDS, generator=generator)
    batch = 0.1 * torch.randn(2, 4 * _SECONDS, generator=generator)
    batch[0] = 0.0
    batch[0, :_SECONDS] = short[0]
    return short, batch, torch.tensor([0.25, 1.0])


def _relative_difference(value, expected):
    """Return the largest deviation in units of the expected deviation."""
    return float((value - expected).abs().max() / expected.std())


def normalization_over_padding(folder: pathlib.Path) -> float:
    """`Wav2Vec2` normalises a waveform together with its padding.

    Arguments
    ---------
    folder : pathlib.Path
        Of an encoder with `do_normalize`.

    Returns
    -------
    float
        Largest change of an utterance's features in a batch with a longer
        one, in standard deviations of the features.
    """
    from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2

    encoder = Wav2Vec2(str(folder), str(folder), freeze=True)
    short, batch, lengths = _short_and_padded()
    alone = encoder(short)[0]
    padded = encoder(batch, lengths)[0, : len(alone)]
    return _relative_difference(padded, alone)


def weighted_ssl_ignores_lengths(folder: pathlib.Path) -> tuple:
    """`WeightedSSLModel` takes lengths and does not use them.

    Returns
    -------
    with_and_without : float
        Largest difference between features with and without lengths: 0.
    change : float
        As `normalization_over_padding`.
    """
    from speechbrain.integrations.huggingface.weighted_ssl import (
        WeightedSSLModel,
    )

    encoder = WeightedSSLModel(str(folder), str(folder), freeze=True)
    short, batch, lengths = _short_and_padded()
    with torch.no_grad():
        alone = encoder(short)[0]
        padded = encoder(batch, lengths)[0]
        without_lengths = encoder(batch)[0]
    return (
        float((padded - without_lengths).abs().max()),
        _relative_difference(padded[: len(alone)], alone),
    )


def whisper_floor_over_batch(folder: pathlib.Path) -> float:
    """`Whisper` takes the floor of its log-mel spectrogram over the batch.

    Returns
    -------
    float
        Largest change of a quiet utterance's log-mel spectrogram, whose
        range is 2 by construction, in a batch with an utterance that is
        60 dB louder.
    """
    from speechbrain.integrations.huggingface.whisper import Whisper

    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        vocab_size=10,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    whisper = Whisper(str(folder), str(folder), encoder_only=True, freeze=True)
    loud = 0.3 * torch.randn(1, _SECONDS)
    # Speech has a large range in time and frequency; fading noise has too.
    quiet = 0.001 * loud.flip(1) * torch.linspace(1, 0, _SECONDS) ** 4
    alone = whisper._get_mel(quiet)[0]
    together = whisper._get_mel(torch.cat([quiet, loud]))[0]
    return float((together - alone).abs().max())


def statistics_pooling_noise() -> float:
    """`StatisticsPooling` adds random noise to the mean, also in evaluation.

    Returns
    -------
    float
        Largest difference between two calls with the same input.
    """
    from speechbrain.nnet.pooling import StatisticsPooling

    torch.manual_seed(0)
    pooling = StatisticsPooling().eval()
    features = torch.randn(2, 100, 64)
    return float((pooling(features) - pooling(features)).abs().max())


def main():
    """Print the four numbers."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        encoder = make_random_encoder(folder / "random-encoder")
        print(
            "normalisation over padding: features change by "
            f"{normalization_over_padding(encoder):.2f} standard deviations"
        )
        same, change = weighted_ssl_ignores_lengths(encoder)
        print(
            f"WeightedSSLModel: with and without lengths differ by {same}; "
            f"features change by {change:.2f} standard deviations"
        )
        floor = whisper_floor_over_batch(folder / "random-whisper")
        print(f"Whisper's floor: log-mel values change by {floor:.2f} of 2")
    print(
        "StatisticsPooling: two calls differ by up to "
        f"{statistics_pooling_noise():.1e}"
    )


if __name__ == "__main__":
    main()
