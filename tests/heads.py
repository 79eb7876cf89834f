"""Heads of small sizes, built from parts as a hyperparameter file does."""

import functools

import torch

from modules.features.stored_states import StoredStates
from modules.models.channels import EvenChannels
from modules.models.ecapa import EcapaPooling
from modules.models.embedding import Embedding
from modules.models.head import EmotionHead
from modules.models.joint_embedding import JointEmbedding
from modules.models.layer_pooling import LayerPooling, LayerStack, OneLayer
from modules.models.pooling import (
    AttentiveCorrelationPooling,
    CorrelationPooling,
    MeanPooling,
    MeanStdPooling,
)
from modules.models.standardization import Standardization

POOLINGS = {
    "mean": MeanPooling,
    "mean_std": MeanStdPooling,
    "corr": CorrelationPooling,
    "attentive_corr": AttentiveCorrelationPooling,
    "ecapa_tdnn": functools.partial(EcapaPooling, channels=8),
}


def describe_head(
    pooling="attentive_corr",
    projection_size=6,
    channel_dropout=0.0,
    layer_pooling=LayerPooling,
    standardization=None,
    **layer_options,
):
    """Return the parts of a head, as `!name:` in a hyperparameter file.

    Arguments
    ---------
    pooling : str or callable
        A key of `POOLINGS`, or a part.
    projection_size : int
        None: no projection.
    channel_dropout : float
    layer_pooling : type
        Gets ``layer_options``.
    standardization : type
    """
    projection = projection_size and functools.partial(
        torch.nn.Linear, out_features=projection_size
    )
    embedding = functools.partial(
        Embedding,
        layer_pooling=functools.partial(layer_pooling, **layer_options),
        projection=projection,
        channel_dropout=channel_dropout,
        pooling=POOLINGS.get(pooling, pooling),
    )
    return functools.partial(
        EmotionHead, embedding=embedding, standardization=standardization
    )


def make_head(num_hidden_states=3, hidden_size=8, num_classes=4, **parts):
    """Return a head; ``parts`` are those of `describe_head`."""
    return describe_head(**parts)(num_hidden_states, hidden_size, num_classes)


def make_joint_head(num_hidden_states=3, hidden_size=8, num_classes=4):
    """Return the recommended head: means of all layers, correlations of one."""
    means = functools.partial(
        Embedding,
        layer_pooling=functools.partial(LayerStack, normalize=True),
        pooling=MeanPooling,
    )
    correlations = functools.partial(
        Embedding,
        layer_pooling=functools.partial(OneLayer, normalize=True),
        projection=EvenChannels,
        pooling=CorrelationPooling,
    )
    embedding = functools.partial(
        JointEmbedding, parts={"means": means, "correlations": correlations}
    )
    return EmotionHead(
        num_hidden_states,
        hidden_size,
        num_classes,
        embedding,
        standardization=Standardization,
    )


def store(states):
    """Store hidden states [layers, frames, hidden_size] in fp32."""
    return StoredStates.from_hidden_states(states.movedim(0, 1), torch.float32)
