"""Lets `EncoderClassifier.from_hparams` load a model where this repository is.

The hyperparams.yaml of an exported model names classes of `custom_interface`:
SpeechBrain's name for the code of a model. `foreign_class` uses the file of
that name in the model's folder instead and needs nothing of this repository.
"""

from modules.inference.emotion_model import EmotionModel  # noqa: F401
from modules.inference.speechbrain_interface import (  # noqa: F401
    Classifier,
    ComputeFeatures,
    EmbeddingModel,
    EmotionClassifier,
    MeanVarNorm,
    ModelFolder,
)
