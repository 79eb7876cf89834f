"""A small encoder with random weights, in HuggingFace format.

Its hidden states have the number, rate and shape of a real one's, and it has
dropout and LayerDrop, which must stay inactive. So the whole recipe can be run
without a download; results show that it works, not how well.
"""

import argparse
import contextlib

import torch
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)
from transformers.utils import logging as transformers_logging

from modules.errors import BadInput, one_sentence
from modules.files import make_whole

MARKER = "README.md"

FAMILIES = {
    "wavlm": (WavLMConfig, WavLMModel, Wav2Vec2FeatureExtractor),
    "hubert": (HubertConfig, HubertModel, Wav2Vec2FeatureExtractor),
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2FeatureExtractor),
    "whisper": (WhisperConfig, WhisperModel, WhisperFeatureExtractor),
}


def make_random_encoder(
    folder,
    family="wavlm",
    layer_norm=True,
    seed=0,
    num_hidden_layers=4,
    hidden_size=64,
    config_overrides=None,
):
    """Make the encoder, unless it is there already.

    Arguments
    ---------
    folder : str or pathlib.Path
        A new folder, best with "random" in its name.
    family : str
        "wavlm", "hubert", "wav2vec2" or "whisper".
    layer_norm : bool
        Normalise frame by frame and the waveform first, as the large models
        do; otherwise over time, as the base models do. Not for Whisper.
    seed : int
        The same seed gives the same weights.
    num_hidden_layers : int
        Transformer layers; there is one hidden state more.
    hidden_size : int
        Channels of a hidden state, a multiple of 16.
    config_overrides : dict
        Any other setting of the family's HuggingFace configuration.

    Returns
    -------
    folder : pathlib.Path
        The finished encoder.

    Raises
    ------
    BadInput
        If the family is unknown or something else is in the folder.

    Example
    -------
    >>> make_random_encoder("random_hubert", "hubert")  # doctest: +SKIP
    """
    if family not in FAMILIES:
        raise BadInput(
            f"The family '{family}' is unknown: choose one of "
            f"{', '.join(FAMILIES)}."
        )
    make_config, make_model, make_extractor = FAMILIES[family]
    if family == "whisper":
        settings = _whisper_settings(num_hidden_layers, hidden_size)
        settings.update(config_overrides or {})
        input_settings = {"feature_size": settings["num_mel_bins"]}
    else:
        settings = _wav2vec_settings(num_hidden_layers, hidden_size, layer_norm)
        settings.update(config_overrides or {})
        input_settings = {
            "do_normalize": layer_norm,
            "return_attention_mask": layer_norm,
        }

    def write(new):
        with _seeded(seed), _quiet():
            make_model(make_config(**settings)).save_pretrained(new)
        make_extractor(**input_settings).save_pretrained(new)

    description = "\n".join(
        (
            "# Random weights",
            "",
            f"An untrained {family} encoder, to try the recipe without a",
            "download. Its results are no results of a pretrained model.",
            "",
            f"- seed: {seed}",
            *(
                f"- {name}: {value}"
                for name, value in {**settings, **input_settings}.items()
            ),
            "",
        )
    )
    return make_whole(folder, MARKER, description, write)


def _wav2vec_settings(num_hidden_layers, hidden_size, layer_norm):
    """Return the settings that WavLM, HuBERT and wav2vec 2.0 share."""
    return {
        "num_hidden_layers": num_hidden_layers,
        "hidden_size": hidden_size,
        "num_attention_heads": 4,
        "intermediate_size": 2 * hidden_size,
        "conv_dim": (32,) * 7,
        # The real ones: 25 ms per frame, a frame every 20 ms.
        "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
        "conv_stride": (5, 2, 2, 2, 2, 2, 2),
        "feat_extract_norm": "layer" if layer_norm else "group",
        "do_stable_layer_norm": layer_norm,
    }


def _whisper_settings(num_hidden_layers, hidden_size):
    """Return the settings of a Whisper with a minimal decoder."""
    return {
        "encoder_layers": num_hidden_layers,
        "d_model": hidden_size,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 2 * hidden_size,
        "decoder_layers": 1,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 2 * hidden_size,
        "num_mel_bins": 80,
        "max_source_positions": 1500,
        "max_target_positions": 8,
        "vocab_size": 8,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 3,
        # Zero in the published models; here a frozen encoder in training mode
        # would give other results, which tests would notice.
        "dropout": 0.1,
        "encoder_layerdrop": 0.1,
    }


@contextlib.contextmanager
def _seeded(seed):
    """Draw from a seed and leave the generators as they were."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the accelerators too.
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def _quiet():
    """Hide the progress bar of writing a small file."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def main(arguments=None):
    """Make an encoder from the command line."""
    parser = argparse.ArgumentParser(
        description="Make a small encoder with random weights."
    )
    parser.add_argument("folder", help="where it goes")
    parser.add_argument("--family", choices=FAMILIES, default="wavlm")
    parser.add_argument(
        "--base",
        action="store_true",
        help="normalise over time, as the base models do",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    options = parser.parse_args(arguments)
    with one_sentence():
        folder = make_random_encoder(
            options.folder, options.family, not options.base, options.seed
        )
    print(f"{folder}: {options.family} encoder with random weights")


if __name__ == "__main__":
    main()
