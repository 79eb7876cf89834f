"""Loading an encoder's weights: all of them, finite, and no code.

transformers loads the weights. This file sets that nothing of the folder is
run, and that what is missing is not replaced by random values. transformers is
imported when it is needed: it takes two seconds.
"""

import contextlib
import pathlib

import torch
from torch import nn

from modules.audio import SAMPLE_RATE
from modules.errors import BadInput
from modules.files import read_weights_index
from modules.models.encoder_config import MODEL_TYPES, check_sizes, read_values
from modules.models.encoder_files import weights_bytes


def read_config(folder):
    """Return the HuggingFace configuration in a folder, checked.

    Raises
    ------
    BadInput
        If it cannot be read, or describes no speech encoder, or one that is
        larger than its weights.
    """
    path = pathlib.Path(folder) / "config.json"
    family = read_values(path).get("model_type")
    if family not in MODEL_TYPES:
        raise BadInput(
            f"{path} does not describe a model of a family that this recipe "
            f"loads (model_type {family!r:.60}): give one of "
            f"{', '.join(MODEL_TYPES)}"
        )
    from transformers import AutoConfig

    try:
        with _quiet_loading():
            config = AutoConfig.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            )
        check_sizes(path, config)
    except BadInput:
        raise
    except Exception as problem:  # of any class, for values of any type
        raise BadInput(
            f"{path} does not describe a model that transformers can load "
            f"({_reason(problem)}): download the encoder again"
        ) from problem
    return config


def _reason(problem):
    """Return an error's class and the beginning of its message."""
    text = str(problem).strip().partition("\n")[0]
    return f"{type(problem).__name__}: {text:.120}" if text else repr(problem)


def _lacks_decoder(folder):
    """Return whether a Whisper folder has an encoder and no decoder."""
    path = pathlib.Path(folder) / "model.safetensors"
    if not path.exists():
        return False
    return all(name.startswith("encoder.") for name in read_weights_index(path))


def _check_weights(folder, config):
    """Refuse a configuration that needs more than the weights in a folder.

    What transformers does not find it would allocate and fill at random.
    """
    from transformers import AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=False)
    needed = sum(parameter.numel() for parameter in model.parameters())
    # No number format has less than a byte for a weight.
    if needed > weights_bytes(folder) + 2**20:
        raise BadInput(
            f"{folder}/config.json describes {needed} weights, which are not "
            "in the folder: download the encoder again"
        )


def _load_model(folder, config):
    """Return a transformers model with its weights; refuse missing ones."""
    from transformers import AutoModel

    if config.model_type == "whisper" and _lacks_decoder(folder):
        # As small as can be: nothing of it is used.
        config.decoder_layers = config.max_target_positions = 1
        config.vocab_size, config.pad_token_id = 1, 0
    _check_weights(folder, config)
    model, loaded = AutoModel.from_pretrained(
        folder,
        config=config,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    missing = sorted(
        name for name in loaded["missing_keys"] if not _may_miss(name)
    )
    if missing:
        raise BadInput(
            f"the weights in {folder} lack {len(missing)} of the encoder's "
            f"tensors ({missing[0]} ...): download the encoder again"
        )
    for name, tensor in model.state_dict().items():
        if not _may_miss(name) and not _is_finite(tensor):
            raise BadInput(
                f"the weights in {folder} contain values that are not finite "
                f"({name}): download the encoder again"
            )
    return model


def _may_miss(name):
    """Return whether no hidden state depends on a weight."""
    return name.startswith("decoder.") or name.endswith("masked_spec_embed")


def _is_finite(tensor):
    """Return whether all values are finite; makes no copy of them."""
    if not tensor.numel():
        return True
    return all(bool(torch.isfinite(edge)) for edge in tensor.aminmax())


@contextlib.contextmanager
def _quiet_loading():
    """Hide a progress bar of one second and reports of what is checked."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()


class WaveformModel(nn.Module):
    """WavLM, HuBERT, wav2vec 2.0 or their like, and their input's scale.

    Arguments
    ---------
    model : transformers.PreTrainedModel
    settings : dict
        The contents of preprocessor_config.json.
    """

    def __init__(self, model, settings):
        super().__init__()
        self.model = model
        self.normalize_wav = bool(settings.get("do_normalize", True))


class WhisperModel(nn.Module):
    """Whisper's encoder and what its log-mel spectrogram needs.

    Arguments
    ---------
    model : transformers.WhisperModel
        Loses its decoder.
    settings : dict
        The contents of preprocessor_config.json.
    """

    def __init__(self, model, settings):
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        self.model = model
        self.model.decoder = None
        self.n_fft = settings.get("n_fft", 400)
        self.hop_length = settings.get("hop_length", 160)
        self.n_samples = settings.get("chunk_length", 30) * SAMPLE_RATE
        filters = mel_filter_bank(
            num_frequency_bins=1 + self.n_fft // 2,
            num_mel_filters=settings.get("feature_size", 80),
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        # [bands, frequencies]; SpeechBrain's name, which checkpoints have.
        self.register_buffer("_mel_filters", torch.as_tensor(filters.T).float())


def load_wrapper(folder, config):
    """Return an encoder with its weights, in evaluation mode.

    Arguments
    ---------
    folder : pathlib.Path
        See `modules.models.encoder_files.locate_encoder`.
    config : transformers.PretrainedConfig
        From `read_config`.

    Returns
    -------
    wrapper : WaveformModel or WhisperModel

    Raises
    ------
    BadInput
        If weights are missing, damaged or of other shapes.
    """
    settings = read_values(pathlib.Path(folder) / "preprocessor_config.json")
    is_whisper = config.model_type == "whisper"
    kind = WhisperModel if is_whisper else WaveformModel
    try:
        with _quiet_loading():
            return kind(_load_model(str(folder), config), settings)
    except BadInput:
        raise
    except Exception as problem:  # of any class, for files of any content
        raise BadInput(
            f"the encoder in {folder} cannot be loaded ({_reason(problem)}): "
            "download it again"
        ) from problem
