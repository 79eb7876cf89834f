"""An exported model as SpeechBrain loads it.

`EncoderClassifier.from_hparams` builds these classes from the hyperparams.yaml
of a model's folder. They use the modules of the training, and `export.py`
writes this file with the source of those modules into the folder, so that the
model works without this repository.
"""

import contextlib
import functools
import os
import pathlib
import re

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.inference.interfaces import foreign_class
from speechbrain.utils.fetching import FetchConfig, LocalStrategy, fetch
from speechbrain.utils.parameter_transfer import Pretrainer
from torch import nn

from modules.audio import read_length, read_speech
from modules.errors import BadInput
from modules.models.graph import build
from modules.models.upstream import open_upstream

WEIGHTS = "head.safetensors"
LABELS = "label_encoder.txt"
ENCODER_FOLDER = "encoder"

_ON_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*/[^/]+", re.ASCII)

# Longer recordings are cut into windows of equal length, because the memory
# of an encoder grows with the square of the length. No utterance of the
# corpora named here is longer.
LONGEST_SECONDS = 60


class EmotionModel(nn.Module):
    """A frozen encoder and the heads of one or several folds.

    It stays in evaluation mode whatever is called on it or on its parents:
    neither dropout nor batch statistics change an answer. `load` adds the
    encoder, since the model's folder is not known before.

    Arguments
    ---------
    encoder_hub : str
        See `modules.models.upstream.open_upstream`.
    encoder_revision : str
        Branch, tag or commit on the Hub.
    encoder_files : list of str
        Files of an encoder in the model's folder, which then takes the place
        of ``encoder_hub``.
    whisper_window : int or str
        See `modules.models.whisper_window`.
    members : int
        Number of heads; their probabilities are averaged.
    head : dict
        The graph of a head, see `modules.models.graph.build`.
    sizes : dict
        ``num_hidden_states``, ``hidden_size`` and ``num_classes``.
    """

    def __init__(
        self,
        encoder_hub,
        encoder_revision,
        encoder_files,
        whisper_window,
        members,
        head,
        sizes,
    ):
        super().__init__()
        self.encoder_hub = encoder_hub
        self.encoder_revision = encoder_revision
        self.encoder_files = list(encoder_files)
        self.whisper_window = whisper_window
        self.sizes = dict(sizes)
        self.encoder = None
        make_head = build(head)
        self.heads = nn.ModuleList(make_head(**sizes) for _ in range(members))
        self.eval()

    def train(self, mode=True):
        """Stay in evaluation mode."""
        return super().train(False)

    def load(self, find):
        """Load weights and encoder.

        Arguments
        ---------
        find : callable
            Returns the local path of a file in the model's folder, given its
            name.
        """
        weights = find(WEIGHTS)
        try:
            tensors = load_file(weights)
            self.heads.load_state_dict(tensors)
        except (OSError, RuntimeError, SafetensorError) as problem:
            raise BadInput(
                f"{weights} does not contain the heads that hyperparams.yaml "
                "describes: export the model again"
            ) from problem
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise BadInput(
                f"{weights} contains values that are not finite: export the "
                "model again"
            )
        paths = [
            find(f"{ENCODER_FOLDER}/{name}") for name in self.encoder_files
        ]
        upstream = open_upstream(
            pathlib.Path(paths[0]).parent if paths else self.encoder_hub,
            None if paths else self.encoder_revision,
            self.whisper_window,
        )
        for key in ("num_hidden_states", "hidden_size"):
            found = np.ravel(getattr(upstream, key)).tolist()
            needed = np.ravel(self.sizes[key]).tolist()
            if found != needed:
                raise BadInput(
                    f"the encoder {self.encoder_hub} has {key} {found} and the "
                    f"head needs {needed}: export the model again"
                )
        self.encoder = upstream.make()
        self.requires_grad_(False)
        self.eval()

    def embed(self, wavs, lengths=None):
        """Return the embeddings of all heads, concatenated.

        Arguments
        ---------
        wavs : torch.Tensor
            Mono waveforms at 16 kHz, padded; [batch, samples].
        lengths : torch.Tensor
            Relative lengths, [batch].

        Returns
        -------
        embeddings : torch.Tensor
            [batch, members * values].
        """
        states, frames = self.encoder(wavs, lengths)
        lengths = frames / frames.max()
        return torch.cat(
            [head.embedding(states, lengths) for head in self.heads], dim=1
        )

    def classify(self, embeddings):
        """Return the log of the mean probabilities, [batch, classes].

        Raises
        ------
        BadInput
            If they are not finite.
        """
        parts = embeddings.chunk(len(self.heads), dim=1)
        members = [head.classify(part) for head, part in zip(self.heads, parts)]
        scores = members[0]
        if len(members) > 1:
            total = torch.logsumexp(torch.stack(members), dim=0)
            scores = torch.log_softmax(total, dim=1)
        if not scores.isfinite().all():
            raise BadInput(
                "the model's probabilities for a recording are not finite: "
                "give a recording of ordinary loudness, or another model"
            )
        return scores

    def forward(self, wavs, lengths=None):
        """Return log-probabilities [batch, classes]; see `embed`."""
        return self.classify(self.embed(wavs, lengths))

    def attention(self, wav):
        """Return the mean attention per frame of a waveform [samples].

        None if the pooling has no attention.
        """
        states, _ = self.encoder(wav[None])
        one = torch.ones(1, device=wav.device)
        weights = [
            head.embedding.attention_weights(states, one) for head in self.heads
        ]
        if weights[0] is None:
            return None
        return torch.stack(weights).mean(dim=0)[0]


class ComputeFeatures(nn.Module):
    """The first of SpeechBrain's four steps: waveforms, mixed to mono."""

    def forward(self, wavs):
        """Return [batch, samples] of [batch, samples(, channels)]."""
        return wavs.mean(dim=2) if wavs.dim() == 3 else wavs


class MeanVarNorm(nn.Module):
    """The second step: none, since the encoder normalises each utterance."""

    def forward(self, wavs, lengths):
        """Return the waveforms."""
        return wavs


class EmbeddingModel(nn.Module):
    """The third step: encoder and embedding.

    Arguments
    ---------
    model : EmotionModel
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
    model : EmotionModel
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
    model : EmotionModel
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


def split_evenly(samples, rate, longest=LONGEST_SECONDS):
    """Cut a long recording into windows of nearly equal length.

    Arguments
    ---------
    samples : int
        Length of the recording.
    rate : int
        Samples per second.
    longest : float
        Longest window in seconds.

    Returns
    -------
    windows : list of tuple
        (start, stop) in samples.
    """
    count = max(1, -int(-samples // (longest * rate)))
    edges = [samples * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:]))


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
        return read_speech(path).to(self.device)

    def classify_file(self, path, **kwargs):
        """Classify a recording of any length; see `EncoderClassifier`."""
        path = os.fspath(path)
        if not os.path.exists(path):
            with _elsewhere(path):
                return super().classify_file(path, **kwargs)
        windows = split_evenly(*read_length(path))
        if len(windows) == 1:
            return self.classify_batch(read_speech(path)[None])
        scores = [
            self.classify_batch(read_speech(path, start, stop)[None])[0]
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
