"""An exported model as a graph in ONNX: encoder and heads in one file.

Source of the operator sets: https://onnx.ai/onnx/operators/. The graph
classifies one utterance at a time, so that no answer depends on batch mates;
on a CPU, batches save nothing (see benchmarks/README.md).
"""

import contextlib
import importlib.util
import io
import json
import logging
import pathlib
import shutil
import tempfile
import warnings

import numpy as np
import torch

from modules.audio import SAMPLE_RATE, SHORTEST
from modules.errors import BadInput
from modules.inference import emotion_onnx
from modules.inference.emotion_model import EmotionModel
from modules.inference.emotion_onnx import GRAPH, SETTINGS, EmotionOnnx, Problem
from modules.inference.onnx_graphs import encoders_of, make_graph
from modules.models.vocal import VocalEncoder
from modules.models.whisper_window import FRAME

# onnxruntime has it since version 1.14.
OPERATOR_SET = 18
# A file of protobuf has at most 2 GiB; weights beyond go into a second one.
_MOST_IN_ONE_FILE = 2**31 - 2**24
WEIGHTS_BESIDE = "model.onnx.data"

# Largest difference of a probability from the model that was exported.
_TOLERANCE = 1e-4
# Not "embedding" alone: values within a graph may have that name.
_OUTPUTS = ["emotion_probabilities", "utterance_embedding"]
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_installed() -> None:
    """Refuse to export where packages are missing.

    Raises
    ------
    BadInput
        Naming them.
    """
    missing = [n for n in _NEEDED if importlib.util.find_spec(n) is None]
    if missing:
        raise BadInput(
            f"--onnx needs {', '.join(missing)}: pip install -r "
            "requirements-onnx.txt -c constraints.txt"
        )


def write_onnx(
    folder: pathlib.Path,
    model: EmotionModel,
    labels: list[str],
    longest_seconds: int,
    int8: bool = False,
) -> None:
    """Write model.onnx, model.json and emotion_onnx.py into a folder.

    Arguments
    ---------
    folder : pathlib.Path
        Of an exported model.
    model : modules.inference.emotion_model.EmotionModel
        With its encoder, on the CPU.
    labels : list of str
        Names of the classes.
    longest_seconds : int
        Longer recordings are cut into windows.
    int8 : bool
        Weights of matrix products in eight bits.

    Raises
    ------
    BadInput
        If packages are missing, the encoder or a part of the head cannot be
        exported, or the graph gives other probabilities than the model.
    """
    check_installed()
    check_exportable(model)
    whisper = None
    if model.encoder.is_whisper:
        [encoder] = [e for e in encoders_of(model) if e.is_whisper]
        longest = encoder.config.max_source_positions * FRAME
        whisper = {"window": encoder.whisper_window, "longest": longest}
    settings = {
        "labels": labels,
        "sample_rate": SAMPLE_RATE,
        "shortest_samples": SHORTEST,
        "longest_seconds": longest_seconds,
        "whisper": whisper,
        "channel": model.channel,
        "operator_set": OPERATOR_SET,
        "weights": "int8" if int8 else "float32",
    }
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / SETTINGS).write_text(text, encoding="utf-8")
    _write_graph(folder / GRAPH, model, whisper)
    _compare(folder, model)
    if int8:
        _quantize(folder / GRAPH)
    shutil.copyfile(emotion_onnx.__file__, folder / "emotion_onnx.py")


def check_exportable(model: EmotionModel) -> None:
    """Refuse what no graph is written for.

    Raises
    ------
    BadInput
        Naming the encoder.
    """
    encoders = encoders_of(model)
    pretrained = [e for e in encoders if hasattr(e, "wrapper")]
    others = [e for e in encoders if e not in pretrained]
    for encoder in [*others, *pretrained[1:]]:
        if not isinstance(encoder, VocalEncoder):
            raise BadInput(
                f"--onnx cannot export {type(encoder).__name__} "
                f"({model.encoder_hub}): it exports one of WavLM, HuBERT, "
                "wav2vec 2.0 and Whisper, vocal, or both"
            )


def _example(graph, whisper):
    """Return inputs of a graph, and which of their sizes vary."""
    any_size = torch.export.Dim.DYNAMIC
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE * 5 // 4)
    noise = 0.1 * noise.astype("float32")
    inputs, sizes = {"waveform": noise}, {"waveform": {0: any_size}}
    if whisper is not None:
        # Two windows: a size of one would be taken for a constant.
        inputs |= emotion_onnx.whisper_inputs(noise, 1, SAMPLE_RATE)
        sizes |= {"windows": {0: any_size, 1: any_size}, "kept": {0: any_size}}
    return (
        tuple(torch.from_numpy(inputs[name]) for name in graph.inputs),
        tuple(sizes[name] for name in graph.inputs),
    )


def _write_graph(path, model, whisper):
    """Trace a model and write the graph."""
    import onnx
    import onnxscript.optimizer

    graph = make_graph(model)
    inputs, sizes = _example(graph, whisper)
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                graph,
                inputs,
                dynamo=True,
                # It takes an addend of 1e-9, on which constant channels
                # depend, for zero. onnxruntime optimises when it loads.
                optimize=False,
                opset_version=OPERATOR_SET,
                input_names=graph.inputs,
                output_names=_OUTPUTS,
                dynamic_shapes=sizes,
                verbose=False,
            )
            # Transposed weights become weights.
            onnxscript.optimizer.fold_constants(program.model)
            onnxscript.optimizer.remove_unused_nodes(program.model)
        proto = program.model_proto
    except Exception as problem:  # any part may fail in its own way
        raise BadInput(
            f"this model cannot be written in ONNX ({_parts(model)}): "
            f"{_reason(problem)}; export it without --onnx"
        ) from problem
    beside = proto.ByteSize() > _MOST_IN_ONE_FILE
    onnx.save_model(
        proto,
        path,
        save_as_external_data=beside,
        location=WEIGHTS_BESIDE if beside else None,
    )


def _parts(model):
    """Return the names of the parts that may have failed."""
    embedding = model.heads[0].embedding
    parts = [
        type(encoder.wrapper.model if hasattr(encoder, "wrapper") else encoder)
        for encoder in encoders_of(model)
    ]
    parts.append(type(embedding))
    parts += [type(part) for part in embedding.children()]
    return ", ".join(part.__name__ for part in dict.fromkeys(parts))


def _reason(problem):
    """Return the first line of what went wrong at the very bottom."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0]}" if lines else repr(problem)


@contextlib.contextmanager
def _quiet():
    """Hide what the exporter reports of its own progress."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@torch.inference_mode()
def _compare(folder, model):
    """Refuse a graph whose answers are not the model's."""
    try:
        engine = EmotionOnnx(folder)
    except Problem as problem:
        raise BadInput(
            f"the graph in ONNX ({_parts(model)}) cannot be computed "
            f"({_reason(problem)}): export it without --onnx"
        ) from problem
    rng = np.random.default_rng(1)
    for samples in (SHORTEST, 23_456, 3 * SAMPLE_RATE):
        waveform = 0.1 * rng.standard_normal(samples).astype("float32")
        found, _ = engine.run(waveform)
        wanted = model(torch.from_numpy(waveform)[None])[0].exp().numpy()
        difference = np.abs(found - wanted).max()
        if not difference <= _TOLERANCE:
            raise BadInput(
                f"the graph in ONNX ({_parts(model)}) gives probabilities "
                f"that differ by {difference:.1e} from the model's: export it "
                "without --onnx"
            )


def _quantize(path):
    """Store the weights of matrix products in eight bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=path.parent) as folder, _quiet():
        target = pathlib.Path(folder) / path.name
        quantize_dynamic(
            path,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm"],
        )
        target.replace(path)
    (path.parent / WEIGHTS_BESIDE).unlink(missing_ok=True)
