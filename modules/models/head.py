"""The trained part: hidden states of a frozen encoder become emotions."""

import torch
from torch import nn

from modules.errors import BadInput
from modules.models.ecapa import POOLINGS
from modules.models.fusion import PairPooling
from modules.models.layer_pooling import LayerPooling, LayerStack
from modules.models.pooling import ChannelDropout

LAYER_POOLINGS = {"sum": LayerPooling, "stack": LayerStack}

# Utterances pooled together on a CPU.
_LIKE_LENGTHS = 4


def check_pooling(pooling):
    """Refuse an unknown pooling with the list of choices.

    Raises
    ------
    BadInput
        If there is no pooling of that name.
    """
    if pooling not in POOLINGS:
        raise BadInput(
            f"pooling '{pooling}' is unknown: choose one of "
            f"{', '.join(POOLINGS)}"
        )


class Standardization(nn.Module):
    """Give the values of an embedding mean 0 and small variances.

    All values together have variance 1, whatever their number: what a
    classifier's weights cost then depends on no encoder's width. Where an
    embedding has several moments, each has the same share of it.

    Arguments
    ---------
    sizes : list of int
        Number of values of each moment.
    """

    def __init__(self, sizes):
        super().__init__()
        self.sizes = [size for size in sizes if size]
        self.register_buffer("mean", torch.zeros(sum(sizes)))
        self.register_buffer("scale", torch.ones(sum(sizes)))

    def fit(self, embeddings, moments=None):
        """Take mean and deviation from training embeddings.

        Arguments
        ---------
        embeddings : torch.Tensor
            [n, values].
        moments : int
            How many of the first are kept; the others become 0. None: all.
        """
        self.mean.copy_(embeddings.mean(dim=0))
        deviation = embeddings.std(dim=0, correction=0)
        # A value that never changes in training says nothing in a test.
        constant = deviation < 1e-6 * embeddings.abs().amax(dim=0).clamp(min=1)
        self.scale.copy_((1 / deviation).masked_fill(constant, 0.0))
        kept = moments or len(self.sizes)
        for i, moment in enumerate(self.scale.split(self.sizes)):
            moment *= (kept * len(moment)) ** -0.5 if i < kept else 0.0

    def forward(self, embeddings):
        """Return standardised embeddings [batch, size]."""
        return (embeddings - self.mean) * self.scale


class EmotionHead(nn.Module):
    """Layer pooling, projection, channel dropout, pooling, linear classifier.

    Arguments
    ---------
    layers : int
        Number of hidden states of the encoder; of two encoders a pair, see
        `modules.models.fusion`.
    width : int
        Width of a hidden state; of two encoders a pair.
    classes : int
        Number of emotions.
    projection_size : int
        Number of channels after the projection (d in the paper); None: there
        is none.
    pooling : str
        A key of `modules.models.pooling.POOLINGS`.
    attention_heads : int
        Heads of the attentive pooling; others have none.
    channel_dropout : float
        Probability to drop a channel while training (p_d in the paper).
    normalize_layers : bool
        See `modules.models.layer_pooling.LayerPooling`.
    layer_pooling : str
        "sum": weighted, as in the paper; "stack": side by side, see
        `modules.models.layer_pooling.LayerStack`.
    standardize : bool
        Standardise embeddings before the classifier, by what
        `modules.training.linear` finds.
    ecapa_channels : int
        Of ECAPA-TDNN's convolutions, a multiple of 8; others have none.
    correlated_layer : int
        Of layers side by side the one whose channels "mean_corr" correlates,
        counted from 1; None: the middle one.

    Raises
    ------
    BadInput
        If the pooling is unknown, or there is no such layer.

    Example
    -------
    >>> head = EmotionHead(layers=5, width=32, classes=4, projection_size=16)
    >>> head(torch.randn(5, 2, 7, 32), torch.ones(2)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        layers,
        width,
        classes,
        projection_size=256,
        pooling="attentive_corr",
        attention_heads=4,
        channel_dropout=0.25,
        normalize_layers=False,
        layer_pooling="sum",
        standardize=False,
        ecapa_channels=512,
        correlated_layer=None,
    ):
        super().__init__()
        check_pooling(pooling)
        make = LAYER_POOLINGS[layer_pooling]
        if isinstance(layers, int):
            self.layer_pooling = make(layers, normalize_layers)
        else:
            self.layer_pooling = PairPooling(
                *(make(count, normalize_layers) for count in layers)
            )
        channels = self.layer_pooling.channels(width)
        self.projection = nn.Identity()
        if projection_size is not None:
            self.projection = nn.Linear(channels, projection_size)
            channels = projection_size
        options = {
            "attentive_corr": {"attention_heads": attention_heads},
            "ecapa_tdnn": {"channels": ecapa_channels},
        }.get(pooling, {})
        if pooling == "mean_corr" and projection_size is None:
            options["correlated"] = self.layer_pooling.layer_channels(
                width, correlated_layer
            )
        self.channel_dropout = ChannelDropout(channel_dropout)
        self.pooling = POOLINGS[pooling](channels, **options)
        self.standardization = (
            Standardization(self.pooling.sizes)
            if standardize
            else nn.Identity()
        )
        self.classifier = nn.Linear(self.pooling.output_size, classes)

    def project(self, hidden_states):
        """Sum the layers and project them, frame by frame.

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            See `modules.models.layer_pooling.LayerPooling.forward`; or those of two
            encoders, see `modules.models.fusion.PairPooling.forward`.

        Returns
        -------
        features : torch.Tensor
            [..., channels].
        """
        return self.projection(self.layer_pooling(hidden_states))

    def pool(self, features, lengths):
        """Return one embedding per utterance.

        Arguments
        ---------
        features : torch.Tensor
            From `project`; [batch, frames, channels].
        lengths : torch.Tensor
            Relative lengths, [batch].

        Returns
        -------
        embeddings : torch.Tensor
            [batch, values].
        """
        return self.pooling(self.channel_dropout(features), lengths)

    def pool_packed(self, features, frames):
        """Pool utterances that lie one after the other.

        Arguments
        ---------
        features : torch.Tensor
            From `project`; [frames, channels].
        frames : list of int
            Of each utterance.

        Returns
        -------
        embeddings : torch.Tensor
            [batch, values].
        """
        # Those of like length together: little work goes into padding. On a
        # GPU starting more kernels would cost more than it saves.
        on_cpu = features.device.type == "cpu"
        whole = self.training and self.pooling.whole_batch
        size = _LIKE_LENGTHS if on_cpu and not whole else len(frames)
        utterances = features.split(frames)
        order = sorted(range(len(frames)), key=frames.__getitem__)
        pooled = [
            self.pool(*_pad([utterances[i] for i in order[start:][:size]]))
            for start in range(0, len(order), size)
        ]
        return torch.cat(pooled)[torch.tensor(order).argsort()]

    def classify(self, embeddings):
        """Return log-probabilities [batch, classes] of embeddings."""
        scores = self.classifier(self.standardization(embeddings))
        return torch.log_softmax(scores.float(), dim=1)

    def forward(self, hidden_states, lengths=None):
        """Classify utterances.

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            Padded, [layers, batch, frames, width]; or utterances from a
            store, `modules.features.stored_states.StoredStates`.
        lengths : torch.Tensor
            Relative lengths of padded utterances, [batch].

        Returns
        -------
        log_probabilities : torch.Tensor
            [batch, classes].
        """
        features = self.project(hidden_states)
        if isinstance(hidden_states, list):
            frames = [len(utterance) for utterance in hidden_states]
            return self.classify(self.pool_packed(features, frames))
        return self.classify(self.pool(features, lengths))


def _pad(utterances):
    """Pad utterances [frames, channels]; return them and their lengths."""
    frames = torch.tensor([len(utterance) for utterance in utterances])
    longest = int(frames.max())
    # Not pad_sequence: its backward copies the whole batch once for each
    # utterance. And not a mask's nonzero(): a GPU would have to be waited for.
    jumps = torch.arange(len(frames)) * longest - (frames.cumsum(0) - frames)
    packed = torch.cat(utterances)
    places = torch.arange(len(packed)) + jumps.repeat_interleave(frames)
    padded = packed.new_zeros(len(frames) * longest, packed.shape[1])
    places = places.to(packed.device, non_blocking=True)
    padded = padded.index_copy(0, places, packed)
    lengths = (frames / longest).to(packed.device, non_blocking=True)
    return padded.view(len(frames), longest, -1), lengths
