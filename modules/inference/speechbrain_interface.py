"""An exported model as SpeechBrain loads it.

`EncoderClassifier.from_hparams` builds these classes from the hyperparams.yaml
of a model's folder. They use the modules of the training, and `export.py`
writes this file with the source of those modules into the folder, so that the
model works without this repository.
"""

import contextlib
import functools
import os
import re

import torch
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.inference.interfaces import foreign_class
from speechbrain.utils.fetching import FetchConfig, LocalStrategy, fetch
from speechbrain.utils.parameter_transfer import Pretrainer
from torch import nn

from modules.audio import channel_index, read_length, read_speech
from modules.errors import BadInput
from modules.inference.emotion_model import LABELS, split_evenly

_ON_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*/[^/]+", re.ASCII)


class ComputeFeatures(nn.Module):
    """The first of SpeechBrain's four steps: waveforms, mixed to mono.

    Arguments
    ---------
    channel : str
        "mean", "left" or "right": what the training read of stereo.
    """

    def __init__(self, channel="mean"):
        super().__init__()
        self.channel = channel

    def forward(self, wavs):
        """Return [batch, samples] of [batch, samples(, channels)]."""
        if wavs.dim() < 3:
            return wavs
        if self.channel == "mean":
            return wavs.mean(dim=2)
        return wavs[:, :, channel_index(self.channel, wavs.shape[2], "a batch")]


class MeanVarNorm(nn.Module):
    """The second step: none, since the encoder normalises each utterance."""

    def forward(self, wavs, lengths):
        """Return the waveforms."""
        return wavs


class EmbeddingModel(nn.Module):
    """The third step: encoder and embedding.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
        Shared with `Classifier`.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, wavs, lengths):
        """Return embeddings [batch, values]."""
        return self.model.embed(wavs, lengths)


class Classifier(nn.Module):
    """The fourth step: log-probabilities.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
        Shared with `EmbeddingModel`.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, embeddings):
        """Return log-probabilities [batch, classes]."""
        return self.model.classify(embeddings)


class ModelFolder(Pretrainer):
    """Finds a model's files in its own folder.

    SpeechBrain's pretrainer expects files that end in .ckpt, or paths that are
    fixed when the model is written.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
        Gets its weights and its encoder.
    label_encoder : speechbrain.dataio.encoder.CategoricalEncoder
        Gets its labels.
    """

    def __init__(self, model, label_encoder):
        super().__init__(loadables={"model": model, "label": label_encoder})
        self.source = None

    def collect_files(
        self,
        default_source=None,
        local_strategy=LocalStrategy.SYMLINK,
        fetch_config=FetchConfig(),
    ):
        """Set the source of the files; see SpeechBrain's `Pretrainer`."""
        self.source = default_source
        self.fetch_config = fetch_config
        self._fetch = functools.partial(
            fetch,
            source=default_source,
            savedir=self.collect_in,
            local_strategy=local_strategy,
            fetch_config=fetch_config,
        )

    def _find(self, name):
        """Fetch a file and return its local path."""
        if self.collect_in is not None:
            (self.collect_in / name).parent.mkdir(parents=True, exist_ok=True)
        return self._fetch(name)

    def load_collected(self):
        """Load labels, weights and encoder."""
        self.loadables["label"].load(self._find(LABELS))
        self.loadables["label"].expect_len(len(self.loadables["label"]))
        self.loadables["model"].load(self._find)


@contextlib.contextmanager
def _elsewhere(path):
    """Fetch a URL or a file on the Hub by SpeechBrain; refuse other paths.

    Raises
    ------
    BadInput
        If it is neither, or cannot be fetched.
    """
    text = os.fspath(path)
    on_hub = _ON_HUB.fullmatch(text) and not os.path.isdir(text.split("/")[0])
    if not on_hub and not text.startswith(("http://", "https://")):
        raise BadInput(
            f"{path} does not exist: give an audio file, a URL, or a file on "
            "the Hub such as user/repository/file.wav"
        )
    try:
        yield
    except OSError as problem:
        raise BadInput(
            f"{path} is neither a file here nor to be had from the network "
            f"({type(problem).__name__}): check the name or the network"
        ) from problem


class EmotionClassifier(EncoderClassifier):
    """SpeechBrain's `EncoderClassifier` for recordings of any length.

    `classify_file` refuses a bad recording in one sentence, and averages the
    probabilities of windows of at most a minute over a long one. A pickle
    contains the place of the folder, not the weights: load it on a machine
    that has the folder, or the Hub.
    """

    def load_audio(self, path, savedir=None):
        """Read a local file, a URL or a file on the Hub; [samples]."""
        if not os.path.exists(path):
            with _elsewhere(path):
                return super().load_audio(path, savedir)
        return self._read(path).to(self.device)

    def _read(self, *part):
        channel = self.mods.compute_features.channel
        return read_speech(*part, channel=channel)

    def classify_file(self, path, **kwargs):
        """Classify a recording of any length; see `EncoderClassifier`."""
        path = os.fspath(path)
        if not os.path.exists(path):
            with _elsewhere(path):
                return super().classify_file(path, **kwargs)
        windows = split_evenly(*read_length(path))
        if len(windows) == 1:
            return self.classify_batch(self._read(path)[None])
        scores = [
            self.classify_batch(self._read(path, start, stop)[None])[0]
            for start, stop in windows
        ]
        total = torch.stack(scores).logsumexp(dim=0)
        out_prob = torch.log_softmax(total, dim=1)
        score, index = out_prob.max(dim=1)
        labels = self.hparams.label_encoder.decode_torch(index)
        return out_prob, score, index, labels

    def __reduce__(self):
        """Pickle the place of the folder: each worker loads the model itself."""
        folder = self.hparams.pretrainer
        source = folder.source
        if os.path.isdir(source):
            source = os.path.abspath(source)
        load = functools.partial(
            foreign_class,
            source=source,
            pymodule_file="custom_interface.py",
            classname="EmotionClassifier",
            savedir=self.hparams.savedir,
            fetch_config=folder.fetch_config,
            run_opts={"device": self.device},
        )
        return load, ()
