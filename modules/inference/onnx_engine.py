"""A model in ONNX in the place of `EmotionModel`: predict.py's other engine."""

import numpy as np
import torch

from modules.errors import BadInput
from modules.inference.emotion_onnx import (
    GRAPH,
    SAMPLE_RATE,
    EmotionOnnx,
    Problem,
    split_into_windows,
)
from modules.inference.loading import locate_model


class OnnxModel:
    """What `modules.inference.predictor.predict` calls, computed by onnxruntime.

    Arguments
    ---------
    engine : modules.inference.emotion_onnx.EmotionOnnx

    Attributes
    ----------
    encoder : OnnxModel
        Itself: the graph contains the encoder.
    channel : str
        What the training read of stereo.
    """

    def __init__(self, engine: EmotionOnnx):
        self.engine = engine
        self.encoder = self
        self.channel = engine.channel

    def computed_seconds(self, seconds: float) -> float:
        """Return the seconds of audio that an utterance costs."""
        if self.engine.whisper is None:
            return seconds
        samples = max(1, round(seconds * SAMPLE_RATE))
        part, size = split_into_windows(samples, **self.engine.whisper)
        return -(-samples // part) * size / SAMPLE_RATE

    def __call__(self, wavs, lengths):
        """Return log-probabilities; see `EmotionModel.forward`.

        The utterances are computed one by one, each without padding.
        """
        samples = torch.round(lengths.double() * wavs.shape[1]).long()
        answers = [
            self.engine.run(wav[:count].numpy())[0]
            for wav, count in zip(wavs, samples.tolist())
        ]
        smallest = np.finfo("float32").tiny
        return torch.from_numpy(np.stack(answers)).clamp(min=smallest).log()

    def attention(self, wav):
        """Return None: the graph does not contain the attention."""


def load_onnx(source: str, device: str, threads: int | None = None):
    """Load the graph of a model's folder.

    Arguments
    ---------
    source : str
        A folder that ``export.py --onnx`` wrote, or the name of one on the
        Hub.
    device : str
        The CPU: onnxruntime computes there.
    threads : int
        Of one classification; None: onnxruntime's choice.

    Returns
    -------
    model : OnnxModel
    labels : list of str
        Names of the classes.

    Raises
    ------
    BadInput
        If the folder has no graph, onnxruntime is missing, or another device
        is asked for.
    """
    if device != "cpu":
        raise BadInput(f"--engine onnx computes on the CPU, not on {device}")
    folder = locate_model(source, "model.*")
    if not (folder / GRAPH).exists():
        raise BadInput(
            f"{folder} has no {GRAPH}: export the model with export.py --onnx, "
            "or leave out --engine onnx"
        )
    try:
        engine = EmotionOnnx(folder, threads)
    except Problem as problem:
        raise BadInput(str(problem)) from problem
    return OnnxModel(engine), engine.labels
