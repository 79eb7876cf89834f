"""Loading an encoder's weights: all of them, finite, and no code.

SpeechBrain's HuggingFace wrappers load the weights. This file sets
that nothing of the folder is run, and that what is missing is not replaced by
random values.
"""

import contextlib
import logging
import pathlib

import torch
from speechbrain.integrations.huggingface.hubert import HuBERT
from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
from speechbrain.integrations.huggingface.wavlm import WavLM
from speechbrain.integrations.huggingface.whisper import Whisper
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

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
    with torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=False)
    needed = sum(parameter.numel() for parameter in model.parameters())
    # No number format has less than a byte for a weight.
    if needed > weights_bytes(folder) + 2**20:
        raise BadInput(
            f"{folder}/config.json describes {needed} weights, which are not "
            "in the folder: download the encoder again"
        )


class _Checked:
    """Loading without a folder's code, and without weights of chance."""

    def _from_pretrained(self, source, save_path, cache_dir, device=None):
        """Load the weights; refuse those that are missing."""
        if self.config.model_type == "whisper" and _lacks_decoder(source):
            # As small as can be: nothing of it is used.
            self.config.decoder_layers = self.config.max_target_positions = 1
            self.config.vocab_size, self.config.pad_token_id = 1, 0
        _check_weights(source, self.config)
        self.model, loaded = self.auto_class.from_pretrained(
            source,
            config=self.config,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        missing = sorted(
            name for name in loaded["missing_keys"] if not _may_miss(name)
        )
        if missing:
            raise BadInput(
                f"the weights in {source} lack {len(missing)} of the encoder's "
                f"tensors ({missing[0]} ...): download the encoder again"
            )
        for name, tensor in self.model.state_dict().items():
            if not _may_miss(name) and not _is_finite(tensor):
                raise BadInput(
                    f"the weights in {source} contain values that are not "
                    f"finite ({name}): download the encoder again"
                )

    def load_feature_extractor(self, source, cache_dir, **options):
        """Load the input normalisation."""
        options |= {"trust_remote_code": False, "local_files_only": True}
        super().load_feature_extractor(source, cache_dir, **options)


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
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    loggers = [
        logging.getLogger(f"speechbrain.integrations.huggingface.{name}")
        for name in ("huggingface", "whisper")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


class _CheckedWhisper(_Checked, Whisper):
    """SpeechBrain's wrapper of Whisper."""


class _CheckedWavLM(_Checked, WavLM):
    """SpeechBrain's wrapper of WavLM."""


class _CheckedHuBERT(_Checked, HuBERT):
    """SpeechBrain's wrapper of HuBERT."""


class _CheckedWav2Vec2(_Checked, Wav2Vec2):
    """SpeechBrain's wrapper of wav2vec 2.0 and its like."""


_WRAPPERS = {
    "whisper": _CheckedWhisper,
    "wavlm": _CheckedWavLM,
    "hubert": _CheckedHuBERT,
}


def load_wrapper(folder, family):
    """Return SpeechBrain's wrapper of an encoder with its weights.

    Raises
    ------
    BadInput
        If weights are missing, damaged or of other shapes.
    """
    options = {"freeze": True, "output_all_hiddens": True}
    if family == "whisper":
        options["encoder_only"] = True
    wrapper = _WRAPPERS.get(family, _CheckedWav2Vec2)
    try:
        with _quiet_loading():
            return wrapper(str(folder), str(folder), **options)
    except BadInput:
        raise
    except Exception as problem:  # of any class, for files of any content
        raise BadInput(
            f"the encoder in {folder} cannot be loaded ({_reason(problem)}): "
            "download it again"
        ) from problem
