"""An exported model as a folder for the audio classification of transformers.

``transformers.pipeline("audio-classification", model=FOLDER)`` has one kind of
head: a weighted sum of the hidden states, a projection, the mean over time and
a linear classifier. A model with another head is refused.
"""

import pathlib

import torch
from torch import nn

from modules.errors import BadInput
from modules.inference.emotion_model import EmotionModel
from modules.models.embedding import Embedding
from modules.models.encoder import FrozenEncoder
from modules.models.layer_pooling import LayerPooling
from modules.models.pooling import MeanPooling
from modules.models.standardization import Standardization

# In the model's folder.
FOLDER = "transformers"


def find_obstacle(model: EmotionModel) -> str | None:
    """Return what transformers cannot express of a model, or None.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
        Loaded.
    """
    if len(model.heads) > 1:
        return f"the mean of {len(model.heads)} folds"
    encoder, head = model.encoder, model.heads[0]
    if type(encoder) is not FrozenEncoder or encoder.is_whisper:
        return "an encoder other than WavLM, HuBERT and wav2vec 2.0"
    if head.distance is not None:
        return "probabilities that depend on the distance from the training"
    embedding = head.embedding
    if type(embedding) is not Embedding:
        return f"{type(embedding).__name__} as embedding"
    layers = embedding.layer_pooling
    if type(layers) is not LayerPooling or layers.normalize:
        return "layer pooling other than a weighted sum"
    for part, kinds in [
        (embedding.projection, (nn.Identity, nn.Linear)),
        (embedding.pooling, (MeanPooling,)),
        (head.standardization, (nn.Identity, Standardization)),
        (head.classifier, (nn.Linear,)),
    ]:
        if type(part) not in kinds:
            return f"{type(part).__name__}"
    if head.distance is not None or head.temperature != 1:
        return "the temperature of its scores"
    return None


@torch.no_grad()
def write_transformers(
    folder: str | pathlib.Path, model: EmotionModel, labels: list[str]
) -> None:
    """Write weights, configuration and feature extractor.

    Arguments
    ---------
    folder : str or pathlib.Path
        A new folder.
    model : modules.inference.emotion_model.EmotionModel
        Loaded.
    labels : list of str
        Names of the classes.

    Raises
    ------
    BadInput
        If transformers cannot express the model.
    """
    from transformers import AutoModelForAudioClassification
    from transformers.models.wav2vec2 import Wav2Vec2FeatureExtractor

    obstacle = find_obstacle(model)
    if obstacle is not None:
        raise BadInput(
            f"transformers cannot express {obstacle}: leave out "
            "--transformers, or train with mean pooling over WavLM, HuBERT or "
            "wav2vec 2.0"
        )
    encoder, head = model.encoder, model.heads[0]
    projection = head.embedding.projection
    size = getattr(projection, "out_features", encoder.hidden_size)
    other = AutoModelForAudioClassification.from_pretrained(
        encoder.folder,
        dtype=torch.float32,
        id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)},
        use_weighted_layer_sum=True,
        classifier_proj_size=size,
    )
    _copy_head(head, other, size)
    extractor = Wav2Vec2FeatureExtractor(
        do_normalize=encoder.wrapper.normalize_wav,
        return_attention_mask=encoder.masks_padding,
    )
    other.save_pretrained(folder)
    extractor.save_pretrained(folder)


def _copy_head(head, other, size):
    """Copy a head to a model of transformers, its standardisation folded in."""
    projection, classifier = head.embedding.projection, head.classifier
    other.layer_weights.copy_(head.embedding.layer_pooling.scores)
    if isinstance(projection, nn.Linear):
        weight, bias = projection.weight, projection.bias
    else:
        weight, bias = torch.eye(size), None
    other.projector.weight.copy_(weight)
    other.projector.bias.copy_(torch.zeros(size) if bias is None else bias)
    weight = classifier.weight
    bias = 0 if classifier.bias is None else classifier.bias
    if isinstance(head.standardization, Standardization):
        weight = weight * head.standardization.scale
        bias = bias - weight @ head.standardization.mean
    other.classifier.weight.copy_(weight)
    other.classifier.bias.copy_(torch.zeros(len(weight)) + bias)
