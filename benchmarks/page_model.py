"""Figures of the page that need speech and a Whisper: training to an answer."""

import contextlib
import functools
import pathlib
import statistics
import sys
import time

import torch

from benchmarks import fine_tuning, inference, onnx, windows
from benchmarks.measure import (
    Figure,
    Skipped,
    core_seconds_of_session,
    ratio,
    spread,
    time_beside,
)
from benchmarks.recordings import draw_durations, make_recordings
from modules.audio import SAMPLE_RATE
from modules.errors import BadInput
from modules.inference.emotion_onnx import EmotionOnnx
from modules.inference.loading import load_model
from modules.models.encoder_files import locate_encoder

ROOT = pathlib.Path(__file__).parents[1]
WINDOWED, FILES = 12, 8
LENGTHS = (1.3, 9.7)  # seconds
# What no way to an answer can be without, and its goal in seconds of a core.
STARTS = {
    "`predict.py`": ("from transformers import WhisperModel", "3 s"),
    "`predict.py --engine onnx`": ("import torch, onnxruntime", ""),
    "`emotion_onnx.py`": ("import numpy, onnxruntime, soundfile", "1 s"),
}


@contextlib.contextmanager
def one_thread():
    """Let PyTorch compute with one thread, which other work delays least."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def find_speech(options):
    """Return the folders of the corpus and of the encoder.

    Raises
    ------
    Skipped
        If one of them is missing.
    """
    if options.data_folder is None:
        raise Skipped("needs EmoDB: --data_folder")
    if not (pathlib.Path(options.data_folder) / "wav").is_dir():
        raise Skipped(f"no wav/ in {options.data_folder}")
    try:
        return options.data_folder, locate_encoder(options.encoder_hub)
    except BadInput as problem:
        raise Skipped(str(problem)) from problem


def measure_windows(options, folder):
    """Yield Whisper's `fit` against windows of 30 s."""
    data, encoder = find_speech(options)
    waveforms = windows.choose_recordings(data, WINDOWED)
    with one_thread():
        seconds = windows.time_windows(encoder, waveforms, options.repeats)
    audio = sum(map(len, waveforms)) / SAMPLE_RATE
    own = [1000 * second / audio for second in seconds["`fit`"]]
    whole = 30 * len(waveforms) / audio
    yield Figure(
        "encoding EmoDB, `fit` against 30 s",
        "8 times faster",
        f"30 s are {whole:.1f} times the audio itself",
        f"{ratio(seconds['`fit`'], seconds['30 s'])} times; "
        f"{statistics.median(own):.0f} ms of a core per second of audio",
    )


def measure_five_folds(options, folder):
    """Yield a row of EmoDB's table from nothing; keeps its runs."""
    data, encoder = find_speech(options)
    command = [ROOT / "cross_validate.py"]
    command += [ROOT / "hparams" / "recommended.yaml"]
    command += ["--corpus", "emodb", "--data_folder", data]
    command += ["--encoder_hub", encoder, "--jobs", "2"]
    command += ["--output_folder", folder / "results"]
    command += ["--cache_folder", folder / "cache"]
    start = time.perf_counter()
    core = core_seconds_of_session([sys.executable, *command])
    seconds = time.perf_counter() - start
    yield Figure(
        "five folds of EmoDB, recommended system, from nothing",
        "60 s on two cores",
        "",
        f"{seconds:.0f} s, {core:.0f} s of a core",
    )


def export(options, folder):
    """Return the folder of a model with its encoder and its graph.

    The runs of `measure_five_folds` are exported; without them fold 1 is
    trained.
    """
    data, encoder = find_speech(options)
    model = folder / "exported"
    if model.is_dir():
        return model
    found = sorted((folder / "results").rglob("fold_1/**/results.json"))
    run = found[0].parent if found else folder / "run"
    if not found:
        command = ["train.py", "hparams/recommended.yaml", "--corpus", "emodb"]
        command += ["--data_folder", data, "--encoder_hub", encoder]
        command += ["--output_folder", run]
        onnx.core_seconds(_script(*command, "--cache_folder", folder / "cache"))
    command = ["export.py", run, model, "--include_encoder", "--onnx"]
    onnx.core_seconds(_script(*command))
    return model


def _script(name, *arguments):
    """Return the command of a script of this repository."""
    return [sys.executable, ROOT / name, *arguments]


def measure_start(options, folder):
    """Yield what fresh processes cost until the first and the last answer."""
    model = export(options, folder)
    seconds = onnx.time_processes(model, options.repeats, folder)
    for way, (imports, goal) in STARTS.items():
        # core_seconds runs a command in the folder of its second word.
        limit = [sys.executable, "-c", imports]
        bare = [onnx.core_seconds(limit) for _ in range(options.repeats)]
        yield Figure(
            f"fresh process to the first answer, {way}",
            goal and f"{goal} of a core",
            f"`{imports}`: {spread(bare, 's', 1)}",
            spread(seconds[way, 1], "s", 1),
        )
    audio = onnx.FILES * onnx.SECONDS
    for way in STARTS:
        more = [
            (many - one) / (audio - onnx.SECONDS)
            for one, many in zip(seconds[way, 1], seconds[way, onnx.FILES])
        ]
        yield Figure(
            f"{onnx.FILES} files of 2 s, {way}, of a core per second of audio",
            "50 ms",
            f"model loaded: {spread(more)}",
            spread([s / audio for s in seconds[way, onnx.FILES]]),
        )
    wrong = _script("train.py", "hparams/recommended.yaml", "--sed=3")
    yield Figure(
        "`train.py` with a misspelt key",
        "1.5 s of a core",
        "",
        spread(
            [onnx.core_seconds(wrong, 2) for _ in range(options.repeats)],
            "s",
            1,
        ),
    )


def measure_engines(options, folder):
    """Yield ONNX against torch, utterance by utterance, models loaded."""
    source = export(options, folder)
    with one_thread():
        model, _ = load_model(source)
        engine = EmotionOnnx(source, threads=1)
        seconds = onnx.time_utterances(model, engine, options.repeats, LENGTHS)
    for length, (torch_seconds, onnx_seconds) in seconds.items():
        yield Figure(
            f"ONNX, an utterance of {length} s, Whisper",
            "as fast as torch",
            f"torch: {spread(torch_seconds)} of a core",
            f"{ratio(onnx_seconds, torch_seconds)} times faster",
        )


def measure_interface(options, folder):
    """Yield `classify_file` against the encoder, and a folder against it."""
    source = str(export(options, folder))
    entries = make_recordings(folder, draw_durations(FILES).clip(max=10))
    files = [entry["wav"] for entry in entries.values()]
    classifier = inference.load_classifier(source)
    with one_thread():
        seconds = inference.time_overhead(classifier, files, options.repeats)
    bare, whole = (
        [sum(turn) for turn in zip(*(seconds[way, file] for file in files))]
        for way in ("bare", "whole")
    )
    yield Figure(
        "`classify_file` against the bare encoder",
        "1.03 times longer",
        f"bare encoder: {spread([s / FILES for s in bare])}",
        f"{ratio(bare, whole)} times",
    )
    inference.load(source, True)
    inference.load(source, False)
    seconds = time_beside(
        {
            "one": functools.partial(inference.classify_one_by_one, files),
            "folder": functools.partial(inference.predict_folder, files),
        },
        options.repeats,
    )
    yield Figure(
        f"a folder of {FILES} files, `predict.py`, model loaded",
        "2 times faster than one by one",
        f"`classify_file`: {spread([s / FILES for s in seconds['one']])}",
        f"{ratio(seconds['folder'], seconds['one'])} times",
    )


def measure_tuning(options, folder):
    """Yield fine-tuning in short windows against 30 s."""
    _, encoder = find_speech(options)
    functions = {}
    for window in (6, None):
        own = {"whisper_window": window}
        tuning = fine_tuning.Tuning(encoder, own, 2, "cpu", "fp32")
        functions[window] = functools.partial(tuning.update, 0)
    seconds = time_beside(functions, 1)
    yield Figure(
        "an update of fine-tuning, 2 utterances, `whisper_window: 6`",
        "",
        f"30 s: {spread(seconds[None], 's', 1)}",
        f"{ratio(seconds[6], seconds[None])} times faster",
    )


PARTS = {
    "windows": measure_windows,
    "five_folds": measure_five_folds,
    "start": measure_start,
    "engines": measure_engines,
    "interface": measure_interface,
    "tuning": measure_tuning,
}
