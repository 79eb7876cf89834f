"""What may stand in the configuration of an encoder.

Anyone can publish one. Keys by which transformers runs code or fetches
something, and sizes that no speech encoder has, are refused before
transformers reads it.
"""

import math

from modules.errors import BadInput
from modules.files import read_json

# Families whose hidden states this recipe can compute from a waveform.
MODEL_TYPES = (
    "data2vec-audio",
    "hubert",
    "unispeech",
    "unispeech-sat",
    "wav2vec2",
    "wav2vec2-conformer",
    "wavlm",
    "whisper",
)

# Keys by which transformers runs code of a folder or fetches something else.
_FORBIDDEN = {
    "auto_map",
    "base_model_name_or_path",
    "code_revision",
    "custom_pipelines",
    "kernel_config",
    "quantization_config",
    "transformers_weights",
    "trust_remote_code",
}
_EXTRACTORS = {None, "Wav2Vec2FeatureExtractor", "WhisperFeatureExtractor"}
_ATTENTION = {None, "eager", "sdpa"}
_DTYPES = {None, "auto", "float32", "float16", "bfloat16"}

# The largest speech encoders stay far below all of these.
_MOST_CONFIG = 2**22
_MOST_INTEGER = 10**6
_MOST_ITEMS = 10**5
_MOST_DEPTH = 10
_BOUNDS = {
    "layers": (0, 256),
    "hidden_size": (1, 2**14),
    "d_model": (1, 2**14),
    "intermediate_size": (1, 2**16),
    "encoder_ffn_dim": (1, 2**16),
    "decoder_ffn_dim": (1, 2**16),
    "attention_heads": (1, 64),
    "num_mel_bins": (1, 256),
    "max_source_positions": (1, 1500),
    "num_conv_pos_embeddings": (1, 1024),
    "n_fft": (16, 4096),
    "hop_length": (16, 4096),
    "feature_size": (1, 256),
    "chunk_length": (1, 30),
    "sampling_rate": (16000, 16000),
}
# Floats that one sample of the waveform becomes in all convolutions together;
# 205 in published models.
_MOST_PER_SAMPLE = 1024
_STRIDES = range(160, 1281)  # samples per frame; 320 in published models
_MOST_STATES = 2**18  # floats per frame in all layers; 92,160 in XLS-R 2B


def read_values(path):
    """Return the mapping in a configuration of a folder.

    Raises
    ------
    BadInput
        If it cannot be read.
    """
    try:
        values = read_json(path, _MOST_CONFIG)
    except (OSError, ValueError) as problem:
        raise BadInput(
            f"{path} cannot be read ({_first_line(problem)}): download the "
            "model again"
        ) from problem
    if not isinstance(values, dict):
        raise BadInput(f"{path} is not a mapping: download the model again")
    return values


def check_values(path, values, depth=0):
    """Refuse keys that run code or fetch, and numbers out of bounds."""
    if depth > _MOST_DEPTH or len(values) > _MOST_ITEMS:
        raise BadInput(f"{path} has too many values: do not use this encoder")
    for key, value in values.items():
        if key in _FORBIDDEN and value is not None:
            raise BadInput(
                f"{path} has the key {key}, by which transformers runs or "
                "fetches something else: delete the key if the encoder works "
                "without"
            )
        _check_choice(path, key, value)
        _check_number(path, key, value)
        if isinstance(value, dict):
            check_values(path, value, depth + 1)
        elif isinstance(value, list):
            items = dict.fromkeys(range(len(value)))
            check_values(
                path, {f"{key}[{i}]": value[i] for i in items}, depth + 1
            )


def _check_choice(path, key, value):
    """Refuse other words than the known ones where a word selects code."""
    choices = None
    if "implementation" in key:
        choices = _ATTENTION
    elif key in ("dtype", "torch_dtype"):
        choices = _DTYPES
    elif key == "feature_extractor_type":
        choices = _EXTRACTORS
    if choices and (isinstance(value, dict | list) or value not in choices):
        names = ", ".join(sorted(map(str, choices - {None})))
        raise BadInput(
            f"{path} has {key} {value!r:.60}: change it to one of {names}"
        )


def _check_number(path, key, value):
    """Refuse numbers that no encoder needs."""
    low, high = -_MOST_INTEGER, _MOST_INTEGER
    if key.endswith(("dropout", "layerdrop")):
        low, high = 0, 1
    for name, bounds in _BOUNDS.items():
        if key == name or (key.endswith(f"_{name}") and name.endswith("s")):
            low, high = bounds
            is_number = isinstance(value, int) and not isinstance(value, bool)
            if not is_number and value is not None:
                raise BadInput(
                    f"{path} has {key} {value!r:.40}, which is no whole "
                    "number: download the model again"
                )
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(
            f"{path} has {key} {value}, which is no number: download the "
            "model again"
        )
    if isinstance(value, int | float) and not low <= value <= high:
        raise BadInput(
            f"{path} has {key} {value!r:.40}, which is not in {low} to "
            f"{high}: do not use this encoder"
        )


def check_sizes(path, config):
    """Refuse an encoder whose activations would not fit into memory.

    Arguments
    ---------
    path : pathlib.Path
        Of config.json.
    config : transformers.PretrainedConfig
        Made from it.

    Raises
    ------
    BadInput
        If a minute of speech would take more than some gigabytes.
    """
    count, size = encoder_shape(config)
    if count * size > _MOST_STATES:
        raise BadInput(
            f"{path} describes {count} hidden states of {size} channels: give "
            "a smaller encoder"
        )
    if config.model_type == "whisper":
        return
    convolutions = list(
        zip(config.conv_dim, config.conv_kernel, config.conv_stride)
    )
    per_sample, step = 0.0, 1
    for channels, kernel, stride in convolutions[:32]:
        if not 1 <= stride <= 1280 or not 1 <= kernel <= 1000:
            step = 0
            break
        step *= stride
        per_sample += channels / step
    if (
        len(convolutions) > 32
        or step not in _STRIDES
        or per_sample > _MOST_PER_SAMPLE
    ):
        raise BadInput(
            f"{path} describes convolutions that no speech encoder has (one "
            f"frame for {step} samples): give another encoder"
        )


def encoder_shape(config):
    """Return (num_hidden_states, hidden_size) of an encoder.

    The input of the first transformer layer counts too.
    """
    if config.model_type == "whisper":
        return config.encoder_layers + 1, config.d_model
    return config.num_hidden_layers + 1, config.hidden_size


def _first_line(problem):
    """Return the first line of an error's message."""
    text = str(problem).strip() or type(problem).__name__
    return text.partition("\n")[0][:200]
