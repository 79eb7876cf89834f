"""An exported model as SpeechBrain loads it.

Written by export.py from the modules of the training; do not edit.
"""


# ---- modules/errors.py
import contextlib
import errno
import os
import re
import sys

# What a disk or its permissions can refuse, and what a user can do about it.
_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, the quota is used up",
    errno.EFBIG: "choose a disk that takes larger files",
    errno.EIO: "check the disk or choose another",
    errno.EACCES: "change its permissions or choose another place",
    errno.EPERM: "change its permissions or choose another place",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOTDIR: "choose a place whose parents are folders",
    errno.EISDIR: "choose the name of a file",
    errno.EEXIST: "choose a name that is free",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "choose a place without circular links",
    errno.ESTALE: "mount the disk again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


# How PyTorch puts that a file cannot be written on.
_FULL = ("PytorchStreamWriter", "unexpected pos", "iostream error")


def printable(text: str) -> str:
    r"""Return a text whose control characters a terminal does not obey.

    Example
    -------
    >>> printable("a\x1b[2J.wav")
    'a\\x1b[2J.wav'
    """
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


class BadInput(ValueError):
    r"""Input that a user can put right; its message is one clear sentence.

    It stays on one line, whatever the names in it.

    Example
    -------
    >>> print(BadInput("no such file: a\nb.wav"))
    no such file: a\nb.wav
    """

    def __init__(self, sentence: str):
        super().__init__(printable(str(sentence)))


def disk_error(problem: BaseException) -> int | None:
    """Return the errno of a disk or permission that refused, or None.

    Arguments
    ---------
    problem : Exception
        PyTorch and safetensors raise errors of their own for a full disk,
        which contain the errno as text at best.

    Example
    -------
    >>> disk_error(RuntimeError("I/O error: full (os error 28)"))
    28
    """
    if isinstance(problem, OSError) and problem.errno is not None:
        code = problem.errno
    elif found := re.search(r"os error (\d+)|Errno (\d+)", str(problem)):
        code = int(found[1] or found[2])
    elif any(words in str(problem) for words in _FULL):
        code = errno.ENOSPC
    else:
        return None
    return code if code in _REMEDIES else None


def refused(problem: BaseException, place=None) -> str:
    """Return the sentence for a disk that refused, without what comes after.

    Arguments
    ---------
    problem : Exception
        For which `disk_error` returns a number.
    place : str or pathlib.Path
        Path that the user gave; the file's own name is added if it differs.
    """
    code = disk_error(problem) or errno.EIO
    reason = os.strerror(code).lower()
    file = getattr(problem, "filename", None)
    if file is None:
        named = "the output" if place is None else os.fsdecode(place)
    else:
        named = os.fsdecode(file)
        inside = place is not None and os.path.abspath(named).startswith(
            os.path.abspath(place) + os.sep
        )
        if inside:
            reason = f"{reason}: {os.path.relpath(named, place)}"
            named = os.fsdecode(place)
    return f"{named} cannot be used ({reason}): {_REMEDIES[code]}"


@contextlib.contextmanager
def using(place):
    """Turn what a disk refuses into `BadInput` that names a place.

    Arguments
    ---------
    place : str or pathlib.Path
        Path that the user gave, such as the output folder.

    Raises
    ------
    BadInput
        For a full disk, no permission, a read-only disk, a parent that is no
        folder, a name that is too long and their like.
    """
    try:
        yield
    except BadInput:
        raise
    except Exception as problem:  # safetensors has a class of its own
        if disk_error(problem) is None:
            raise
        raise BadInput(refused(problem, place)) from problem


@contextlib.contextmanager
def one_sentence(resumes=True):
    """Turn `BadInput`, a disk that refuses and Ctrl-C into a sentence.

    Everything else is a defect of ours and keeps its traceback.

    Arguments
    ---------
    resumes : bool
        Whether the command, started again, goes on where it stopped.
    """
    again = (
        "the same command goes on where this one stopped"
        if resumes
        else "start the same command again"
    )
    try:
        yield
    except BadInput as problem:
        print(f"error: {printable(str(problem))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {again}", file=sys.stderr)
        sys.exit(130)
    except Exception as problem:
        if disk_error(problem) is None or isinstance(problem, BrokenPipeError):
            raise
        sentence = printable(f"error: {refused(problem)}; {again}")
        print(sentence, file=sys.stderr)
        sys.exit(2)


# ---- modules/models/head.py
from collections.abc import Callable

import torch
from torch import nn



class EmotionHead(nn.Module):
    """Embedding, standardisation and classifier.

    Arguments
    ---------
    num_hidden_states : int
        Hidden states of the encoder, transformer layers plus one; a pair for
        two encoders, see `modules.models.fusion`.
    hidden_size : int
        Channels of a hidden state; a pair for two encoders.
    num_classes : int
        Number of emotions.
    embedding : callable
        Returns a `modules.models.embedding.Embedding` (or a joint one) for
        the two sizes of the encoder.
    standardization : callable
        Returns a module for the sizes of the embedding's parts; None: none.
    classifier : callable
        Returns a module for the number of values and of classes.
    distance : callable
        Returns a `modules.models.distance.TrainingDistance` for the sizes of
        the embedding's parts; None: every recording is taken to be like those
        of the training.
    temperature : float
        Divides the scores of all recordings; 2 in a model that
        `modules.inference.adaptation` has adapted.

    Example
    -------
    >>> import functools
    >>> from modules.models import embedding, layer_pooling, pooling
    >>> make = functools.partial(
    ...     embedding.Embedding,
    ...     layer_pooling=layer_pooling.LayerPooling,
    ...     pooling=pooling.MeanPooling,
    ... )
    >>> head = EmotionHead(5, 32, 4, make)
    >>> head(torch.randn(5, 2, 7, 32), torch.ones(2)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        num_hidden_states: int,
        hidden_size: int,
        num_classes: int,
        embedding: Callable,
        standardization: Callable | None = None,
        classifier: Callable = nn.Linear,
        distance: Callable | None = None,
        temperature: float = 1.0,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.embedding = embedding(num_hidden_states, hidden_size)
        sizes = self.embedding.sizes
        self.standardization = nn.Identity()
        if standardization is not None:
            self.standardization = standardization(sizes)
        self.classifier = classifier(sum(sizes.values()), num_classes)
        self.distance = None if distance is None else distance(sizes)
        if not temperature > 0:
            raise BadInput(
                f"the head's temperature is {temperature}: give a number "
                "above 0"
            )
        self.temperature = temperature

    def classify(self, embeddings):
        """Return log-probabilities [batch, classes] of embeddings."""
        scores = self.classifier(self.standardization(embeddings)).float()
        temperature = self.temperature
        if self.distance is not None:
            temperature = temperature * self.distance.temperature_of(embeddings)
        return torch.log_softmax(scores / temperature, dim=1)

    def forward(self, hidden_states, lengths=None):
        """Return log-probabilities [batch, classes].

        Arguments
        ---------
        hidden_states, lengths
            See `modules.models.embedding.Embedding.forward`.
        """
        return self.classify(self.embedding(hidden_states, lengths))


# ---- modules/models/joint_embedding.py
import torch
from torch import nn


class JointEmbedding(nn.Module):
    """Several embeddings of the same hidden states, concatenated.

    Arguments
    ---------
    num_hidden_states, hidden_size : int
        See `modules.models.embedding.Embedding`.
    parts : dict
        Name -> callable that returns an embedding for the two sizes.

    Example
    -------
    >>> import functools
    >>> from modules.models.embedding import Embedding
    >>> from modules.models.layer_pooling import LayerPooling, OneLayer
    >>> from modules.models.pooling import CorrelationPooling, MeanPooling
    >>> part = functools.partial(Embedding, layer_pooling=OneLayer)
    >>> joint = JointEmbedding(
    ...     5,
    ...     32,
    ...     parts={
    ...         "mean": functools.partial(part, pooling=MeanPooling),
    ...         "corr": functools.partial(part, pooling=CorrelationPooling),
    ...     },
    ... )
    >>> joint.sizes
    {'mean': 32, 'corr': 496}
    """

    def __init__(self, num_hidden_states: int, hidden_size: int, parts: dict):
        super().__init__()
        self.parts = nn.ModuleDict(
            {
                name: part(num_hidden_states, hidden_size)
                for name, part in parts.items()
            }
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Number of values of each part, by name."""
        return {
            name: sum(part.sizes.values()) for name, part in self.parts.items()
        }

    def layer_weights(self):
        """Return None: the parts have weights of their own."""

    def attention_weights(self, hidden_states, lengths):
        """Return the attention of the first part that has one, or None."""
        for part in self.parts.values():
            weights = part.attention_weights(hidden_states, lengths)
            if weights is not None:
                return weights
        return None

    def forward(self, hidden_states, lengths=None):
        """Return [batch, values]; see `modules.models.embedding.Embedding.forward`."""
        return torch.cat(
            [part(hidden_states, lengths) for part in self.parts.values()],
            dim=1,
        )


# ---- modules/models/fusion.py
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F



@dataclass
class PaddedPair:
    """Hidden states of two encoders for one batch.

    Attributes
    ----------
    first, second : torch.Tensor
        [layers, batch, frames, hidden_size], each of its own sizes.
    frames : tuple of torch.Tensor
        Valid frames of both, [batch].
    """

    first: torch.Tensor
    second: torch.Tensor
    frames: tuple

    def one(self, upstream):
        """Return hidden states and relative lengths of one of them."""
        states = (self.first, self.second)[upstream]
        return states, self.frames[upstream] / states.shape[2]


@dataclass
class StoredPair:
    """Hidden states of two encoders for one recording.

    Attributes
    ----------
    first, second : modules.features.stored_states.StoredStates
    """

    first: object
    second: object

    def __len__(self):
        """Return the frames of the first, to which the second is aligned."""
        return len(self.first)

    def one(self, upstream):
        """Return the hidden states of one of them."""
        return (self.first, self.second)[upstream]

    def to(self, device):
        """Return them on a device."""
        return StoredPair(self.first.to(device), self.second.to(device))


def pair_of_sizes(sizes) -> bool:
    """Return whether sizes are those of two upstreams.

    Example
    -------
    >>> pair_of_sizes(13), pair_of_sizes((13, 25))
    (False, True)
    """
    return isinstance(sizes, tuple | list)


def align(features: torch.Tensor, frames: int) -> torch.Tensor:
    """Resample the features of an utterance to a number of frames.

    Frame i of the result is the mean of the frames within its share of the
    utterance, or the one frame that its share lies in.

    Arguments
    ---------
    features : torch.Tensor
        [its own frames, channels].
    frames : int
        Number of frames of the result.

    Returns
    -------
    aligned : torch.Tensor
        [frames, hidden_size].
    """
    if len(features) == frames:
        return features
    return F.adaptive_avg_pool1d(features.T[None], frames)[0].T


class PairPooling(nn.Module):
    """Layer pooling of two upstreams, aligned in time and concatenated.

    The frames are those of the first.

    Arguments
    ---------
    first, second : torch.nn.Module
        Layer pooling of either, such as `modules.models.layer_pooling.LayerPooling`.
    """

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def output_size(self, hidden_sizes):
        """Return the number of channels of the concatenated features."""
        first, second = hidden_sizes
        return self.first.output_size(first) + self.second.output_size(second)

    def layer_weights(self):
        """Return the weights of all layers, half for either; or None."""
        weights = [self.first.layer_weights(), self.second.layer_weights()]
        return None if weights[0] is None else torch.cat(weights) / 2

    def forward(self, hidden_states):
        """Sum the layers of both.

        Arguments
        ---------
        hidden_states : PaddedPair or list of StoredPair

        Returns
        -------
        features : torch.Tensor
            [batch, frames, widths together]; of stored utterances the frames
            of all, one after the other, [frames, widths together].
        """
        if isinstance(hidden_states, list):
            first = self.first([pair.first for pair in hidden_states])
            second = self.second([pair.second for pair in hidden_states])
            frames = [len(pair.first) for pair in hidden_states]
            second = second.split([len(p.second) for p in hidden_states])
            second = torch.cat([align(*both) for both in zip(second, frames)])
            return torch.cat([first, second], dim=1)
        first = self.first(hidden_states.first)
        second = self.second(hidden_states.second)
        longest = first.shape[1]
        aligned = [
            F.pad(align(one[:own], count), (0, 0, 0, longest - count))
            for one, count, own in zip(
                second, *(counts.tolist() for counts in hidden_states.frames)
            )
        ]
        return torch.cat([first, torch.stack(aligned)], dim=2)


class OneUpstream(nn.Module):
    """An embedding of one of two upstreams, at its own frame rate.

    Where there is one upstream alone, it is number 0.

    Arguments
    ---------
    num_hidden_states, hidden_size : int or tuple of int
        See `modules.models.embedding.Embedding`.
    upstream : int
        0 for the first, 1 for the second.
    embedding : callable
        Returns a `modules.models.embedding.Embedding` (or a joint one) for
        the two sizes of that upstream.

    Raises
    ------
    BadInput
        If there is no such upstream.

    Example
    -------
    >>> import functools
    >>> from modules.models.embedding import Embedding
    >>> from modules.models.layer_pooling import OneLayer
    >>> from modules.models.pooling import MeanPooling
    >>> part = functools.partial(
    ...     Embedding, layer_pooling=OneLayer, pooling=MeanPooling
    ... )
    >>> OneUpstream((5, 1), (32, 27), upstream=1, embedding=part).sizes
    {'embedding': 27}
    """

    def __init__(
        self,
        num_hidden_states: Any,
        hidden_size: Any,
        upstream: int,
        embedding: Callable,
    ):
        super().__init__()
        self.upstream = upstream
        sizes = [(num_hidden_states, hidden_size)]
        if pair_of_sizes(num_hidden_states):
            sizes = list(zip(num_hidden_states, hidden_size))
        if upstream not in range(len(sizes)):
            raise BadInput(
                f"a part of the head uses upstream {upstream} and the last one "
                f"is {len(sizes) - 1}: name another upstream (--acoustics "
                "vocal), or choose an --embedding without that part"
            )
        self.embedding = embedding(*sizes[upstream])

    @property
    def sizes(self) -> dict[str, int]:
        """Number of values of each part, by name."""
        return self.embedding.sizes

    def layer_weights(self):
        """Return the weights of the layers of that upstream, or None."""
        return self.embedding.layer_weights()

    def attention_weights(self, hidden_states, lengths):
        """Return the weight of each frame of that upstream, or None."""
        return self.embedding.attention_weights(
            *self._select(hidden_states, lengths)
        )

    def forward(self, hidden_states, lengths=None):
        """Return [batch, values].

        Arguments
        ---------
        hidden_states : PaddedPair or list of StoredPair
            Or those of one upstream, see
            `modules.models.embedding.Embedding.forward`.
        lengths : torch.Tensor
            Relative lengths of padded utterances of one upstream.
        """
        return self.embedding(*self._select(hidden_states, lengths))

    def _select(self, hidden_states, lengths):
        """Return hidden states and relative lengths of that upstream."""
        if isinstance(hidden_states, PaddedPair):
            return hidden_states.one(self.upstream)
        if isinstance(hidden_states, list):
            hidden_states = [
                pair.one(self.upstream)
                if isinstance(pair, StoredPair)
                else pair
                for pair in hidden_states
            ]
        return hidden_states, lengths


class PairedEncoder(nn.Module):
    """Two frozen encoders of the same waveforms.

    Arguments
    ---------
    first, second : torch.nn.Module
        Such as `modules.models.encoder.FrozenEncoder`.
    """

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second
        self.is_whisper = first.is_whisper or second.is_whisper

    def computed_seconds(self, seconds):
        """Return the seconds of audio that the costlier of both computes."""
        return max(
            self.first.computed_seconds(seconds),
            self.second.computed_seconds(seconds),
        )

    def forward(self, wavs, lengths=None):
        """Encode; see `modules.models.encoder.FrozenEncoder.forward`.

        Returns
        -------
        hidden_states : PaddedPair
        frames : torch.Tensor
            Of the first; [batch].
        """
        first, frames = self.first(wavs, lengths)
        second, others = self.second(wavs, lengths)
        return PaddedPair(first, second, (frames, others)), frames


# ---- modules/models/channels.py
import torch
from torch import nn
from torch.nn import functional as F


class EvenChannels(nn.Module):
    """Keep channels that are spread evenly over all; nothing is trained.

    The number of pairs that a correlation pooling returns grows with the
    square of the number of channels. It takes the place of the projection.

    Arguments
    ---------
    in_features : int
        Number of channels.
    out_features : int
        Number of channels that are kept at most; 256 as the paper projects to.

    Example
    -------
    >>> EvenChannels(8, out_features=3)(torch.arange(8.0))
    tensor([0., 4., 7.])
    """

    def __init__(self, in_features: int, out_features: int = 256):
        super().__init__()
        kept = min(in_features, out_features)
        places = torch.linspace(0, in_features - 1, kept).round().long()
        self.out_features = kept
        self.register_buffer("places", places, persistent=False)

    def forward(self, features):
        """Return [..., kept] of features [..., channels]."""
        return features.index_select(-1, self.places)


class ChannelDropout(nn.Module):
    """Drop whole channels, in all frames of an utterance, while training.

    The channels that stay are scaled by ``1 / (1 - p)``.

    Arguments
    ---------
    p : float
        Probability to drop a channel, in [0, 1); p_d in the paper.

    Example
    -------
    >>> ChannelDropout(0.25).eval()(torch.ones(1, 2, 3)).sum()
    tensor(6.)
    """

    def __init__(self, p: float = 0.25):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"channel dropout must be in [0, 1), not {p}")
        self.p = p

    def forward(self, features):
        """Drop channels of features [batch, frames, channels]."""
        # F.dropout1d drops rows of [batch, channels, frames].
        return F.dropout1d(
            features.transpose(1, 2), self.p, self.training
        ).transpose(1, 2)


# ---- modules/models/padding.py
import torch



def pad_utterances(
    utterances: list[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad utterances [frames, channels]; return them and their lengths."""
    frames = torch.tensor([len(utterance) for utterance in utterances])
    longest = int(frames.max())
    # Not pad_sequence: its backward copies the whole batch once for each
    # utterance. Not a mask's nonzero() either: it waits for a GPU.
    jumps = torch.arange(len(frames)) * longest - (frames.cumsum(0) - frames)
    packed = torch.cat(utterances)
    places = torch.arange(len(packed)) + jumps.repeat_interleave(frames)
    padded = packed.new_zeros(len(frames) * longest, packed.shape[1])
    places = places.to(packed.device, non_blocking=True)
    padded = padded.index_copy(0, places, packed)
    lengths = (frames / longest).to(packed.device, non_blocking=True)
    return padded.view(len(frames), longest, -1), lengths


def count_samples(lengths, longest: int) -> torch.Tensor:
    """Return the samples of padded waveforms, of lengths of either kind.

    SpeechBrain's lengths are shares of the longest, in (0, 1]; other libraries
    count samples. No waveform has one sample, so the two cannot be confused.

    Arguments
    ---------
    lengths : sequence or torch.Tensor
        All shares, or all samples; [batch].
    longest : int
        Samples of the padded waveforms.

    Returns
    -------
    counts : torch.Tensor
        int64, [batch].

    Raises
    ------
    BadInput
        If they are neither.

    Example
    -------
    >>> count_samples([0.5, 1.0], 16000), count_samples([8000, 16000], 16000)
    (tensor([ 8000, 16000]), tensor([ 8000, 16000]))
    """
    lengths = torch.as_tensor(lengths).double()
    if lengths.dim() == 1 and len(lengths):
        if ((lengths > 0) & (lengths <= 1)).all():
            return (lengths * longest).round().long()
        is_whole = (lengths == lengths.round()) & (lengths > 1)
        if (is_whole & (lengths <= longest)).all():
            return lengths.long()
    values = lengths.flatten()[:4].tolist()
    raise BadInput(
        f"the lengths {values} of waveforms of {longest} samples are neither "
        f"all shares in (0, 1] nor all samples from 2 to {longest}: give one "
        "of the two kinds"
    )


# ---- modules/models/embedding.py
from collections.abc import Callable

import torch
from torch import nn


# Utterances that are padded to one length and pooled together on a CPU.
_LIKE_LENGTHS = 4


class Embedding(nn.Module):
    """Layer pooling, projection, channel dropout, pooling.

    Arguments
    ---------
    num_hidden_states : int
        Of the encoder; a pair for two encoders, see `modules.models.fusion`.
    hidden_size : int
        Of the encoder; a pair for two encoders.
    layer_pooling : callable
        Returns a module such as `modules.models.layer_pooling.LayerPooling`
        for a number of hidden states.
    pooling : callable
        Returns a `modules.models.pooling.Pooling` for a number of channels.
    projection : callable
        Returns a module with ``out_features``, such as `torch.nn.Linear`, for
        a number of channels; None: no projection.
    channel_dropout : float
        Probability to drop a channel while training (p_d in the paper).

    Example
    -------
    >>> from modules.models.layer_pooling import LayerPooling
    >>> from modules.models.pooling import MeanPooling
    >>> embedding = Embedding(5, 32, LayerPooling, MeanPooling)
    >>> embedding(torch.randn(5, 2, 7, 32), torch.ones(2)).shape
    torch.Size([2, 32])
    """

    def __init__(
        self,
        num_hidden_states: int | tuple[int, int],
        hidden_size: int | tuple[int, int],
        layer_pooling: Callable,
        pooling: Callable,
        projection: Callable | None = None,
        channel_dropout: float = 0.0,
    ):
        super().__init__()
        if not isinstance(num_hidden_states, int):
            self.layer_pooling = PairPooling(
                *(layer_pooling(count) for count in num_hidden_states)
            )
        else:
            self.layer_pooling = layer_pooling(num_hidden_states)
        channels = self.layer_pooling.output_size(hidden_size)
        self.projection = nn.Identity()
        if projection is not None:
            self.projection = projection(channels)
            channels = self.projection.out_features
        self.channel_dropout = ChannelDropout(channel_dropout)
        self.pooling = pooling(channels)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of values of each part; one part here."""
        return {"embedding": self.pooling.output_size}

    def layer_weights(self):
        """Return the learned weights of the layers, [layers], or None."""
        return self.layer_pooling.layer_weights()

    def frames(self, hidden_states):
        """Return features before pooling, [..., frames, channels].

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            See `modules.models.layer_pooling.LayerPooling.forward`, or
            `modules.models.fusion.PairPooling.forward` for two encoders.
        """
        return self.projection(self.layer_pooling(hidden_states))

    def forward(self, hidden_states, lengths=None):
        """Return one embedding per utterance.

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            Padded, [layers, batch, frames, hidden_size]; or stored
            utterances, `modules.features.stored_states.StoredStates`.
        lengths : torch.Tensor
            Relative lengths of padded utterances, [batch].

        Returns
        -------
        embeddings : torch.Tensor
            [batch, values].
        """
        features = self.frames(hidden_states)
        if isinstance(hidden_states, list):
            counts = [len(utterance) for utterance in hidden_states]
            return self._pool_packed(features, counts)
        return self._pool(features, lengths)

    def attention_weights(self, hidden_states, lengths):
        """Return the weight of each frame, [batch, frames], or None.

        None if the pooling has no attention.
        """
        if not hasattr(self.pooling, "attention_weights"):
            return None
        features = self.frames(hidden_states)
        return self.pooling.attention_weights(features, lengths)

    def _pool(self, features, lengths):
        """Pool padded features [batch, frames, channels]."""
        return self.pooling(self.channel_dropout(features), lengths)

    def _pool_packed(self, features, counts):
        """Pool utterances that lie one after the other, [frames, channels]."""
        # Utterances of like length together need little padding. On a GPU
        # more kernel launches would cost more than they save.
        on_cpu = features.device.type == "cpu"
        whole = self.training and self.pooling.whole_batch
        size = _LIKE_LENGTHS if on_cpu and not whole else len(counts)
        utterances = features.split(counts)
        order = sorted(range(len(counts)), key=counts.__getitem__)
        pooled = [
            self._pool(
                *pad_utterances([utterances[i] for i in order[start:][:size]])
            )
            for start in range(0, len(order), size)
        ]
        return torch.cat(pooled)[torch.tensor(order).argsort()]


# ---- modules/models/layer_pooling.py
import torch
from torch import nn
from torch.nn import functional as F


# Values of hidden states that are converted to fp32 at a time, 4 MB: they stay
# in a processor's cache until they are summed, so that each stored byte is
# read from memory once.
_PART = 2**20
# In fp32 the sum of layers whose means are at most so many deviations is exact
# to 1e-6; others are centred first, which takes nearly twice as long on a CPU.
# In Whisper tiny.en the largest ratio on 20 recordings of EmoDB is 2.1.
_FAR = 8.0


class LayerPooling(nn.Module):
    """Weighted sum of all hidden states; a softmax gives learned weights.

    Arguments
    ---------
    num_hidden_states : int
        Number of transformer layers plus one.
    normalize : bool
        Normalise each frame of each layer to mean 0 and deviation 1 over its
        channels first. The scales of the layers differ widely, and without
        normalisation the layer of the largest scale dominates the sum. The
        paper does not normalise.
    learned : bool
        Whether the weights are trained; otherwise they stay uniform.

    Example
    -------
    >>> pooling = LayerPooling(num_hidden_states=5)
    >>> pooling(torch.randn(5, 2, 7, 16)).shape
    torch.Size([2, 7, 16])
    """

    def __init__(
        self,
        num_hidden_states: int,
        normalize: bool = False,
        learned: bool = True,
    ):
        super().__init__()
        self.normalize = normalize
        self.scores = nn.Parameter(
            torch.zeros(num_hidden_states), requires_grad=learned
        )

    def output_size(self, hidden_size):
        """Return the number of channels of the features."""
        return hidden_size

    def layer_weights(self):
        """Return the weights of the layers, which sum to one; [layers]."""
        return torch.softmax(self.scores, dim=0)

    def forward(self, hidden_states):
        """Sum the layers.

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            [layers, batch, frames, hidden_size]; or stored utterances,
            `modules.features.stored_states.StoredStates`.

        Returns
        -------
        features : torch.Tensor
            [batch, frames, hidden_size]; of stored utterances the frames of
            all in one sequence, [frames, hidden_size].
        """
        weights = self.layer_weights()
        if isinstance(hidden_states, list):
            return _SumStored.apply(weights, hidden_states, self.normalize)
        # [batch, frames, layers, hidden_size]
        states = _normalized(hidden_states.movedim(0, -2), self.normalize)
        weights = weights.to(states.dtype).expand(states.shape[:-1])
        return torch.matmul(weights.unsqueeze(-2), states).squeeze(-2)


class LayerStack(nn.Module):
    """The hidden states of several layers, concatenated along the channels.

    Arguments
    ---------
    num_hidden_states : int
        Number of transformer layers plus one.
    normalize : bool
        See `LayerPooling`.
    include_input : bool
        Whether the input of the first transformer layer is one of them.

    Example
    -------
    >>> LayerStack(num_hidden_states=5)(torch.randn(5, 2, 7, 16)).shape
    torch.Size([2, 7, 64])
    """

    def __init__(
        self,
        num_hidden_states: int,
        normalize: bool = False,
        include_input: bool = False,
    ):
        super().__init__()
        # An encoder of one hidden state, such as filter banks, has no other.
        self.first = 0 if include_input or num_hidden_states == 1 else 1
        self.layers = num_hidden_states - self.first
        self.normalize = normalize

    def output_size(self, hidden_size):
        """Return the number of channels of the features."""
        return self.layers * hidden_size

    def layer_weights(self):
        """Return None: no layer has a weight."""

    def forward(self, hidden_states):
        """Concatenate layers; see `LayerPooling.forward`.

        Returns
        -------
        features : torch.Tensor
            [..., layers * hidden_size].
        """
        if isinstance(hidden_states, list):
            return torch.cat([self._stack(s.float()) for s in hidden_states])
        return self._stack(hidden_states.movedim(0, -2))

    def _stack(self, states):
        """Concatenate [..., layers, hidden_size]."""
        states = states[..., self.first :, :]
        return _normalized(states, self.normalize).flatten(-2)


class OneLayer(nn.Module):
    """The hidden states of one layer.

    Arguments
    ---------
    num_hidden_states : int
        Number of transformer layers plus one.
    layer : int
        Transformer layer, from 1; 0 is the input of the first one. None
        chooses the middle layer.
    normalize : bool
        See `LayerPooling`.

    Raises
    ------
    BadInput
        If the encoder has no such layer.

    Example
    -------
    >>> OneLayer(num_hidden_states=5)(torch.randn(5, 2, 7, 16)).shape
    torch.Size([2, 7, 16])
    """

    def __init__(
        self,
        num_hidden_states: int,
        layer: int | None = None,
        normalize: bool = False,
    ):
        super().__init__()
        last = num_hidden_states - 1
        self.layer = last // 2 if layer is None else layer
        if layer is None and last:
            self.layer = max(self.layer, 1)
        self.normalize = normalize
        if not 0 <= self.layer <= last:
            raise BadInput(
                f"layer {layer} does not exist: choose one of 0 to {last}, or "
                "null for the middle one"
            )

    def output_size(self, hidden_size):
        """Return the number of channels of the features."""
        return hidden_size

    def layer_weights(self):
        """Return None: no layer has a weight."""

    def forward(self, hidden_states):
        """Select the layer; see `LayerPooling.forward`."""
        if isinstance(hidden_states, list):
            states = self._stored(hidden_states)
        else:
            states = hidden_states[self.layer]
        return _normalized(states, self.normalize)

    def _stored(self, utterances):
        """Return the layer of stored utterances, [frames, hidden_size]."""
        if utterances[0].scales is not None:
            return torch.cat([u.layer(self.layer) for u in utterances])
        # One conversion of all: each kernel launch of a GPU costs more.
        return torch.cat([u.values[:, self.layer] for u in utterances]).float()


def _normalized(states, normalize):
    """Return states, normalised over their last dimension or as they are."""
    if not normalize:
        return states
    # Layer normalisation loses digits where a mean is large beside the
    # deviation; a difference of numbers of like size loses none.
    centred = states - states.mean(dim=-1, keepdim=True)
    return F.layer_norm(centred, states.shape[-1:])


def layer_moments(states: torch.Tensor) -> torch.Tensor:
    """Return mean and 1 / deviation of hidden states over their channels.

    With them the sum of normalised layers is a weighted sum of the layers as
    they are, and no normalised copy is made.

    Arguments
    ---------
    states : torch.Tensor
        [..., hidden_size].

    Returns
    -------
    moments : torch.Tensor
        [..., 2]; epsilon as in layer normalisation.
    """
    mean = states.mean(dim=-1, keepdim=True)
    variance, rest = torch.var_mean(states - mean, dim=-1, correction=0)
    scale = torch.rsqrt(variance + 1e-5)
    return torch.stack([mean[..., 0] + rest, scale], dim=-1)


class _SumStored(torch.autograd.Function):
    """The weighted sum over stored utterances, which need no gradient.

    The forward and the backward pass read each stored byte once and make no
    fp32 copy of a batch. PyTorch's own operations would write that copy, twice
    as large as the batch, and read it several times.
    """

    @staticmethod
    def forward(ctx, weights, utterances, normalize):
        utterances = _for_device(utterances)
        weights = weights.detach()
        frames = sum(len(utterance) for utterance in utterances)
        weights = weights.expand(frames, -1)
        scale = None
        if normalize:
            scale = torch.cat([u.moments[..., 1] for u in utterances])
            weights = weights * scale
        total = weights.new_empty(frames, utterances[0].values.shape[2])
        for rows, states in _parts(utterances, normalize):
            torch.bmm(
                weights[rows].unsqueeze(1), states, out=total[rows].unsqueeze(1)
            )
        if normalize:
            # Normalised layers have mean 0, and so has their sum.
            total -= total.mean(dim=1, keepdim=True)
        ctx.utterances, ctx.scale = utterances, scale
        return total

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.float()
        normalize = ctx.scale is not None
        if normalize:
            # Its products with centred states are those with the states.
            gradient = gradient - gradient.mean(dim=1, keepdim=True)
        layers = ctx.utterances[0].values.shape[1]
        products = gradient.new_empty(len(gradient), layers)
        for rows, states in _parts(ctx.utterances, normalize):
            # This order of factors is the fast one.
            torch.bmm(
                gradient[rows].unsqueeze(1),
                states.transpose(1, 2),
                out=products[rows].unsqueeze(1),
            )
        if normalize:
            products = products * ctx.scale
        return products.sum(dim=0), None, None


def _for_device(utterances):
    """Join utterances on a GPU: each kernel launch costs more than a copy."""
    if utterances[0].values.device.type == "cpu":
        return utterances
    return [utterances[0].join(utterances)]


def _parts(utterances, normalize):
    """Yield (rows, fp32 states) of all utterances in their order.

    If they are normalised later, the mean of each frame of a layer may be
    subtracted: then it is wherever the sum would lose digits.
    """
    values = utterances[0].values
    on_cpu = values.device.type == "cpu"
    part = max(1, _PART // values[0].numel()) if on_cpu else len(values)
    start = 0
    for utterance in utterances:
        means = None
        if normalize:
            means, scale = utterance.moments.unbind(-1)
            # A GPU subtracts while it converts, and would wait for the answer.
            if on_cpu and (means * scale).abs().max() <= _FAR:
                means = None
        for states in utterance.parts(part, means):
            yield slice(start, start + len(states)), states
            start += len(states)


# ---- modules/models/pooling.py
import torch
from torch import nn

# Makes the correlation of a constant channel 0; the paper's value.
EPS = 1e-9


def valid_frames_mask(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """Return which frames of a padded batch are valid.

    Arguments
    ---------
    lengths : torch.Tensor
        Relative lengths in (0, 1], shape [batch].
    frames : int
        Number of frames of the padded batch.

    Returns
    -------
    mask : torch.Tensor
        True on valid frames, at least one per utterance; [batch, frames].
    """
    counts = torch.round(lengths * frames).clamp(1, frames)
    steps = torch.arange(frames, device=lengths.device)
    return steps[None, :] < counts[:, None]


def _without_padding(features, lengths):
    """Return at least fp32 features, zero on padding, and their mask."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    mask = valid_frames_mask(lengths.to(features.device), features.shape[1])
    return features.masked_fill(~mask[..., None], 0.0), mask


def _uniform_weights(mask):
    """Return 1/T on the T valid frames of each row and 0 elsewhere."""
    return mask / mask.sum(dim=1, keepdim=True)


def _centre(features, weights):
    """Return the weighted mean [batch, channels] and the centred features."""
    mean = torch.einsum("bt,btc->bc", weights.to(features.dtype), features)
    return mean, features - mean[:, None]


def correlations(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted correlation of every pair of channels over time.

    Arguments
    ---------
    features : torch.Tensor
        [batch, frames, channels], zero on padding.
    weights : torch.Tensor
        [batch, frames], zero on padding.

    Returns
    -------
    correlations : torch.Tensor
        Strict upper triangle of the correlation matrix, row by row, in
        [-1, 1]; [batch, channels * (channels - 1) / 2].
    """
    weights = weights.to(features.dtype)
    _, centred = _centre(features, weights)
    # One factor carries the weights. Their square root in both factors would
    # give an infinite gradient at the zero weight of a padded frame.
    weighted = centred * weights[..., None]
    covariance = weighted.transpose(1, 2) @ centred  # [batch, chan, chan]
    scale = torch.rsqrt(covariance.diagonal(dim1=1, dim2=2) + EPS)
    matrix = covariance * scale[:, :, None] * scale[:, None, :]
    channels = features.shape[2]
    row, column = torch.triu_indices(
        channels, channels, offset=1, device=features.device
    )
    upper = matrix.flatten(1).index_select(1, row * channels + column)
    # Rounding alone can pass 1.
    return upper.clamp(-1.0, 1.0)


class Pooling(nn.Module):
    """Base of all poolings: sizes, mask and precision.

    Arguments
    ---------
    input_size : int
        Number of channels; ``output_size`` alone needs it. 0: not given.
    """

    # Whether training needs all utterances of a batch in one call.
    whole_batch = False

    def __init__(self, input_size: int = 0):
        super().__init__()
        self.input_size = input_size

    @property
    def output_size(self) -> int:
        """Number of values per utterance."""
        raise NotImplementedError

    def forward(self, features, lengths):
        """Pool in fp32: second moments lose too much in half precision.

        Arguments
        ---------
        features : torch.Tensor
            [batch, frames, channels].
        lengths : torch.Tensor
            Relative lengths, [batch].

        Returns
        -------
        pooled : torch.Tensor
            [batch, values].
        """
        with torch.autocast(features.device.type, enabled=False):
            return self.pool(*_without_padding(features, lengths))

    def pool(self, features, mask):
        """Pool features that are zero where the mask is False."""
        raise NotImplementedError


class MeanPooling(Pooling):
    """Mean over the valid frames.

    Example
    -------
    >>> MeanPooling()(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 16])
    """

    @property
    def output_size(self) -> int:
        return self.input_size

    def pool(self, features, mask):
        return _centre(features, _uniform_weights(mask))[0]


class MeanStdPooling(Pooling):
    """Mean and unbiased standard deviation over the valid frames.

    Example
    -------
    >>> MeanStdPooling()(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 32])
    """

    @property
    def output_size(self) -> int:
        return 2 * self.input_size

    def pool(self, features, mask):
        mean, centred = _centre(features, _uniform_weights(mask))
        squares = centred.square().masked_fill(~mask[..., None], 0.0)
        freedom = (mask.sum(dim=1, keepdim=True) - 1).clamp(min=1)
        variance = squares.sum(dim=1) / freedom
        return torch.cat([mean, torch.sqrt(variance + EPS)], dim=1)


class CorrelationPooling(Pooling):
    """Pearson correlation of every pair of channels over the valid frames.

    Example
    -------
    >>> CorrelationPooling()(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 120])
    """

    @property
    def output_size(self) -> int:
        """Number of pairs of channels."""
        return self.input_size * (self.input_size - 1) // 2

    def pool(self, features, mask):
        """Correlate under uniform weights; see `Pooling.pool`."""
        return correlations(features, _uniform_weights(mask))


class AttentiveCorrelationPooling(CorrelationPooling):
    """Correlation of channels under learned weights of the frames.

    The heads' scores are merged by log-sum-exp before the softmax over time:
    one weight per frame, and an output that does not grow with the heads.

    Arguments
    ---------
    input_size : int
        Number of channels.
    attention_heads : int
        Number of heads.
    temperature : float
        Divides the merged scores; above 1 it evens the weights out. The paper
        has none.

    Example
    -------
    >>> pooling = AttentiveCorrelationPooling(16, attention_heads=4)
    >>> pooling(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 120])
    """

    def __init__(
        self,
        input_size: int,
        attention_heads: int = 4,
        temperature: float = 1.0,
    ):
        super().__init__(input_size)
        self.temperature = temperature
        self.score = nn.Sequential(
            nn.Linear(input_size, input_size),
            nn.ReLU(),
            nn.Linear(input_size, attention_heads),
        )

    def attention_weights(self, features, lengths):
        """Return the weight of each frame.

        Arguments
        ---------
        features : torch.Tensor
            [batch, frames, channels].
        lengths : torch.Tensor
            Relative lengths, [batch].

        Returns
        -------
        weights : torch.Tensor
            Sum to 1 over the valid frames, 0 on padding; [batch, frames].
        """
        with torch.autocast(features.device.type, enabled=False):
            return self._attend(*_without_padding(features, lengths))

    def _attend(self, features, mask):
        """Return the weight of each frame under a mask, [batch, frames]."""
        scores = torch.logsumexp(self.score(features), dim=2)
        scores = scores / self.temperature
        return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)

    def pool(self, features, mask):
        """Correlate under learned weights; see `Pooling.pool`."""
        return correlations(features, self._attend(features, mask))


# ---- modules/spool.py
import collections
import concurrent.futures
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from typing import Any, BinaryIO

import numpy as np


# Bytes of decoded samples in a temporary file: 6 hours of stereo at 48 kHz.
MOST_ON_DISK = 2**33
# Bytes of decoded recordings that are kept for the next part that is read.
KEPT_ON_DISK = 2**30
# Seconds that a decoder gets at least, and megabytes per further second: a
# tenth of the speed of FFmpeg on one slow core.
DECODER_SECONDS, DECODER_MEGABYTES = 60, 0.5


# Decodes standard input with PyAV to fp32 samples on standard output; the last
# line of standard error is a description. It is a string because an exported
# model is one file, and importing that file would load torch. The lists keep
# FFmpeg from playlists, which name other files, and from video decoders.
_DECODER = """
import io, json, sys
ending, most, *sys.path = sys.argv[1:]
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,caf,dts,eac3,flac,flv,"
    "gsm,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,ogg,oma,qcp,rm,tak,"
    "tta,voc,w64,wav,webm,wv,xwma"
)
CODECS = (
    "aac,aac_latm,ac3,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,"
    "adpcm_yamaha,alac,amrnb,amrwb,ape,cook,dca,eac3,flac,g723_1,g729,gsm,"
    "gsm_ms,libopencore_amrnb,libopencore_amrwb,libopus,mp1,mp1float,mp2,"
    "mp2float,mp3,mp3float,mpc7,mpc8,nellymoser,opus,pcm_alaw,pcm_f32be,"
    "pcm_f32le,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,"
    "pcm_s32be,pcm_s32le,pcm_s8,pcm_u8,qcelp,ra_144,ra_288,sipr,speex,tak,"
    "truehd,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice"
)

class Recording(io.FileIO):
    name = "recording" + ending

def limit():
    import resource
    for kind, value in (("AS", 2**30), ("CORE", 0), ("CPU", 3600)):
        resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (value, value))

def decode():
    import av
    written, first, resampler = 0, None, None
    options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS}
    options["protocol_whitelist"] = "none"
    with av.open(Recording(0), container_options=options,
                 metadata_errors="replace") as container:
        if not container.streams.audio:
            return {"reason": "it has no sound track"}
        for frame in container.decode(container.streams.audio[0]):
            now = frame.sample_rate, frame.layout.name
            if first is None:
                first = last = now
                channels = frame.layout.nb_channels
            if resampler is None or now != last:
                last = now
                resampler = av.AudioResampler("flt", first[1], first[0])
            for part in resampler.resample(frame):
                size = 4 * channels * part.samples
                written += size
                if written > int(most):
                    return {"reason": "it is too long"}
                sys.stdout.buffer.write(memoryview(part.planes[0])[:size])
    if first is None:
        return {"reason": "its sound track is empty"}
    return {"rate": first[0], "channels": channels}

try:
    limit()
except (ImportError, ValueError, OSError):
    pass
try:
    result = decode()
    sys.stdout.buffer.flush()
except MemoryError:
    result = {"reason": "its decoder takes more than 1 GB"}
except Exception as problem:
    text = getattr(problem, "strerror", None) or str(problem)
    result = {"reason": "FFmpeg: " + text.split(chr(10))[0]}
print(chr(10) + json.dumps(result), file=sys.stderr)
"""


def unreadable(name, reason) -> BadInput:
    """Return the sentence for a recording that cannot be decoded."""
    return BadInput(
        f"{name} cannot be read ({str(reason).strip().rstrip('.')}): give a "
        "recording such as WAV, FLAC, OGG, MP3 or M4A"
    )


class Spool:
    """Decoded samples in a temporary file that has no name."""

    def __init__(self, file, rate, channels):
        self.file, self.samplerate, self.channels = file, rate, channels
        self.bytes = file.seek(0, os.SEEK_END)
        self.frames = self.bytes // (4 * channels)
        self.position, self.lock = 0, threading.Lock()

    def reader(self):
        """Return a view with a position of its own."""
        view = object.__new__(Spool)
        view.__dict__.update(self.__dict__, position=0)
        return view

    def seek(self, position):
        """Go to a sample."""
        self.position = position

    def read(self, count, dtype, always_2d):
        """Return at most so many samples, as `soundfile.SoundFile.read`."""
        count = max(0, min(count, self.frames - self.position))
        samples = np.empty((count, self.channels), dtype)
        with self.lock:
            self.file.seek(4 * self.channels * self.position)
            if count:
                self.file.readinto(memoryview(samples).cast("B"))
        self.position += count
        return samples


_kept: collections.OrderedDict[Any, concurrent.futures.Future] = (
    collections.OrderedDict()
)
_kept_lock = threading.Lock()


def _forget_all():
    """Begin anew in a forked process: its files would share a position."""
    global _kept_lock
    _kept_lock = threading.Lock()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def kept(key, make) -> Spool:
    """Return what ``make`` made for a key, made once while there is room.

    Threads that ask for the same key meanwhile wait.
    """
    with _kept_lock:
        is_new = key not in _kept
        if is_new:
            _kept[key] = concurrent.futures.Future()
        future = _kept[key]
        _kept.move_to_end(key)
    if is_new:
        try:
            future.set_result(make())
        except BaseException as problem:
            future.set_exception(problem)
            with _kept_lock:
                _kept.pop(key, None)
        _forget_oldest()
    return future.result()


def _forget_oldest():
    """Drop spools until `KEPT_ON_DISK` is enough; readers keep theirs."""
    with _kept_lock:
        sizes = {
            key: future.result().bytes
            for key, future in _kept.items()
            if future.done()
        }
        for key in list(sizes)[:-1]:
            if sum(sizes.values()) <= KEPT_ON_DISK:
                return
            del _kept[key], sizes[key]


@contextlib.contextmanager
def _disk(name):
    """Turn a full disk into a sentence."""
    try:
        yield
    except OSError as problem:
        raise BadInput(
            f"{name} cannot be decoded in {tempfile.gettempdir()} "
            f"({problem.strerror}): make room there or set TMPDIR"
        ) from problem


def write_blocks(blocks, rate: int, channels: int, name: str) -> Spool:
    """Write fp32 samples [samples, channels] to a `Spool`.

    Raises
    ------
    BadInput
        If they are too long or the disk is full.
    """
    with _disk(name):
        out = tempfile.TemporaryFile()
        for block in blocks:
            if out.tell() + block.nbytes > MOST_ON_DISK:
                raise unreadable(name, "it is too long")
            out.write(block)
        return Spool(out, rate, channels)


def decode_with_ffmpeg(source, name: str, reason: str) -> Spool:
    """Decode with FFmpeg, in a process of its own.

    Arguments
    ---------
    source : str or io.BytesIO
        A path, or the bytes of a file.
    name : str
        For sentences.
    reason : str
        Why libsndfile does not read it.

    Returns
    -------
    spool : Spool
        The first sound track.

    Raises
    ------
    BadInput
        If PyAV is missing or FFmpeg does not decode it to its end.
    """
    if importlib.util.find_spec("av") is None:
        reason += "; other formats need PyAV: pip install av"
        raise unreadable(name, reason)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_disk(name))
        out = tempfile.TemporaryFile()
        if isinstance(source, str):
            file: BinaryIO = open(source, "rb")
            suffix = os.path.splitext(source)[1]
        else:
            file, suffix = tempfile.TemporaryFile(), ""
            file.write(source.getbuffer())
            file.seek(0)
        stack.enter_context(file)
        found = _run_decoder(file, out, suffix)
    if "reason" in found:
        raise unreadable(name, f"{reason}; {found['reason']}")
    return Spool(out, found["rate"], found["channels"])


def _run_decoder(source, out, suffix):
    """Return what `_DECODER` prints about a file, or the reason why not."""
    seconds = os.fstat(source.fileno()).st_size / 1e6 / DECODER_MEGABYTES
    seconds = min(3600, DECODER_SECONDS + seconds)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _DECODER, suffix]
            # Without the working folder, where a stranger's av.py may lie.
            + [str(MOST_ON_DISK), *filter(None, sys.path)],
            stdin=source,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=seconds,
        )
        return json.loads(done.stderr.rstrip().rpartition(b"\n")[2])
    except subprocess.TimeoutExpired:
        return {"reason": f"its decoder did not end in {seconds:.0f} s"}
    except ValueError:
        return {"reason": "its decoder crashed"}


# ---- modules/decoding.py
import contextlib
import functools
import io
import os
import stat
import warnings
from typing import NamedTuple

import soundfile


# A day in seconds: no session is recorded in one file for longer, but a few
# bytes of FLAC can decode to years of silence.
LONGEST_RECORDING = 24 * 3600
# Samples of all channels that are decoded at once.
BLOCK = 2**20
# And where the header names no more of them.
_FEW = 2**12
# Bytes of a FLAC file with the number of samples: half of the first and four.
_FLAC_LENGTH = range(21, 26)
# Bytes per sample where a file's size shows whether its header is right.
_WIDTHS = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2}
_WIDTHS |= {"PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}


class AudioWarning(UserWarning):
    """Something about a recording that makes its answer doubtful."""


class Header(NamedTuple):
    """What a recording is, as far as its bytes bear it out.

    Attributes
    ----------
    samples : int
        Per channel.
    rate : int
        Samples per second.
    channels : int
        Number of channels.
    """

    samples: int
    rate: int
    channels: int


def check_recording(path: str | os.PathLike) -> os.stat_result:
    """Refuse what is no file with bytes in it, before it is opened.

    Opening a pipe or a device can block for ever.

    Arguments
    ---------
    path : str or os.PathLike
        A file on this machine.

    Returns
    -------
    status : os.stat_result
        Of the file.

    Raises
    ------
    BadInput
        If there is no such file, or it is a folder, a pipe, a device or empty.

    Example
    -------
    >>> check_recording("missing.wav")
    Traceback (most recent call last):
    modules.errors.BadInput: no such file: missing.wav (check its name)
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise BadInput(f"no such file: {path} (check its name)") from problem
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise unreadable(path, reason) from problem
    if stat.S_ISDIR(status.st_mode):
        raise BadInput(f"{path} is a folder: give a recording")
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(
            f"{path} is a pipe or a device: save the recording as a file first"
        )
    if status.st_size == 0:
        raise unreadable(path, "it has 0 bytes")
    return status


def look_at(path: str | os.PathLike) -> Header:
    """Return length, rate and channels of a recording.

    Samples are counted by decoding where the size of the file does not bear
    out its header; the result is kept as long as the file does not change.

    Raises
    ------
    BadInput
        If it cannot be decoded or is longer than `LONGEST_RECORDING`.
    """
    return _look(*_identify(path))[0]


def _identify(path):
    """Return the path and a stamp that changes with the file."""
    status = check_recording(path)
    return os.fspath(path), (
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    )


@functools.lru_cache(maxsize=2**14)
def _look(path, stamp):
    """Return the header and whether libsndfile can go to any sample."""
    try:
        file = _open_sndfile(path)
    except _Unknown:
        spool = _spooled(path, stamp)
        return Header(spool.frames, spool.samplerate, spool.channels), False
    with file:
        samples, width = file.named, _WIDTHS.get(file.subtype)
        is_packed = file.format == "FLAC" or width is None
        if is_packed or samples * file.channels * width > stamp[0]:
            samples = sum(len(block) for block in blocks(file, path))
            _warn_of_loss(path, samples, file)
        elif samples > LONGEST_RECORDING * file.samplerate:
            raise _too_long(path)
        header = Header(samples, file.samplerate, file.channels)
        named = samples * file.channels * width if width else _xing_bytes(path)
        if file.format != "FLAC" and named:
            _warn_of_more(path, header, named, stamp[0])
        return header, samples == file.named


@contextlib.contextmanager
def open_recording(source, is_part: bool = False):
    """Open a recording of any format.

    Arguments
    ---------
    source : str, os.PathLike or io.BytesIO
        A file, or its bytes.
    is_part : bool
        Whether `blocks` will be asked for a part.

    Yields
    ------
    recording
        With samplerate and channels; for `blocks`.

    Raises
    ------
    BadInput
        If no decoder opens it.
    """
    in_memory = isinstance(source, io.IOBase)
    path, stamp = (source, None) if in_memory else _identify(source)
    if is_part and not in_memory and not _look(path, stamp)[1]:
        yield _spooled(path, stamp).reader()
        return
    try:
        file = _open_sndfile(path, is_part and not in_memory)
    except _Unknown:
        spool = _spool(path) if in_memory else _spooled(path, stamp)
        yield spool.reader()
        return
    with file:
        yield file


def blocks(recording, name, start: int = 0, stop: int | None = None):
    """Decode a recording, or a part of it, block by block.

    Arguments
    ---------
    recording
        From `open_recording`.
    name : str
        For sentences.
    start, stop : int
        Samples per channel; by default to the end.

    Yields
    ------
    block : numpy.ndarray
        fp32, [samples, channels].

    Raises
    ------
    BadInput
        If the decoder fails, or does not end within `LONGEST_RECORDING`.
    """
    longest = LONGEST_RECORDING * recording.samplerate
    most = max(1, BLOCK // recording.channels)
    left = (longest + 1 if stop is None else stop) - start
    named = getattr(recording, "named", longest) - start
    try:
        # libmpg123 rounds differently if it has not been sent to the start.
        if start or getattr(recording, "format", None) == "MP3":
            recording.seek(start)
        while left > 0:
            # After the samples that a header names may be something else.
            count = min(most, left, named if named > 0 else _FEW)
            block = recording.read(count, "float32", always_2d=True)
            if not len(block):
                return
            left, named = left - len(block), named - len(block)
            yield block
    except (OSError, soundfile.SoundFileError) as problem:
        if named <= 0:
            return
        reason = getattr(problem, "error_string", None) or problem
        raise unreadable(name, reason) from problem
    if stop is None:
        raise _too_long(name)


def _warn_of_loss(name, samples, file):
    """Warn where a header names more than there is, and might be right."""
    longest = LONGEST_RECORDING * file.samplerate
    if samples + file.samplerate < file.named <= longest:
        warnings.warn(
            f"{name} ends after {samples / file.samplerate:.1f} s; its header "
            f"names {file.named / file.samplerate:.1f} s: is it whole?",
            AudioWarning,
            stacklevel=2,
        )


def _xing_bytes(path):
    """Return how many bytes the header of an MP3 file names, or None."""
    with open(path, "rb") as file:
        file.seek(_end_of_id3(file))
        head = file.read(2**10)
    place = max(head.find(b"Xing"), head.find(b"Info"))
    has_both = place >= 0 and head[place + 7 : place + 8] >= b"\3"
    return (
        int.from_bytes(head[place + 12 : place + 16], "big")
        if has_both
        else None
    )


def _warn_of_more(name, header, named, size):
    """Warn where a file has far more bytes than its header names.

    libmpg123 and libsndfile stop there, and what follows may be a picture.
    """
    if size > 2 * named + 2**16:
        warnings.warn(
            f"{name} has {size} bytes; its header names {named}, of which the "
            f"{header.samples / header.rate:.1f} s are read: is that all of "
            "it? If not, convert it to FLAC",
            AudioWarning,
            stacklevel=2,
        )


def _too_long(name):
    """Return the sentence for a recording of more than a day."""
    return BadInput(
        f"{name} lasts more than {LONGEST_RECORDING // 3600} hours: cut it into parts"
    )


class _Unknown(Exception):
    """libsndfile does not open it, and why."""


class _Forward(soundfile.SoundFile):
    """Reads on without looking up its place, which a wrong header prevents.

    ``named`` is the number of samples that the header names, ``opened`` a
    file that is closed with this one.
    """

    opened = None

    def __init__(self, source, named=None):
        super().__init__(source)
        self.named = self.frames if named is None else named

    def close(self):
        """Close the file."""
        super().close()
        if self.opened is not None:
            self.opened.close()

    def seekable(self):
        """Return False."""
        return False


class _FlacOfAnyLength:
    """The bytes of a FLAC file, without the number of samples in its header.

    libFLAC decodes them to their end. Else it stops at that number, whatever
    follows.
    """

    def __init__(self, file, begin):
        self.file, self.seek, self.tell = file, file.seek, file.tell
        self.length = [begin + place for place in _FLAC_LENGTH]

    def read(self, count):
        """Return bytes."""
        begin, data = self.tell(), bytearray(self.file.read(count))
        for place in self.length:
            if begin <= place < begin + len(data):
                # Half of the first byte is of the field before.
                kept = 0xF0 if place == self.length[0] else 0
                data[place - begin] &= kept
        return bytes(data)


def _open_sndfile(source, is_part=False):
    """Open a path or bytes with libsndfile.

    ``is_part``: go to any sample of FLAC, whose header is right.
    """
    file = _open_as_named(source)
    if file.format != "FLAC" or is_part:
        return file
    named = file.named
    file.close()
    if isinstance(source, io.IOBase):
        begin = _end_of_id3(source)
        return _Forward(_FlacOfAnyLength(source, begin), named)
    opened = open(source, "rb")
    whole = _FlacOfAnyLength(opened, _end_of_id3(opened))
    file = _Forward(whole, named)
    file.opened = opened
    return file


def _end_of_id3(file):
    """Return where the sound begins, which may have a tag in front."""
    file.seek(0)
    start = file.read(10)
    file.seek(0)
    if start[:3] != b"ID3":
        return 0
    # Seven bits of each byte.
    return 10 + sum(b << 7 * n for n, b in enumerate(reversed(start[6:])))


def _open_as_named(source):
    """Open a path or bytes with libsndfile, which believes the header."""
    if isinstance(source, str) and os.name == "posix":
        source = os.fsencode(source)  # soundfile refuses what is not UTF-8
    try:
        file = _Forward(source)
    except (soundfile.SoundFileError, OSError) as problem:
        reason = getattr(problem, "error_string", None) or problem
        raise _Unknown(str(reason).strip().rstrip(".")) from problem
    except TypeError as problem:  # soundfile wants rate and channels of .raw
        raise _Unknown("it has no header: convert it to WAV") from problem
    if file.frames > 0 and file.samplerate > 0:
        return file
    file.close()
    raise _Unknown("its header names no samples")


def _spooled(path, stamp):
    """Return the `Spool` of a file, which is decoded anew if it has changed."""
    return kept((path, stamp), lambda: _spool(path))


def _spool(source):
    """Decode a path or bytes into a `Spool`."""
    is_path = not isinstance(source, io.IOBase)
    name = source if is_path else "the recording"
    try:
        file = _open_sndfile(source)
    except _Unknown as problem:
        return decode_with_ffmpeg(source, name, str(problem))
    with file:
        parts = blocks(file, name)
        return write_blocks(parts, file.samplerate, file.channels, name)


# ---- modules/audio.py
import functools
import io
import math
import os
import warnings

import numpy as np
import torch


SAMPLE_RATE = 16000

# What the convolutions of WavLM, HuBERT and wav2vec 2.0 need for one frame.
SHORTEST = 400
# Below, nothing of speech but its pitch is left; above, no converter goes.
LOWEST_RATE, HIGHEST_RATE = 4000, 384000
# Bytes of decoded samples in memory: 1.5 hours of stereo at 48 kHz.
MOST_IN_MEMORY = 2**31
# Elements of torchaudio's resampling kernel, which grows with the square of
# rate / gcd: 76 thousand at 44.1 kHz, but 700 million at 44101 Hz.
LARGEST_KERNEL = 2**21
# The mean of independent channels has half of their power or more; below a
# tenth, one of them is largely the other one inverted, and below a thousandth
# (30 dB), what is left is how their noise differs.
CANCELLED, SILENCED = 0.1, 0.001

# Channels with a name, by number.
CHANNELS: dict[str | int, int] = {"left": 0, "right": 1}
# What a system can be trained on.
CHANNEL_CHOICES = ("mean", "left", "right")


def read_header(path: str | os.PathLike) -> Header:
    """Return length, rate and channels of a recording.

    Arguments
    ---------
    path : str or os.PathLike
        A file on this machine.

    Raises
    ------
    BadInput
        If it cannot be read, is shorter than one frame of an encoder or longer
        than a day, or has a rate that no recorder of speech uses.
    """
    header = look_at(path)
    _check_rate(path, header.rate)
    if header.samples * SAMPLE_RATE < SHORTEST * header.rate:
        raise _too_short(path, header.samples / header.rate)
    return header


def read_length(path: str | os.PathLike) -> tuple[int, int]:
    """Return samples and rate of a recording; see `read_header`."""
    return read_header(path)[:2]


def read_samples(
    source, start=0, stop=None, channel=None, compares_channels=True
):
    """Read a recording at its own rate.

    Arguments
    ---------
    source : str, os.PathLike or io.BytesIO
        A file, or its bytes.
    start, stop : int
        Read a part: samples at the file's own rate.
    channel : str or int
        "left", "right" or a number from 0: that channel alone. "mean": both
        channels of two, which `read_waveform` averages after it has
        resampled them; the mean of more. By default all channels.
    compares_channels : bool
        Whether to notice that the channels of a mean cancel.

    Returns
    -------
    samples : numpy.ndarray
        fp32 in [-1, 1], [samples, channels].
    rate : int
        Samples per second.

    Raises
    ------
    BadInput
        If it cannot be read, has no such channel, or its channels cancel.
    """
    name = "the recording" if isinstance(source, io.IOBase) else source
    is_part = start != 0 or stop is not None
    with open_recording(source, is_part) as recording:
        _check_rate(name, recording.samplerate)
        mixer = _Mixer(channel, recording.channels, name)
        mixer.compares = mixer.compares and compares_channels
        size, kept = 0, [np.zeros((0, mixer.channels), "float32")]
        for block in blocks(recording, name, start, stop):
            kept.append(mixer.mix(block))
            size += kept[-1].nbytes
            if size > MOST_IN_MEMORY:
                raise BadInput(f"{name} is too long: cut it into parts")
        mixer.check()
        return np.concatenate(kept), recording.samplerate


def read_waveform(
    source, start=0, stop=None, channel="mean", compares_channels=True
) -> torch.Tensor:
    """Read a recording, mix it down to mono and resample it to 16 kHz.

    Arguments
    ---------
    source, start, stop, compares_channels
        See `read_samples`.
    channel : str or int
        "mean", "left", "right" or a number from 0.

    Returns
    -------
    waveform : torch.Tensor
        fp32 in [-1, 1], [samples].

    Raises
    ------
    BadInput
        See `read_samples`.
    """
    samples, rate = read_samples(
        source, start, stop, channel, compares_channels
    )
    return resample(torch.from_numpy(samples), rate).mean(dim=1)


def read_speech(path, start=0, stop=None, channel="mean") -> torch.Tensor:
    """Read as `read_waveform` does, and refuse what has no speech to classify.

    Raises
    ------
    BadInput
        If it cannot be read, is too short or has samples that are no
        numbers, or if a whole file is digital silence from end to end (a part
        of one may be).
    """
    waveform = read_waveform(path, start, stop, channel)
    if len(waveform) < SHORTEST:
        raise _too_short(path, len(waveform) / SAMPLE_RATE)
    if not waveform.isfinite().all():
        raise BadInput(
            f"{path} has samples that are no numbers (NaN or infinite): "
            "export it again"
        )
    if stop is None and waveform.min() == waveform.max():
        raise BadInput(f"{path} is silent: give a recording of speech")
    return waveform


def resample(samples: torch.Tensor, rate: int) -> torch.Tensor:
    """Resample to 16 kHz, as SpeechBrain's `AudioNormalizer` does.

    Arguments
    ---------
    samples : torch.Tensor
        [samples, channels].
    rate : int
        Samples per second.

    Returns
    -------
    samples : torch.Tensor
        [samples * 16000 / rate, channels].

    Example
    -------
    >>> resample(torch.zeros(44101, 2), 44101).shape
    torch.Size([16000, 2])
    """
    common = math.gcd(rate, SAMPLE_RATE)
    up, down = SAMPLE_RATE // common, rate // common
    if up == down or not len(samples):
        return samples
    if up * down <= LARGEST_KERNEL:
        return _resampler(rate)(samples.T).T
    import scipy.signal  # takes a second and is needed for odd rates only

    resampled = scipy.signal.resample_poly(samples.numpy(), up, down, axis=0)
    return torch.from_numpy(resampled)


@functools.lru_cache(maxsize=16)
def _resampler(rate):
    """Return the module that SpeechBrain resamples with."""
    import torchaudio.transforms

    return torchaudio.transforms.Resample(rate, SAMPLE_RATE)


def channel_index(channel: str | int, channels: int, name: str) -> int:
    """Return the number of a channel, from 0.

    Raises
    ------
    BadInput
        If there is no such channel.
    """
    index = CHANNELS.get(channel, channel)
    if not isinstance(index, int) or index < 0:
        raise BadInput(
            f"channel {channel!r} is unknown: choose mean, left, right or "
            "a number from 0"
        )
    if index >= channels:
        raise BadInput(
            f"{name} has {channels} channel{'s' * (channels > 1)}, and "
            f"{channel!r} is none of them: choose mean or left"
        )
    return index


def share_of_mean(samples: np.ndarray) -> float:
    """Return how much of the channels' power their mean has.

    Arguments
    ---------
    samples : numpy.ndarray
        [samples, channels].

    Returns
    -------
    share : float
        1 for equal channels, about a half for two independent ones, 0 if one
        is the other one inverted.

    Example
    -------
    >>> share_of_mean(np.float32([[1, 1], [1, -1]]))
    0.5
    """
    mixer = _Mixer("mean", samples.shape[1], "")
    for start in range(0, len(samples), BLOCK):
        mixer.mix(samples[start : start + BLOCK])
    return mixer.share()


class _Mixer:
    """Picks a channel of blocks, or mixes them, and notices cancellation."""

    def __init__(self, channel, channels, name):
        self.name, self.total = name, channels
        self.averages = channel == "mean"
        self.index = None
        if channel is not None and not self.averages:
            self.index = channel_index(channel, channels, name)
        # Both channels of two are resampled before they are averaged, as
        # SpeechBrain does; more would take too much memory.
        self.mixes = self.averages and channels > 2
        is_one = self.mixes or self.index is not None
        self.channels = 1 if is_one else channels
        self.compares = self.averages and channels > 1
        self.power = self.power_of_mean = 0.0

    def mix(self, block):
        """Return [samples, 1] or [samples, channels] of a block."""
        if self.index is not None:
            return block[:, self.index, None]
        if not self.averages or self.total == 1:
            return block
        mean = block.mean(axis=1, keepdims=True)
        if self.compares:
            self._compare(block, mean)
        return mean if self.mixes else block

    def _compare(self, block, mean):
        """Add up the power of a block, and of its mean."""
        with np.errstate(over="ignore", invalid="ignore"):
            self.power += np.square(block, dtype="float64").mean(axis=1).sum()
            self.power_of_mean += np.square(mean, dtype="float64").sum()

    def share(self):
        """Return how much of the channels' power their mean has."""
        return float(self.power_of_mean / self.power) if self.power else 1.0

    def check(self):
        """Refuse or warn where the mean of the channels cancels them."""
        share = self.share()
        if share < SILENCED:
            raise BadInput(
                f"{self.name} is near silence when its channels are averaged, "
                "since one is the other one inverted: choose one of them "
                "(--channel left)"
            )
        if share < CANCELLED:
            warnings.warn(
                f"the mean of the channels of {self.name} has {share:.1%} of "
                "their power, since they cancel: choose one of them "
                "(--channel left)",
                AudioWarning,
                stacklevel=3,
            )


def _check_rate(name, rate):
    """Refuse a rate that no recorder of speech uses."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise BadInput(
            f"{name} has {rate} samples per second: give a recording with "
            f"{LOWEST_RATE} to {HIGHEST_RATE}"
        )


def _too_short(path, seconds):
    """Return the sentence for less than one frame of an encoder."""
    return BadInput(
        f"{path} lasts {1000 * seconds:.0f} ms: give at least "
        f"{1000 * SHORTEST // SAMPLE_RATE} ms of speech, better a second"
    )


# ---- modules/models/vocal.py
import hashlib
import json
import math

import torch
from torch import nn
from torch.nn import functional as F


# What encoder_hub and acoustics call it.
VOCAL = "vocal"

# Channels that every frame has, in the order of `VocalEncoder`'s output.
SPECTRAL = (
    "level_dB",
    "mean_log_mel",
    "voicing",
    "harmonics_to_noise_dB",
    "alpha_ratio_dB",
    "hammarberg_index_dB",
    "slope_0_500_dB_per_kHz",
    "slope_500_1500_dB_per_kHz",
    "centroid_kHz",
    "flux",
    *(f"mfcc_{i}" for i in range(1, 13)),
)
# Further channels: "pitch" means something where "voiced" is 1, "jitter" and
# "shimmer" where "consecutive" is: this and the previous frame are voiced.
VOICED = ("pitch_semitones", "voiced", "consecutive", "jitter", "shimmer_dB")

# In samples, hertz, shares of the autocorrelation and decibels.
VOCAL_SETTINGS = {
    "window": 800,
    "hop": 160,
    # No circular overlap: a window and the longest lag are shorter.
    "dft": 1280,
    "lowest_pitch": 60,
    "highest_pitch": 500,
    "octave_cost": 0.02,
    "least_voicing": 0.5,
    "quietest_voiced": 40,
    "mel_bands": 26,
    "pitch_reference": 27.5,
}
# Goes into the digest: raise it when the code below changes what comes out.
_VOCAL_VERSION = 1

_TINY = 1e-10


def _bins(low, high):
    """Return the bins of the DFT with low < frequency <= high, in hertz."""
    width = SAMPLE_RATE / VOCAL_SETTINGS["dft"]
    return slice(int(low / width) + 1, int(high / width) + 1)


def _decibel(power):
    return 10 * torch.log10(power + _TINY)


def _change(values):
    """Return the difference from the previous frame; 0 for the first."""
    return values - torch.cat([values[:1], values[:-1]])


class VocalEncoder(nn.Module):
    """Features of windows of 50 ms, as an encoder of one layer.

    Every utterance is transformed alone. The Fourier transform is a product
    with constant matrices, so that a graph in ONNX can contain it.

    Example
    -------
    >>> states, frames = VocalEncoder()(torch.randn(2, 16000))
    >>> states.shape, frames.tolist()
    (torch.Size([1, 2, 96, 27]), [96, 96])
    """

    num_hidden_states = 1
    hidden_size = len(SPECTRAL) + len(VOICED)
    is_whisper = False

    def __init__(self):
        super().__init__()
        # torchaudio is imported where it is used: it takes a second.
        from torchaudio.functional import create_dct, melscale_fbanks

        size, bins = VOCAL_SETTINGS["window"], VOCAL_SETTINGS["dft"] // 2 + 1
        step = 2 * math.pi / VOCAL_SETTINGS["dft"]
        number = torch.arange(bins, dtype=torch.float64)
        hann = torch.hann_window(size, periodic=False, dtype=torch.float64)
        hann = hann[size // 2 :, None]
        # Distances from the window's middle, which halve the products: the
        # even part of a frame has cosines alone, the odd part sines.
        places = torch.arange(size // 2, dtype=torch.float64) + 0.5
        angles = step * torch.outer(places, number)
        self._constant("cosines", hann * angles.cos())
        self._constant("sines", hann * angles.sin())
        self.first_lag = SAMPLE_RATE // VOCAL_SETTINGS["highest_pitch"]
        self.last_lag = SAMPLE_RATE // VOCAL_SETTINGS["lowest_pitch"]
        lags = torch.arange(self.last_lag + 1, dtype=torch.float64)
        correlate = torch.outer(number, lags).mul(step).cos()
        correlate[1:-1] *= 2  # the bins above half of the sampling rate
        window = (2 * hann * angles.cos()).sum(dim=0).square() @ correlate
        self._constant("correlate", correlate / window * window[0])
        octaves = torch.log2(lags[self.first_lag : -1] / self.first_lag)
        self._constant("cost", VOCAL_SETTINGS["octave_cost"] * octaves)
        frequency = number * SAMPLE_RATE / VOCAL_SETTINGS["dft"] / 1000
        self._constant("frequency", frequency)
        slopes = torch.zeros(bins, 2, dtype=torch.float64)
        for column, band in enumerate((_bins(0, 500), _bins(500, 1500))):
            centred = frequency[band] - frequency[band].mean()
            slopes[band, column] = centred / centred.square().sum()
        self._constant("slopes", slopes)
        count = VOCAL_SETTINGS["mel_bands"]
        mel = melscale_fbanks(bins, 20.0, 8000.0, count, SAMPLE_RATE)
        self._constant("mel", mel)
        self._constant("dct", create_dct(13, count, "ortho"))
        self.requires_grad_(False)

    def _constant(self, name, values):
        self.register_buffer(name, values.float(), persistent=False)

    def count_frames(self, samples):
        """Return the frames of an utterance, at 100 per second."""
        window, hop = VOCAL_SETTINGS["window"], VOCAL_SETTINGS["hop"]
        return (max(samples, window) - window) // hop + 1

    def computed_seconds(self, seconds):
        """Return the seconds of audio that an utterance costs."""
        return seconds

    @torch.no_grad()
    def forward(self, wavs, lengths=None):
        """Transform; see `modules.models.encoder.FrozenEncoder.forward`."""
        if lengths is None:
            lengths = torch.ones(len(wavs))
        samples = torch.round(lengths.cpu().double() * wavs.shape[1])
        features = [
            self.transform(wav[:count].float())
            for wav, count in zip(wavs, samples.long().tolist())
        ]
        frames = torch.tensor([len(one) for one in features])
        padded = nn.utils.rnn.pad_sequence(features, batch_first=True)
        return padded[None], frames.to(wavs.device)

    def transform(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the features of one waveform.

        Arguments
        ---------
        waveform : torch.Tensor
            Mono, 16 kHz, fp32; zeros are added to less than a window;
            [samples].

        Returns
        -------
        features : torch.Tensor
            Channels `SPECTRAL` and `VOICED`; [frames, hidden_size].
        """
        power = self._power(waveform)
        period, voicing = self._period(power)
        noise = 10 * torch.log10(voicing.clamp(min=1e-3) / (1 - voicing))
        level = _decibel(power.mean(dim=1))
        quietest = level.max() - VOCAL_SETTINGS["quietest_voiced"]
        voiced = (voicing > VOCAL_SETTINGS["least_voicing"]) & (
            level > quietest
        )
        before = torch.cat([voiced[:1] & False, voiced[:-1]])
        pitch = SAMPLE_RATE / VOCAL_SETTINGS["pitch_reference"] / period
        columns = [
            12 * torch.log2(pitch),
            voiced.float(),
            (voiced & before).float(),
            _change(period).abs() / period,
            _change(level).abs(),
        ]
        spectral = self._spectral(power)
        return torch.cat(
            [
                level[:, None],
                spectral[:, :1],
                torch.stack([voicing, noise], dim=1),
                spectral[:, 1:],
                torch.stack(columns, dim=1),
            ],
            dim=1,
        )

    def _power(self, waveform):
        """Return the power spectrum of each frame, [frames, bins]."""
        window, hop = VOCAL_SETTINGS["window"], VOCAL_SETTINGS["hop"]
        missing = torch.sym_max(window - waveform.shape[0], 0)
        waveform = F.pad(waveform, (0, missing))
        steps = waveform.shape[0] // hop
        blocks = waveform[: steps * hop].view(steps, hop)
        last = window // hop - 1
        frames = torch.cat(
            [blocks[i : steps - last + i] for i in range(last + 1)], dim=1
        )
        frames = frames - frames.mean(dim=1, keepdim=True)
        early, late = frames.split(window // 2, dim=1)
        early = early.flip(1)
        real, imaginary = (
            (late + early) @ self.cosines,
            (late - early) @ self.sines,
        )
        return real.square() + imaginary.square()

    def _period(self, power):
        """Return the period in samples and the voicing of each frame.

        The autocorrelation, divided by the window's own, has its highest
        peak at the period; short periods are preferred.
        """
        curve = power @ self.correlate
        curve = curve / curve[:, :1].clamp(min=_TINY)
        candidates = curve[:, self.first_lag : -1]
        lag = (candidates - self.cost).argmax(dim=1, keepdim=True)
        lag = lag + self.first_lag
        before, peak, after = (
            curve.gather(1, lag + i)[:, 0] for i in (-1, 0, 1)
        )
        # A parabola through three points has its maximum between two lags.
        bend = before - 2 * peak + after
        shift = (before - after) / 2 / bend.clamp(max=-1e-6)
        return lag[:, 0] + shift.clamp(-1.0, 1.0), peak.clamp(0.0, 0.9999)

    def _spectral(self, power):
        """Return what depends on the shape of the spectrum, [frames, 20]."""
        log_power = _decibel(power)
        bands = torch.log(power @ self.mel + _TINY)
        alpha = _decibel(power[:, _bins(50, 1000)].sum(dim=1)) - _decibel(
            power[:, _bins(1000, 5000)].sum(dim=1)
        )
        hammarberg = log_power[:, _bins(0, 2000)].amax(dim=1) - log_power[
            :, _bins(2000, 5000)
        ].amax(dim=1)
        centroid = power @ self.frequency
        centroid = centroid / power.sum(dim=1).clamp(min=_TINY)
        shape = power.sqrt()
        shape = shape / shape.sum(dim=1, keepdim=True).clamp(min=_TINY)
        flux = _change(shape).square().sum(dim=1).sqrt()
        slopes = (log_power @ self.slopes).unbind(dim=1)
        columns = [bands.mean(dim=1), alpha, hammarberg, *slopes]
        columns = torch.stack([*columns, centroid, flux], dim=1)
        return torch.cat([columns, (bands @ self.dct)[:, 1:]], dim=1)


class VocalUpstream:
    """What is known of `VocalEncoder` without making it.

    See `modules.models.upstream.HubUpstream`.
    """

    is_local = False
    folder = None
    num_hidden_states, hidden_size = (
        VocalEncoder.num_hidden_states,
        VocalEncoder.hidden_size,
    )
    count_frames = VocalEncoder.count_frames
    computed_seconds = VocalEncoder.computed_seconds

    def digest(self, precision="fp32"):
        """Return the SHA-256 of its settings; it computes in fp32 always."""
        settings = {"version": _VOCAL_VERSION, **VOCAL_SETTINGS}
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def make(self, precision="fp32"):
        """Return the encoder."""
        return VocalEncoder()


# ---- modules/models/functionals.py
import torch


# Frames of `modules.models.vocal` per second.
_RATE = SAMPLE_RATE / VOCAL_SETTINGS["hop"]


def _moments(values, weights):
    """Return mean and deviation over time, [batch, channels] each.

    Both are 0 and sqrt(EPS) where no frame has a weight.
    """
    weights = weights[..., None]
    count = weights.sum(dim=1).clamp(min=1)
    mean = (values * weights).sum(dim=1) / count
    squares = (values - mean[:, None]).square() * weights
    return mean, torch.sqrt(squares.sum(dim=1) / count + EPS)


def _mean(values, weights):
    """Return the mean over time, [batch] or [batch, channels]."""
    if values.dim() == 3:
        weights = weights[..., None]
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class FunctionalsPooling(Pooling):
    """Moments of the channels of `modules.models.vocal.VocalEncoder`.

    In this order: mean, deviation and mean absolute difference from frame to
    frame of the channels `modules.models.vocal.SPECTRAL`; their mean and
    deviation over voiced frames; mean, deviation and mean absolute difference
    of the pitch over voiced frames; share of voiced frames; voiced runs per
    second; mean length of a voiced run in seconds; mean jitter; mean shimmer;
    logarithm of the number of frames.

    Arguments
    ---------
    input_size : int
        Number of channels: that of `VocalEncoder`.

    Raises
    ------
    BadInput
        If it is another number.

    Example
    -------
    >>> FunctionalsPooling(27)(torch.randn(2, 90, 27), torch.ones(2)).shape
    torch.Size([2, 119])
    """

    def __init__(self, input_size: int):
        super().__init__(input_size)
        needed = len(SPECTRAL) + len(VOICED)
        if input_size != needed:
            raise BadInput(
                f"FunctionalsPooling needs the {needed} channels of vocal, "
                f"not {input_size}: name vocal as that upstream, or choose "
                "another pooling"
            )

    @property
    def output_size(self) -> int:
        return 5 * len(SPECTRAL) + 9

    def pool(self, features, mask):
        spectral = features[..., : len(SPECTRAL)]
        pitch, voiced, consecutive, jitter, shimmer = features[
            ..., len(SPECTRAL) :
        ].unbind(dim=2)
        # A flag that was stored in few bits is near 0 or 1.
        voiced, consecutive = (
            ((flag > 0.5) & mask).to(features.dtype)
            for flag in (voiced, consecutive)
        )
        valid = mask.to(features.dtype)
        changes = (spectral[:, 1:] - spectral[:, :-1]).abs()
        steps = (pitch[:, 1:] - pitch[:, :-1]).abs()
        pitch_mean, pitch_deviation = _moments(pitch[..., None], voiced)
        one_each = [
            _mean(steps, consecutive[:, 1:]),
            *self._runs(voiced, valid.sum(dim=1)),
            _mean(jitter, consecutive),
            _mean(shimmer, consecutive),
            valid.sum(dim=1).log(),
        ]
        return torch.cat(
            [
                *_moments(spectral, valid),
                _mean(changes, valid[:, 1:]),
                *_moments(spectral, voiced),
                pitch_mean,
                pitch_deviation,
                torch.stack(one_each, dim=1),
            ],
            dim=1,
        )

    @staticmethod
    def _runs(voiced, frames):
        """Return share, runs per second and seconds of a run, [batch] each."""
        begins = (voiced[:, 1:] > voiced[:, :-1]).to(voiced.dtype)
        runs = begins.sum(dim=1) + voiced[:, 0]
        count = voiced.sum(dim=1)
        return (
            count / frames,
            runs * _RATE / frames,
            count / runs.clamp(min=1) / _RATE,
        )


# ---- modules/models/standardization.py
import torch
from torch import nn


class Standardization(nn.Module):
    """Standardise the values of an embedding.

    Every value gets mean 0. The variances of a part's values sum to 1,
    whatever their number, so that the same C regularises encoders of any size
    alike.

    Arguments
    ---------
    sizes : dict
        Name of a part -> number of its values.

    Example
    -------
    >>> standardization = Standardization({"mean": 4})
    >>> standardization.fit(torch.randn(100, 4))
    >>> standardization(torch.randn(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(self, sizes: dict[str, int]):
        super().__init__()
        self.sizes = sizes
        self.register_buffer("mean", torch.zeros(sum(sizes.values())))
        self.register_buffer("scale", torch.ones(sum(sizes.values())))

    @torch.no_grad()
    def fit(self, embeddings):
        """Estimate mean and deviation.

        Arguments
        ---------
        embeddings : torch.Tensor
            Of the training utterances, [utterances, values].
        """
        self.mean.copy_(embeddings.mean(dim=0))
        deviation = embeddings.std(dim=0, correction=0)
        # A value that is constant in training gets no influence in a test.
        least, most = embeddings.aminmax(dim=0)
        constant = deviation < 1e-6 * torch.maximum(-least, most).clamp(min=1)
        self.scale.copy_((1 / deviation).masked_fill(constant, 0.0))
        for scale in self.scale.split(list(self.sizes.values())):
            scale *= max(len(scale), 1) ** -0.5

    @torch.no_grad()
    def adapt(self, mean, variance, count, shrinkage=5.0):
        """Move mean and variance towards those of other recordings.

        Their share is count / (count + shrinkage). A value without influence
        stays without.

        Arguments
        ---------
        mean, variance : torch.Tensor
            Of the embeddings of these recordings, fp64 [values].
        count : int
            Number of these embeddings; a variance takes two or more.
        shrinkage : float
            The number at which both have the same share.
        """
        share = count / (count + shrinkage)
        parts = self.scale.double().split(list(self.sizes.values()))
        before = torch.cat(
            [1 / (max(len(part), 1) ** 0.5 * part) for part in parts]
        ).square()
        now = before
        if count > 1:
            now = share * variance.to(before) + (1 - share) * before
        self.mean.copy_(share * mean.to(before) + (1 - share) * self.mean)
        # An unused value has scale 0, and before is infinite.
        self.scale.mul_(torch.where(self.scale > 0, (before / now).sqrt(), 0.0))

    def forward(self, embeddings, columns=slice(None)):
        """Standardise embeddings.

        Arguments
        ---------
        embeddings : torch.Tensor
            [batch, values].
        columns : slice
            The values that are returned.

        Returns
        -------
        standardised : torch.Tensor
            [batch, columns].
        """
        values = embeddings[:, columns] - self.mean[columns]
        return values * self.scale[columns]


# ---- modules/models/distance.py
import torch
from torch import nn



class TrainingDistance(nn.Module):
    """Distance of an embedding from those of the training.

    `modules.training.distance_fit` sets the buffers. A distance of 1 is the
    95th percentile of training speakers that are left out in turn, so that 5%
    of the recordings of unseen speakers of the same corpus lie beyond it.

    Arguments
    ---------
    sizes : dict
        Name of a part of the embedding -> number of its values.
    part : str
        The part that is compared; None: the first one.
    components : int
        Directions of largest variance.
    temperature : float
        Divides the scores of recordings beyond a distance of 1: a classifier
        is surer of them than it is right. 2 leaves an expected calibration
        error of 6 to 19 points where 27 to 35 were, between EmoDB, TurEV-DB
        and ASED (recipes/CROSS/README.md).

    Raises
    ------
    BadInput
        If the embedding has no such part.

    Example
    -------
    >>> distance = TrainingDistance({"means": 6, "voice": 2}, part="means")
    >>> distance(torch.randn(3, 8))
    tensor([0., 0., 0.])
    """

    def __init__(
        self,
        sizes: dict[str, int],
        part: str | None = None,
        components: int = 64,
        temperature: float = 2.0,
    ):
        super().__init__()
        names = [name for name, size in sizes.items() if size]
        part = names[0] if part is None else part
        if part not in sizes:
            raise BadInput(
                f"distance: the embedding has no part {part!r}: choose one of "
                f"{', '.join(names)}"
            )
        start = sum(
            size
            for name, size in list(sizes.items())[: list(sizes).index(part)]
        )
        values = sizes[part]
        self.columns = slice(start, start + values)
        self.temperature = temperature
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("scale", torch.zeros(values))
        # Directions in rows; those that are not used are 0.
        components = min(components, values)
        self.register_buffer("directions", torch.zeros(components, values))
        self.register_buffer("precision", torch.zeros(components))
        self.register_buffer("residual_precision", torch.zeros(()))

    def forward(self, embeddings):
        """Return distances [batch] of embeddings [batch, values]."""
        values = embeddings[:, self.columns]
        values = (values - self.mean.to(values)) * self.scale
        along = values @ self.directions.T
        # The directions are orthonormal.
        residual = values.square().sum(dim=1) - along.square().sum(dim=1)
        squared = along.square() @ self.precision
        squared = squared + residual.clamp(min=0) * self.residual_precision
        return squared.sqrt()

    @property
    def is_fitted(self):
        """Whether speakers were left out; else every distance is 0."""
        return bool(self.scale.any())

    def temperature_of(self, embeddings):
        """Return what the scores are divided by, [batch, 1]."""
        beyond = self(embeddings)[:, None] > 1
        return 1 + (self.temperature - 1) * beyond


# ---- modules/models/encoder_values.py
import hashlib
import os
import pathlib

import torch
from safetensors import safe_open


# Of Whisper: a formula, which some files have in another rounding.
_COMPUTED = "embed_positions.weight"


def values_digest(folder: str | os.PathLike) -> str:
    """Identify the weights of an encoder, rounded to float16.

    Arguments
    ---------
    folder : str or pathlib.Path
        In HuggingFace format, with safetensors; a decoder is left out.

    Returns
    -------
    str
        SHA-256 over name, shape and rounded values of every tensor.

    Raises
    ------
    BadInput
        If there are no safetensors.
    """
    paths = sorted(pathlib.Path(folder).glob("*.safetensors"))
    if not paths:
        raise BadInput(
            f"{folder} has no *.safetensors, by whose values an encoder is "
            "recognised: give the encoder in that format"
        )
    digest = hashlib.sha256()
    for name, path, key in sorted(_tensors(paths)):
        with safe_open(path, framework="pt") as file:
            # Where float16 has no such value it is infinite, also in a copy.
            values = file.get_tensor(key).to(torch.float16).contiguous()
        digest.update(f"{name} {tuple(values.shape)}\n".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def _tensors(paths):
    """Give (name without prefix, path, key) of an encoder's tensors."""
    for path in paths:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
        for key in keys:
            name = key.removeprefix("model.")
            is_decoder = name.startswith(("decoder.", "proj_out."))
            if not is_decoder and not name.endswith(_COMPUTED):
                yield name, str(path), key


# ---- modules/models/graph.py
import functools
import importlib
import re
from typing import Any

import torch


# Class path -> class. The code of an exported model fills it with the classes
# that lie in the same file, so that nothing of this recipe is imported there.
PACKAGED = {}

# Encoders are no part of a head: making one would fetch what it names.
_OWN = re.compile(
    r"(modules\.models\.(?!encoder|trainable_encoder|upstream)"
    r"|recipes\.)(\w+\.)*\w+"
)
_MOST_PATH = 200
_TORCH = ("torch.nn.Linear", "torch.nn.modules.linear.Linear")
_PARTS = (torch.nn.Module, torch.optim.Optimizer)
_PLAIN = str | int | float | bool | None


def describe(part: Any) -> Any:
    """Return a tree of parts as plain values.

    Arguments
    ---------
    part : functools.partial, type, list, dict or plain value
        From a hyperparameter file; or an object whose ``description()``
        returns what this function would.

    Returns
    -------
    description : dict, list or plain value
        A part is a dict with its ``class`` and its arguments.

    Raises
    ------
    BadInput
        If an argument is neither a part nor a plain value: such a model
        cannot be built again.

    Example
    -------
    >>> describe(functools.partial(torch.nn.Linear, out_features=3))
    {'class': 'torch.nn.modules.linear.Linear', 'out_features': 3}
    """
    if isinstance(part, functools.partial):
        if part.args:
            raise BadInput(
                f"{part.func.__qualname__} has arguments without names: name "
                "them in the hyperparameter file"
            )
        return describe(part.func) | {
            key: describe(value) for key, value in part.keywords.items()
        }
    if isinstance(part, type):
        return {"class": f"{part.__module__}.{part.__qualname__}"}
    if isinstance(part, list | tuple):
        return [describe(value) for value in part]
    if isinstance(part, dict):
        return {key: describe(value) for key, value in part.items()}
    if isinstance(part, _PLAIN):
        return part
    if hasattr(part, "description"):
        return part.description()
    raise BadInput(
        f"{type(part).__name__} is neither a part of a model nor a plain "
        "value: give it to the model by !name: and plain arguments"
    )


def build(description: Any) -> Any:
    """Return the parts of a description; the inverse of `describe`.

    Arguments
    ---------
    description : dict, list or plain value
        From `describe`.

    Raises
    ------
    BadInput
        If it names a class that is not a module of this recipe.

    Example
    -------
    >>> make = build({"class": "torch.nn.Linear", "out_features": 3})
    >>> make(in_features=2)
    Linear(in_features=2, out_features=3, bias=True)
    """
    if isinstance(description, list):
        return [build(value) for value in description]
    if not isinstance(description, dict):
        return description
    arguments = {
        key: build(value)
        for key, value in description.items()
        if key != "class"
    }
    if "class" not in description:
        return arguments
    return functools.partial(find_class(description["class"]), **arguments)


def is_own_class(path: Any) -> bool:
    """Return whether a text is the path of a class of this recipe.

    Example
    -------
    >>> is_own_class("modules.models.fbank.FbankEncoder")
    True
    """
    short = isinstance(path, str) and len(path) <= _MOST_PATH
    return short and _OWN.fullmatch(path) is not None


def find_class(path: str) -> Any:
    """Return the class of a path such as ``torch.nn.Linear``.

    Raises
    ------
    BadInput
        If it is not a module of this recipe or one of PyTorch's that it uses.
    """
    if isinstance(path, str) and path in PACKAGED:
        return PACKAGED[path]
    if not is_own_class(path) and path not in _TORCH:
        raise BadInput(
            f"{path!r:.80} is not a part of this recipe: a model names classes "
            "of modules.models or recipes"
        )
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as problem:
        raise BadInput(
            f"{path} does not exist here: the model was made by another "
            "version of this recipe"
        ) from problem
    if not (isinstance(found, type) and issubclass(found, _PARTS)):
        raise BadInput(
            f"{path} is not a torch.nn.Module: a model names classes of modules"
        )
    return found


def classes(description: Any) -> list[str]:
    """Return the class paths in a description, each once."""
    if isinstance(description, list):
        values, own = description, []
    elif isinstance(description, dict):
        values = list(description.values())
        own = [description["class"]] if "class" in description else []
    else:
        return []
    for value in values:
        own += classes(value)
    return list(dict.fromkeys(own))


# ---- modules/files.py
import contextlib
import csv
import errno
import json
import os
import pathlib
import stat
import tempfile

from safetensors import SafetensorError, safe_open


# No file of settings, results or indices that this recipe writes or reads
# comes near: manifests of a million utterances have 300 MB.
MOST_TEXT = 2**30
# Of a safetensors file; the largest models have 100 KB.
MOST_HEADER = 2**24
# The largest speech encoders have 9 GB.
MOST_WEIGHTS = 2**36


def find_folder(path):
    """Return a folder, or None if there is none of this name.

    A name that is too long, or ``~`` of an unknown user, is none.

    Example
    -------
    >>> find_folder("x" * 1000)
    """
    try:
        folder = pathlib.Path(path).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


def make_whole(folder, marker, description, write):
    """Make a folder whole, or leave no trace of it.

    A folder that is already there with the same description is left as it is.

    Arguments
    ---------
    folder : str or pathlib.Path
        The folder to make.
    marker : str
        Name of the file with the description.
    description : str
        Describes the folder's contents and their settings.
    write : callable
        Gets the path of an empty folder and fills it.

    Returns
    -------
    folder : pathlib.Path
        The finished folder.

    Raises
    ------
    BadInput
        If something else is there already.
    """
    folder = pathlib.Path(folder)
    if (folder / marker).is_file():
        if (folder / marker).read_text(encoding="utf-8") == description:
            return folder
        raise BadInput(
            f"{folder} was made with other settings (see {folder / marker}): "
            "remove it or choose another folder."
        )

    def write_all(partial):
        write(partial)
        (partial / marker).write_text(description, encoding="utf-8")

    return write_whole(folder, write_all)


def check_vacant(folder):
    """Refuse a folder that something is in already.

    Raises
    ------
    BadInput
        If it is neither missing nor empty.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadInput(
            f"{folder} exists and contains something else: choose a folder that "
            "does not exist yet."
        )


def write_whole(folder, write):
    """Write a new folder whole, or leave no trace of it.

    Arguments
    ---------
    folder : str or pathlib.Path
        The folder to make.
    write : callable
        Gets the path of an empty folder and fills it.

    Returns
    -------
    folder : pathlib.Path
        The finished folder.

    Raises
    ------
    BadInput
        If something is there already.
    """
    folder = pathlib.Path(folder)
    check_vacant(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden = f".{folder.name}."
    try:
        # A sibling, because only a rename within one file system is atomic.
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=hidden
        ) as unfinished:
            partial = pathlib.Path(unfinished) / folder.name
            partial.mkdir()
            write(partial)
            sync_tree(partial)
            os.replace(partial, folder)
    except OSError as problem:
        # The user gave no such name.
        named = os.fsdecode(problem.filename or "")
        if named.startswith(str(folder.parent / hidden)):
            problem.filename = str(folder)
        raise
    sync(folder.parent)
    return folder


@contextlib.contextmanager
def whole_file(path):
    """Give a path to write to; the file gets its name when it is finished.

    The content is on the disk before the name is: a machine that loses its
    power leaves the file as it was, or the new one, never an empty one.

    Arguments
    ---------
    path : str or pathlib.Path
        Of the finished file.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            partial.unlink()
        # What write() raises names no file.
        if isinstance(problem, OSError):
            if problem.filename in (None, str(partial), partial):
                problem.filename = str(path)
        raise
    sync(path.parent)


def sync(path):
    """Wait until a file, or the names in a folder, are on the disk.

    A file system that cannot do so is left alone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            problem.filename = str(path)
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder):
    """Wait until all files of a folder, and their names, are on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync(os.path.join(parent, name))
        sync(parent)


def write_text(path, text):
    """Write a text file whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_rows(path, rows):
    """Write rows (list of dict of the same keys) as CSV, whole."""
    with (
        whole_file(path) as partial,
        open(partial, "w", encoding="utf-8", newline="") as out,
    ):
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def check_file(path, most=MOST_TEXT):
    """Refuse what is no regular file or is too large, before it is opened.

    Opening a named pipe would wait for ever.

    Arguments
    ---------
    path : str or pathlib.Path
        Links are followed.
    most : int
        Bytes.

    Raises
    ------
    ValueError
        Saying which of the two.
    OSError
        If there is nothing.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(
            errno.EISDIR, os.strerror(errno.EISDIR), str(path)
        )
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size > most:
        raise ValueError(f"it has {status.st_size} bytes, more than {most}")


def read_text(path, most=MOST_TEXT):
    """Read a UTF-8 text of bounded size; see `check_file` for the errors."""
    check_file(path, most)
    return pathlib.Path(path).read_text(encoding="utf-8")


def read_json(path, most=MOST_TEXT):
    """Read a JSON file of bounded size.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or is no JSON or nested too deeply.
    """
    try:
        return json.loads(read_text(path, most))
    except RecursionError as problem:
        raise ValueError("it is nested too deeply") from problem


def read_weights_index(path, most=MOST_HEADER):
    """Return name -> shape of the tensors in a safetensors file.

    The header alone is read.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    check_file(path, MOST_WEIGHTS)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > most:
        raise ValueError(f"its header has {length} bytes, more than {most}")
    try:
        with safe_open(path, framework="pt") as file:
            return {
                name: tuple(file.get_slice(name).get_shape())
                for name in file.keys()
            }
    except SafetensorError as problem:
        raise ValueError(str(problem)) from problem


def write_json(path, values):
    """Write values as indented JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")


# ---- modules/models/egemaps.py
import hashlib
import importlib.metadata

import torch
from torch import nn
from torch.nn import functional as F


# What encoder_hub and acoustics call it.
EGEMAPS = "egemaps"

_FEATURE_SET = "eGeMAPSv02"
# Samples; openSMILE computes nothing of much less.
_SHORTEST_SEGMENT = 1600


def _version():
    """Return the version of opensmile.

    Raises
    ------
    BadInput
        If it is not installed.
    """
    try:
        return importlib.metadata.version("opensmile")
    except importlib.metadata.PackageNotFoundError as problem:
        raise BadInput(
            "egemaps needs opensmile, whose licence allows no commercial use: "
            "pip install -r requirements-opensmile.txt -c constraints.txt, or "
            "choose vocal"
        ) from problem


class EgemapsEncoder(nn.Module):
    """The 88 functionals of an utterance, as one frame of one layer."""

    num_hidden_states = 1
    hidden_size = 88
    is_whisper = False

    def __init__(self):
        super().__init__()
        _version()
        import opensmile

        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet[_FEATURE_SET],
            feature_level=opensmile.FeatureLevel.Functionals,
        )

    def count_frames(self, samples):
        """Return the frames of an utterance: one."""
        return 1

    def computed_seconds(self, seconds):
        """Return the seconds of audio that an utterance costs."""
        return seconds

    @torch.no_grad()
    def forward(self, wavs, lengths=None):
        """Transform; see `modules.models.encoder.FrozenEncoder.forward`.

        Zeros are added to less than a tenth of a second.
        """
        if lengths is None:
            lengths = torch.ones(len(wavs))
        samples = torch.round(lengths.cpu().double() * wavs.shape[1])
        features = []
        for wav, count in zip(wavs.cpu().float(), samples.long().tolist()):
            wav = F.pad(wav[:count], (0, max(_SHORTEST_SEGMENT - count, 0)))
            values = self.smile.process_signal(wav.numpy(), SAMPLE_RATE)
            features.append(torch.tensor(values.to_numpy()))
        states = torch.stack(features)[None].to(wavs.device)
        return states, torch.ones(len(wavs), dtype=torch.int64).to(wavs.device)


class EgemapsUpstream:
    """What is known of `EgemapsEncoder` without making it.

    See `modules.models.upstream.HubUpstream`.
    """

    is_local = False
    folder = None
    num_hidden_states, hidden_size = (
        EgemapsEncoder.num_hidden_states,
        EgemapsEncoder.hidden_size,
    )
    count_frames = EgemapsEncoder.count_frames
    computed_seconds = EgemapsEncoder.computed_seconds

    def digest(self, precision="fp32"):
        """Return the SHA-256 of its settings and of opensmile's version."""
        text = f"{_FEATURE_SET} {_SHORTEST_SEGMENT} {_version()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def make(self, precision="fp32"):
        """Return the encoder."""
        return EgemapsEncoder()


# ---- modules/models/encoder_config.py
import math


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


# ---- modules/models/encoder_files.py
import hashlib
import json
import os
import pathlib
import re
import stat

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError


# Goes into the digest of an encoder: raise it when the code that computes
# hidden states changes what comes out for the same weights.
FEATURES_VERSION = 2

_WEIGHTS = ("*.safetensors", "*.bin")
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")

# The largest speech encoders stay far below.
_MOST_ENTRIES = 10_000


def locate_encoder(encoder_hub, revision=None):
    """Return the local folder of an encoder, downloading it if need be.

    Arguments
    ---------
    encoder_hub : str
        A local folder in HuggingFace format, or a name on the Hub.
    revision : str
        Branch, tag or commit on the Hub; its main branch by default.

    Returns
    -------
    folder : pathlib.Path
        Contains config.json, preprocessor_config.json and the weights.

    Raises
    ------
    BadInput
        If there is no such folder and the Hub cannot deliver it, if a file
        is missing in it, or if a file in it could run code.
    """
    folder = find_folder(encoder_hub)
    if folder is None:
        folder = _download(str(encoder_hub), revision)
    for needed in (("config.json",), ("preprocessor_config.json",), _WEIGHTS):
        if not any(any(folder.glob(pattern)) for pattern in needed):
            raise BadInput(
                f"encoder folder {folder} contains no {' or '.join(needed)}: "
                "encoder_hub must name a complete model in HuggingFace format"
            )
    check_files(folder)
    return folder


def _download(encoder_hub, revision):
    """Fetch config and weights; safetensors where the Hub has them."""
    small = ["config.json", "preprocessor_config.json"]
    # Not "*.safetensors": some repositories keep other precisions beside.
    safe = ["model.safetensors", "model-*.safetensors", "*.index.json"]
    if looks_like_path(encoder_hub):
        raise BadInput(
            f"encoder '{encoder_hub}' is neither a folder here nor a name on "
            "the Hub: give a folder in HuggingFace format, or a name such as "
            "microsoft/wavlm-large"
        )
    try:
        folder = pathlib.Path(
            snapshot_download(
                encoder_hub, revision=revision, allow_patterns=small + safe
            )
        )
        if not any(folder.glob("*.safetensors")):
            snapshot_download(
                encoder_hub,
                revision=revision,
                allow_patterns=["pytorch_model*.bin", "*.index.json"],
            )
        return folder
    except (LocalEntryNotFoundError, HFValidationError, OSError) as problem:
        raise BadInput(
            f"encoder '{encoder_hub}' is neither a folder here nor to be had "
            "from the HuggingFace Hub: check the name, or the network, or "
            f"give a local folder with --encoder_hub ({type(problem).__name__})"
        ) from problem


def looks_like_path(name):
    """Return whether a text cannot be a name on the Hub.

    Example
    -------
    >>> looks_like_path("./wavlm"), looks_like_path("microsoft/wavlm-large")
    (True, False)
    """
    return not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name, re.ASCII)


def check_files(folder):
    """Refuse what could run code or hang among the files of an encoder.

    Raises
    ------
    BadInput
        Naming the file.
    """
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= _MOST_ENTRIES:
                raise BadInput(
                    f"encoder folder {folder} has more than {_MOST_ENTRIES} "
                    "files: give a folder that contains the encoder alone"
                )
            _check_entry(folder, entry)
    for pattern in ("*.index.json",):
        for path in folder.glob(pattern):
            _check_index(path)
    for name in _CONFIGS:
        if os.path.lexists(folder / name):
            check_values(folder / name, read_values(folder / name))


def _check_entry(folder, entry):
    """Refuse a file that is code, names another model or is no file."""
    if entry.name.endswith((".py", ".pyc", ".so")):
        raise BadInput(
            f"encoder folder {folder} contains code ({entry.name}), which is "
            "never run: delete it if the encoder works without"
        )
    if entry.name == "adapter_config.json":
        raise BadInput(
            f"encoder folder {folder} contains an adapter to another model "
            "(adapter_config.json): merge the two and give the result"
        )
    expected = entry.name.endswith((".json", ".safetensors", ".bin"))
    try:
        status = entry.stat()
    except OSError as problem:
        if not expected:
            return
        raise BadInput(
            f"{folder / entry.name} cannot be read ({problem.strerror}): copy "
            "the encoder again"
        ) from problem
    regular = stat.S_ISREG(status.st_mode)
    if not regular and (expected or not stat.S_ISDIR(status.st_mode)):
        raise BadInput(
            f"{folder / entry.name} is not a regular file: copy the encoder "
            "again"
        )
    if expected and status.st_size > MOST_WEIGHTS:
        raise BadInput(
            f"{folder / entry.name} has {status.st_size / 1e9:.0f} GB, more "
            f"than {MOST_WEIGHTS / 1e9:.0f}: give a smaller encoder"
        )
    if entry.name.endswith(".safetensors"):
        try:
            read_weights_index(folder / entry.name)
        except (OSError, ValueError) as problem:
            raise BadInput(
                f"{folder / entry.name} is damaged ({problem}): download the "
                "encoder again"
            ) from problem


def _check_index(path):
    """Refuse an index of weights that names files elsewhere."""
    places = read_values(path).get("weight_map")
    if not isinstance(places, dict):
        raise BadInput(f"{path} has no weight_map: download the model again")
    for name in places.values():
        if not isinstance(name, str) or os.path.basename(name) != name:
            raise BadInput(
                f"{path} names a file outside of its folder ({name!r:.60}): "
                "do not use this encoder"
            )


def weights_bytes(folder):
    """Return the size of all weights in a folder."""
    return sum(
        path.stat().st_size
        for pattern in _WEIGHTS
        for path in pathlib.Path(folder).glob(pattern)
    )


def encoder_digest(folder, precision="fp32", window=None):
    """Identify everything that decides what an encoder returns.

    Arguments
    ---------
    folder : pathlib.Path
        See `locate_encoder`.
    precision : str
        A key of `modules.models.encoder.PRECISIONS`.
    window : int or str
        Of Whisper, see `modules.models.whisper_window`; None for others.

    Returns
    -------
    digest : str
        SHA-256 over configuration, input normalisation, weights, precision,
        window and the version of the arithmetic.
    """
    what = f"{FEATURES_VERSION} {precision}"
    if window is not None:
        what += f" window {window}"
    digest = hashlib.sha256(what.encode())
    for name in ("config.json", "preprocessor_config.json"):
        content = read_values(folder / name)
        digest.update(json.dumps(content, sort_keys=True).encode())
    for pattern in _WEIGHTS:
        for path in sorted(folder.glob(pattern)):
            digest.update(_file_digest(path))
    return digest.hexdigest()


def _file_digest(path):
    """Return the SHA-256 of a file; hashlib.file_digest needs Python 3.11."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.digest()


# ---- modules/models/encoder_loading.py
import contextlib
import pathlib

import torch
from torch import nn



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


# ---- modules/models/whisper_window.py
from typing import Any

import torch
from torch.nn import functional as F


# The window is the next multiple of 2 s.
FIT = "fit"
_STEP = 2 * SAMPLE_RATE

# Samples of one frame of Whisper's encoder: 20 ms.
FRAME = SAMPLE_RATE // 50


def check_window(window: int | str | None, longest: int) -> int | str | None:
    """Return a window, None for the longest; refuse one that does not exist.

    Arguments
    ---------
    window : int or str
        Seconds, "fit", or None for the longest.
    longest : int
        Frames that the encoder has position embeddings for.

    Raises
    ------
    BadInput
        Naming the window and the longest one.

    Example
    -------
    >>> check_window(6, longest=1500), check_window(30, longest=1500)
    (6, None)
    """
    if window is None or window == FIT:
        return window
    seconds = longest * FRAME // SAMPLE_RATE
    if isinstance(window, bool) or not isinstance(window, int):
        raise BadInput(
            f"whisper_window must be fit, or seconds from 1 to {seconds}, not "
            f"{window}"
        )
    if not 1 <= window <= seconds:
        raise BadInput(
            f"whisper_window {window} must be from 1 to the {seconds} s that "
            "this encoder has positions for"
        )
    return None if window == seconds else window


def split_into_windows(
    samples: int, window: int | str | None, longest: int
) -> list[tuple[int, int]]:
    """Return the parts of an utterance and the window of each.

    Arguments
    ---------
    samples : int
        Length of the utterance at 16 kHz.
    window : int or str
        Seconds, "fit", or None for the longest.
    longest : int
        Samples of the longest window.

    Returns
    -------
    parts : list of tuple
        Samples of the part and of its window. "fit" divides utterances that
        are longer than the longest window into parts of equal length and
        equal windows; other windows into full windows and a rest.

    Example
    -------
    >>> split_into_windows(40_000, "fit", 480_000)
    [(40000, 64000)]
    >>> split_into_windows(40_000, None, 480_000)
    [(40000, 480000)]
    """
    if not isinstance(window, str):
        size = longest if window is None else window * SAMPLE_RATE
        return [
            (min(size, samples - start), size)
            for start in range(0, samples, size)
        ]
    count = -(-samples // longest)
    # Whole frames, so that the frames of the parts add up.
    size = -(-samples // (count * FRAME)) * FRAME
    fitting = min(-(-size // _STEP) * _STEP, longest)
    return [
        (min(size, samples - start), fitting)
        for start in range(0, samples, size)
    ]


def encode_window(encoder: Any, mels: torch.Tensor) -> torch.Tensor:
    """Return the hidden states of windows of any length.

    transformers' forward pass accepts the full window alone. For that one both
    give the same values, which a test compares.

    Arguments
    ---------
    encoder : transformers.models.whisper.modeling_whisper.WhisperEncoder
        In evaluation mode.
    mels : torch.Tensor
        Log-mel spectrograms, [windows, bands, 2 * frames].

    Returns
    -------
    hidden_states : torch.Tensor
        [layers, windows, frames, hidden_size].
    """
    states = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mels)))).transpose(1, 2)
    states = states + encoder.embed_positions.weight[: states.shape[1]]
    hidden_states = [states]
    for layer in encoder.layers:
        states = layer(states, None)
        hidden_states.append(states)
    hidden_states[-1] = encoder.layer_norm(states)
    return torch.stack(hidden_states)


def log_mel(wrapper, waveform: torch.Tensor, size: int) -> torch.Tensor:
    """Return the log-mel spectrogram of one window, [1, bands, frames].

    The floor is relative to the maximum of the spectrogram, therefore one window
    at a time. Padding beyond the window keeps its last frames
    those of the spectrogram of 30 s.

    Arguments
    ---------
    wrapper : modules.models.encoder_loading.WhisperModel
    waveform : torch.Tensor
        At most ``size`` samples.
    size : int
        Samples of the window.
    """
    padded = min(size + wrapper.n_fft, 30 * SAMPLE_RATE)
    audio = F.pad(waveform, (0, padded - len(waveform)))
    spectrum = torch.stft(
        audio[None],
        wrapper.n_fft,
        wrapper.hop_length,
        window=torch.hann_window(wrapper.n_fft, device=audio.device),
        return_complex=True,
    )
    power = spectrum[..., :-1].abs() ** 2
    mels = (wrapper._mel_filters @ power).clamp(min=1e-10).log10()
    mels = torch.maximum(mels, mels.max() - 8.0)
    return ((mels + 4.0) / 4.0)[..., : size // wrapper.hop_length]


# ---- modules/models/encoder.py
import copy
import warnings

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize


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


# ---- modules/models/fbank.py
import hashlib
import json

import torch
from torch import nn


# What encoder_hub calls it.
FBANK = "fbank"

# SpeechBrain's Fbank; hop and window in milliseconds.
FBANK_SETTINGS = {"n_mels": 80, "n_fft": 400, "hop_length": 10}

_FBANK_HOP = SAMPLE_RATE * FBANK_SETTINGS["hop_length"] // 1000

# Goes into the digest: raise it when the code below changes what comes out.
_FBANK_VERSION = 1


class FbankEncoder(nn.Module):
    """SpeechBrain's log-mel filter banks, as an encoder of one layer.

    The mean over time of each channel of an utterance is taken off. Every
    utterance is transformed alone: the floor of the decibels is relative to
    its own maximum, and its last frame does not include padding.

    Example
    -------
    >>> states, frames = FbankEncoder()(torch.randn(2, 16000))
    >>> states.shape, frames.tolist()
    (torch.Size([1, 2, 101, 80]), [101, 101])
    """

    num_hidden_states = 1
    hidden_size = FBANK_SETTINGS["n_mels"]
    is_whisper = False

    def __init__(self):
        super().__init__()
        # SpeechBrain is imported where it is used: it takes a second.
        from speechbrain.lobes.features import Fbank

        self.fbank = Fbank(sample_rate=SAMPLE_RATE, **FBANK_SETTINGS)
        self.requires_grad_(False)

    def count_frames(self, samples):
        """Return the frames of an utterance, at 100 per second."""
        return samples // _FBANK_HOP + 1

    def computed_seconds(self, seconds):
        """Return the seconds of audio that an utterance costs."""
        return seconds

    @torch.no_grad()
    def forward(self, wavs, lengths=None):
        """Transform; see `modules.models.encoder.FrozenEncoder.forward`."""
        if lengths is None:
            lengths = torch.ones(len(wavs))
        samples = torch.round(lengths.cpu().double() * wavs.shape[1])
        features = []
        for wav, count in zip(wavs, samples.long().tolist()):
            bands = self.fbank(wav[None, :count])[0]  # [frames, hidden_size]
            features.append(bands - bands.mean(dim=0))
        frames = torch.tensor([len(one) for one in features])
        padded = nn.utils.rnn.pad_sequence(features, batch_first=True)
        return padded[None], frames.to(wavs.device)


class FbankUpstream:
    """What is known of `FbankEncoder` without making it.

    See `modules.models.upstream.HubUpstream`.
    """

    is_local = False
    folder = None
    num_hidden_states, hidden_size = (
        FbankEncoder.num_hidden_states,
        FbankEncoder.hidden_size,
    )
    count_frames = FbankEncoder.count_frames
    computed_seconds = FbankEncoder.computed_seconds

    def digest(self, precision="fp32"):
        """Return the SHA-256 of its settings; it computes in fp32 always."""
        settings = {"version": _FBANK_VERSION, **FBANK_SETTINGS}
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def make(self, precision="fp32"):
        """Return the encoder."""
        return FbankEncoder()


# ---- modules/models/upstream.py
import hashlib
import inspect


# Stands between the names of two upstreams; no name on the Hub has it.
_AND = ","

# Features that are code of this recipe.
_FEATURES = {
    EGEMAPS: EgemapsUpstream,
    FBANK: FbankUpstream,
    VOCAL: VocalUpstream,
}


class HubUpstream:
    """What is known of an encoder without loading its weights.

    Arguments
    ---------
    encoder_hub : str
        A local folder or a name on the HuggingFace Hub.
    revision : str
        Branch, tag or commit on the Hub.
    whisper_window : int or str
        See `modules.models.whisper_window`; other encoders have none.

    Attributes
    ----------
    folder : pathlib.Path
        On this machine.
    is_local : bool
        Whether ``encoder_hub`` is a folder.
    num_hidden_states, hidden_size : int
        Of the encoder; transformer layers plus one, and channels.
    """

    def __init__(self, encoder_hub, revision=None, whisper_window=None):
        self.is_local = find_folder(encoder_hub) is not None
        self.folder = locate_encoder(encoder_hub, revision)
        self.config = read_config(self.folder)
        self.num_hidden_states, self.hidden_size = encoder_shape(self.config)
        self.whisper_window = None
        if self.config.model_type == "whisper":
            self.whisper_window = check_window(
                whisper_window, self.config.max_source_positions
            )

    def count_frames(self, samples):
        """Return the frames of an utterance."""
        return count_frames(self.config, samples)

    def computed_seconds(self, seconds):
        """Return the seconds of audio that encoding an utterance costs."""
        return computed_seconds(self.config, self.whisper_window, seconds)

    def digest(self, precision="fp32"):
        """Identify all that decides what it returns."""
        return encoder_digest(self.folder, precision, self.whisper_window)

    def make(self, precision="fp32"):
        """Return the encoder."""
        return FrozenEncoder(
            self.folder,
            precision=precision,
            whisper_window=self.whisper_window,
        )


class CodeUpstream:
    """An encoder that is a class of this recipe and has no pretrained weights.

    docs/adding.md adds one.

    Arguments
    ---------
    path : str
        Path of the class, a `torch.nn.Module` without arguments. It has
        ``num_hidden_states``, ``hidden_size``, ``count_frames`` and the
        ``forward`` of `modules.models.fbank.FbankEncoder`.

    Raises
    ------
    BadInput
        If there is no such class, or it is not an encoder.

    Example
    -------
    >>> CodeUpstream("modules.models.fbank.FbankEncoder").hidden_size
    80
    """

    is_local = False
    folder = None

    def __init__(self, path: str):
        self.path = path
        self.make_it = find_class(path)
        if not hasattr(self.make_it, "count_frames"):
            raise BadInput(f"{path} is not an encoder: it has no count_frames")
        self.num_hidden_states = self.make_it.num_hidden_states
        self.hidden_size = self.make_it.hidden_size

    def count_frames(self, samples):
        """Return the frames of an utterance."""
        return self.make_it.count_frames(samples)

    def computed_seconds(self, seconds):
        """Return the seconds of audio that encoding an utterance costs."""
        return seconds

    def digest(self, precision="fp32"):
        """Return the SHA-256 of the class's path and source."""
        text = f"{self.path}\n{inspect.getsource(self.make_it)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def make(self, precision="fp32"):
        """Return the encoder."""
        return self.make_it()


class UpstreamPair:
    """Two upstreams of the same waveforms.

    Arguments
    ---------
    first, second : HubUpstream or modules.models.fbank.FbankUpstream

    Attributes
    ----------
    folder : pathlib.Path
        Of the one that has weights; None if none or both have.
    """

    def __init__(self, first, second):
        self.parts = first, second
        folders = [part.folder for part in self.parts if part.folder]
        self.folder = folders[0] if len(folders) == 1 else None
        self.has_two_folders = len(folders) == 2
        self.is_local = first.is_local or second.is_local
        self.num_hidden_states = (
            first.num_hidden_states,
            second.num_hidden_states,
        )
        self.hidden_size = first.hidden_size, second.hidden_size

    def digest(self, precision="fp32"):
        """Identify both, in this order."""
        return pair_digest(part.digest(precision) for part in self.parts)

    def make(self, precision="fp32"):
        """Return one encoder that is both."""
        return PairedEncoder(*(part.make(precision) for part in self.parts))


def pair_digest(digests):
    """Return one digest of several."""
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def upstream_names(encoder_hub):
    """Return the names in ``encoder_hub``: one or two.

    A folder is one, whatever it is called.

    Example
    -------
    >>> upstream_names("openai/whisper-tiny.en,fbank")
    ['openai/whisper-tiny.en', 'fbank']
    """
    if find_folder(encoder_hub):
        return [encoder_hub]
    first, _, second = str(encoder_hub).rpartition(_AND)
    if first and find_folder(first):
        return [first, second.strip()]
    names = [name.strip() for name in str(encoder_hub).split(_AND)]
    if len(names) > 2:
        raise BadInput(
            f"encoder_hub '{encoder_hub}' names {len(names)} upstreams: name "
            "one, or two with a comma between them; acoustics is one of them"
        )
    return names


def join_names(encoder_hub: str, acoustics: str | None = None) -> str:
    """Return one name for an encoder and what is used beside it.

    Example
    -------
    >>> join_names("openai/whisper-tiny.en", "vocal")
    'openai/whisper-tiny.en,vocal'
    """
    both = encoder_hub if acoustics is None else f"{encoder_hub},{acoustics}"
    upstream_names(both)
    return both


def is_code(name: str) -> bool:
    """Return whether an upstream is code of this recipe, without files.

    Example
    -------
    >>> is_code("vocal"), is_code("openai/whisper-tiny.en")
    (True, False)
    """
    return name in _FEATURES or is_own_class(name)


def replace_encoder(encoder_hub: str, other: str) -> str:
    """Return upstreams with another place of the encoder.

    Features of the voice stay; a name with a comma replaces all.

    Example
    -------
    >>> replace_encoder("openai/whisper-tiny.en,vocal", "/models/tiny")
    '/models/tiny,vocal'
    """
    names = upstream_names(encoder_hub)
    encoders = [name for name in names if not is_code(name)]
    if len(encoders) != 1:
        return other
    return _AND.join(other if n == encoders[0] else n for n in names)


def revisions_of(names: list[str], revision: str | None) -> list[str | None]:
    """Return a revision for each name: the first that has weights gets it.

    Example
    -------
    >>> revisions_of(["vocal", "openai/whisper-tiny.en"], "main")
    [None, 'main']
    """
    first = next((name for name in names if not is_code(name)), None)
    return [revision if name == first else None for name in names]


def open_upstream(encoder_hub, revision=None, whisper_window=None, folder=None):
    """Return what is known of the upstream of a name.

    Arguments
    ---------
    encoder_hub : str
        "fbank", "vocal", "egemaps", a local folder, a name on the
        HuggingFace Hub, the path of a class of this recipe (see
        `CodeUpstream`), or two of these with a comma between them.
    revision : str
        Branch, tag or commit on the Hub, of the first that has weights.
    whisper_window : int or str
        See `modules.models.whisper_window`; for Whisper alone.
    folder : pathlib.Path
        Has the files of the encoder, whatever its name is; None: its name
        leads to them.

    Raises
    ------
    BadInput
        If it cannot be had.
    """
    names = upstream_names(encoder_hub)
    if len(names) == 2:
        return UpstreamPair(
            *(
                open_upstream(name, own, whisper_window, folder)
                for name, own in zip(names, revisions_of(names, revision))
            )
        )
    if names[0] in _FEATURES:
        return _FEATURES[names[0]]()
    if is_own_class(encoder_hub):
        return CodeUpstream(encoder_hub)
    return HubUpstream(folder or encoder_hub, revision, whisper_window)


def make_encoder(
    encoder_hub, revision=None, precision="fp32", whisper_window=None
):
    """Return the encoder of a name; see `open_upstream`."""
    return open_upstream(encoder_hub, revision, whisper_window).make(precision)


# ---- modules/inference/emotion_model.py
import pathlib
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn


WEIGHTS = "head.safetensors"
LABELS = "label_encoder.txt"
ENCODER_FOLDER = "encoder"

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
    encoder_values : str
        `modules.models.encoder_values.values_digest` of the encoder; an
        encoder that is not in the model's folder must have it.
    channel : str
        "mean", "left" or "right": what the training read of stereo.
    """

    encoder: Any  # None until `load`

    def __init__(
        self,
        encoder_hub,
        encoder_revision,
        encoder_files,
        whisper_window,
        members,
        head,
        sizes,
        encoder_values=None,
        channel="mean",
    ):
        super().__init__()
        self.encoder_hub = encoder_hub
        self.encoder_revision = encoder_revision
        self.encoder_files = list(encoder_files)
        self.whisper_window = whisper_window
        self.sizes = dict(sizes)
        self.encoder_values = encoder_values
        self.channel = channel
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
        folder = pathlib.Path(paths[0]).parent if paths else None
        paired = pair_of_sizes(self.sizes["num_hidden_states"])
        upstream = open_upstream(
            self.encoder_hub if paired or not paths else folder,
            None if paths else self.encoder_revision,
            self.whisper_window,
            folder,
        )
        for key in ("num_hidden_states", "hidden_size"):
            found = np.ravel(getattr(upstream, key)).tolist()
            needed = np.ravel(self.sizes[key]).tolist()
            if found != needed:
                raise BadInput(
                    f"the encoder {self.encoder_hub} has {key} {found} and the "
                    f"head needs {needed}: export the model again"
                )
        if not paths and self.encoder_values:
            self._check_encoder(upstream)
        self.encoder = upstream.make()
        self.requires_grad_(False)
        self.eval()

    def _check_encoder(self, upstream):
        """Refuse an encoder with other weights than that of the training."""
        folder = upstream.folder
        if folder is None or values_digest(folder) != self.encoder_values:
            raise BadInput(
                f"the encoder {self.encoder_hub} has other weights than the one "
                "that the model was trained on: give that one with "
                "--encoder_hub"
            )

    def embed(self, wavs, lengths=None):
        """Return the embeddings of all heads, concatenated.

        Arguments
        ---------
        wavs : torch.Tensor
            Mono waveforms at 16 kHz, padded; [batch, samples].
        lengths : torch.Tensor
            In samples or as shares of the longest, see
            `modules.models.padding.count_samples`; [batch].

        Returns
        -------
        embeddings : torch.Tensor
            [batch, members * values].
        """
        if lengths is not None:
            longest = wavs.shape[1]
            lengths = count_samples(lengths, longest) / longest
        states, frames = self.encoder(wavs, lengths)
        return self.pool(states, frames / frames.max())

    def pool(self, hidden_states, lengths):
        """Return what `embed` returns, of the encoder's hidden states.

        Arguments
        ---------
        hidden_states, lengths
            See `modules.models.embedding.Embedding.forward`.
        """
        return torch.cat(
            [head.embedding(hidden_states, lengths) for head in self.heads],
            dim=1,
        )

    def classify(self, embeddings):
        """Return the log of the mean probabilities, [batch, classes].

        Raises
        ------
        BadInput
            If they are not finite.
        """
        scores = self.combine(embeddings)
        if not scores.isfinite().all():
            raise BadInput(
                "the model's probabilities for a recording are not finite: "
                "give a recording of ordinary loudness, or another model"
            )
        return scores

    def combine(self, embeddings):
        """Return what `classify` returns, whatever the values are."""
        parts = embeddings.chunk(len(self.heads), dim=1)
        members = [head.classify(part) for head, part in zip(self.heads, parts)]
        if len(members) == 1:
            return members[0]
        total = torch.logsumexp(torch.stack(members), dim=0)
        return torch.log_softmax(total, dim=1)

    @property
    def is_adapted(self):
        """Whether it is adapted, see `modules.inference.adaptation`."""
        return any(head.temperature != 1 for head in self.heads)

    def distances(self, embeddings):
        """Return the mean distance of all heads from their training, [batch].

        None if they have none, see `modules.models.distance`.
        """
        if not all(h.distance and h.distance.is_fitted for h in self.heads):
            return None
        parts = embeddings.chunk(len(self.heads), dim=1)
        found = [head.distance(part) for head, part in zip(self.heads, parts)]
        return torch.stack(found).mean(dim=0)

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


# ---- modules/inference/speechbrain_interface.py
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


PACKAGED['modules.models.head.EmotionHead'] = EmotionHead
PACKAGED['modules.models.joint_embedding.JointEmbedding'] = JointEmbedding
PACKAGED['modules.models.fusion.OneUpstream'] = OneUpstream
PACKAGED['modules.models.embedding.Embedding'] = Embedding
PACKAGED['modules.models.layer_pooling.LayerStack'] = LayerStack
PACKAGED['modules.models.pooling.MeanPooling'] = MeanPooling
PACKAGED['modules.models.layer_pooling.OneLayer'] = OneLayer
PACKAGED['modules.models.channels.EvenChannels'] = EvenChannels
PACKAGED['modules.models.pooling.CorrelationPooling'] = CorrelationPooling
PACKAGED['modules.models.pooling.MeanStdPooling'] = MeanStdPooling
PACKAGED['modules.models.functionals.FunctionalsPooling'] = FunctionalsPooling
PACKAGED['modules.models.standardization.Standardization'] = Standardization
PACKAGED['modules.models.distance.TrainingDistance'] = TrainingDistance

import sys
import types

sys.modules[__name__] = types.ModuleType(__name__)
sys.modules[__name__].__dict__.update(globals())
