"""The trained part: hidden states of a frozen encoder become emotions."""

import torch
from torch import nn

from bad_input import BadInput
from modules.pooling import (
    POOLINGS,
    ChannelDropout,
    LayerPooling,
    valid_frames_mask,
)


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


class EmotionHead(nn.Module):
    """Layer pooling, projection, channel dropout, pooling, linear classifier.

    Arguments
    ---------
    layers : int
        Number of hidden states of the encoder.
    width : int
        Width of a hidden state.
    classes : int
        Number of emotions.
    projection_size : int
        Number of channels after the projection (d in the paper).
    pooling : str
        A key of `modules.pooling.POOLINGS`.
    attention_heads : int
        Heads of the attentive pooling; others have none.
    channel_dropout : float
        Probability to drop a channel while training (p_d in the paper).
    normalize_layers : bool
        See `modules.pooling.LayerPooling`.

    Raises
    ------
    BadInput
        If the pooling is unknown.

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
    ):
        super().__init__()
        check_pooling(pooling)
        heads = (
            {"attention_heads": attention_heads}
            if pooling == "attentive_corr"
            else {}
        )
        self.layer_pooling = LayerPooling(layers, normalize_layers)
        self.projection = nn.Linear(width, projection_size)
        self.channel_dropout = ChannelDropout(channel_dropout)
        self.pooling = POOLINGS[pooling](projection_size, **heads)
        self.classifier = nn.Linear(self.pooling.output_size, classes)

    def project(self, hidden_states):
        """Sum the layers and project them, frame by frame.

        Arguments
        ---------
        hidden_states : torch.Tensor
            [layers, ..., width].

        Returns
        -------
        features : torch.Tensor
            [..., projection_size].
        """
        return self.projection(self.layer_pooling(hidden_states))

    def pool(self, features, lengths):
        """Return one embedding per utterance.

        Arguments
        ---------
        features : torch.Tensor
            From `project`; [batch, frames, projection_size].
        lengths : torch.Tensor
            Relative lengths, [batch].

        Returns
        -------
        embeddings : torch.Tensor
            [batch, values].
        """
        return self.pooling(self.channel_dropout(features), lengths)

    def classify(self, embeddings):
        """Return log-probabilities [batch, classes] of embeddings."""
        return torch.log_softmax(self.classifier(embeddings).float(), dim=1)

    def forward(self, hidden_states, lengths=None, frames=None):
        """Classify utterances, padded or packed.

        Arguments
        ---------
        hidden_states : torch.Tensor
            Padded, [layers, batch, frames, width]; or packed, the frames of
            all utterances one after the other, [layers, frames, width].
        lengths : torch.Tensor
            Relative lengths of padded utterances, [batch].
        frames : list of int
            Number of frames of each packed utterance.

        Returns
        -------
        log_probabilities : torch.Tensor
            [batch, classes].
        """
        features = self.project(hidden_states)
        if frames is not None:
            features, lengths = _pad(features, frames)
        return self.classify(self.pool(features, lengths))


def _pad(features, frames):
    """Pad packed frames [frames, channels]; return them and their lengths."""
    longest = max(frames)
    lengths = torch.tensor(frames, device=features.device) / longest
    mask = valid_frames_mask(lengths, longest)
    # Not pad_sequence: its backward copies the whole batch once for each
    # utterance.
    padded = features.new_zeros(mask.numel(), features.shape[1])
    padded = padded.index_copy(0, mask.flatten().nonzero()[:, 0], features)
    return padded.view(*mask.shape, -1), lengths
