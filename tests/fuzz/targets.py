"""What is fuzzed: functions of bytes that end in an answer or in `BadInput`."""

import functools
import json
import pathlib
import shutil
import tempfile

import torch
from safetensors.torch import save_file

from data_prep import csv_prepare, emodb_prepare, iemocap_prepare
from demo.random_encoder import make_random_encoder
from modules.audio import read_speech
from modules.experiments.experiment_file import read_experiment_file
from modules.features.store import FeatureStore
from modules.inference.loading import load_model
from modules.labels import read_labels
from modules.manifest import read_manifest
from modules.training.run import Run
from tests.attacks.hostile import FILES
from tests.attacks.model_and_run_folders import (
    HEAD,
    LABELS,
    SIZES,
    head_weights,
    write_hyperparams,
    write_labels,
)


@functools.cache
def _root():
    """Return a folder of this process, in memory where there is one."""
    memory = pathlib.Path("/dev/shm")
    place = memory if memory.is_dir() else None
    return pathlib.Path(tempfile.mkdtemp(prefix="fuzz-", dir=place))


def _file(name, data):
    """Write a file in the folder of this process."""
    path = _root() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def csv(data):
    """Read a list of utterances."""
    csv_prepare.read(None, _file("list.csv", data))


def manifest(data):
    """Read a manifest."""
    read_manifest(_file("manifest.json", data), "data")


def emodb(data):
    """Read EmoDB: lines are names of recordings; after an empty line, the
    listeners' file."""
    root = _root() / "emodb"
    shutil.rmtree(root, ignore_errors=True)
    (root / "wav").mkdir(parents=True)
    names, _, listeners = data.partition(b"\n\n")
    for name in names.split(b"\n")[:20]:
        text = name[:100].decode("latin-1")
        if text.strip("./\0") and not set(text) & {"/", "\0"}:
            (root / "wav" / text).touch()
    (root / "erkennung.txt").write_bytes(listeners)
    emodb_prepare.read(root)


def iemocap(data):
    """Read IEMOCAP: one label file is fuzzed."""
    root = _root() / "iemocap"
    if not root.exists():
        for session in range(1, 6):
            dialogue = f"Ses0{session}F_impro01"
            wav = root / f"Session{session}/sentences/wav/{dialogue}"
            wav.mkdir(parents=True)
            (wav / f"{dialogue}_F000.wav").touch()
            labels = root / f"Session{session}/dialog/EmoEvaluation"
            labels.mkdir(parents=True)
            (labels / f"{dialogue}.txt").write_text(
                f"[6.2901 - 8.2357]\t{dialogue}_F000\tneu\t"
                "[2.5000, 2.5000, 2.5000]\nC-E1:\tNeutral;\t()\n"
                "A-E1:\tval 3; act 2; dom  2;\t()\n"
            )
    folder = root / "Session1/dialog/EmoEvaluation"
    (folder / "Ses01F_impro01.txt").write_bytes(data)
    iemocap_prepare.read(root)


def experiment(data):
    """Read an experiment file."""
    read_experiment_file(_file("experiment.yaml", data))


def store(data):
    """Read a shard of the store."""
    path = _file("store/shard.safetensors", data)
    found = FeatureStore(path.parent)
    for recording in list(found._places):
        found.read(recording)


def labels(data):
    """Read the names of classes."""
    read_labels(_file("label_encoder.txt", data))


def audio(data):
    """Read a recording."""
    read_speech(str(_file("recording.wav", data)))


@functools.cache
def _whole_model():
    """Return a model's folder that can be loaded."""
    folder = _root() / "whole-model"
    folder.mkdir()
    write_hyperparams(folder / "hyperparams.yaml")
    save_file(head_weights(), folder / "head.safetensors")
    write_labels(folder / "label_encoder.txt")
    make_random_encoder(folder / "encoder", "wavlm", True, 0, 2, 32)
    return folder


def model(data):
    """Load a model's folder, one of whose files is fuzzed."""
    if not data:
        return
    name = FILES[data[0] % len(FILES)]
    path = _whole_model() / name
    before = path.read_bytes()
    path.write_bytes(data[1:])
    try:
        loaded, _ = load_model(_whole_model())
        scores = loaded(torch.zeros(1, 4000))
        assert scores.isfinite().all()
    finally:
        path.write_bytes(before)


_RUN = (
    "graph.json",
    "results.json",
    "inputs.json",
    "settings.json",
    "predictions.csv",
    "save/label_encoder.txt",
    "head.safetensors",
    "manifests/test.json",
)


def run(data):
    """Read a run's folder, one of whose files is fuzzed."""
    if not data:
        return
    folder = _root() / "run"
    if not folder.exists():
        _write_run(folder)
    path = folder / _RUN[data[0] % len(_RUN)]
    path.parent.mkdir(exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    path.write_bytes(data[1:])
    read = {
        "results.json": lambda one: one.results,
        "inputs.json": lambda one: one.encoder_digest,
        "settings.json": lambda one: one.settings,
        "predictions.csv": lambda one: one.predictions(),
        "save/label_encoder.txt": lambda one: one.labels,
        "manifests/test.json": lambda one: one.manifest("test"),
    }
    name = str(path.relative_to(folder))
    try:
        read.get(name, lambda one: one.make_head())(Run(folder))
    finally:
        path.write_bytes(before)


def _write_run(folder):
    """Write what is read of a run's folder."""
    (folder / "save").mkdir(parents=True)
    write_labels(folder / "save/label_encoder.txt", LABELS)
    weights = {k.partition(".")[2]: v for k, v in head_weights().items()}
    save_file(weights, folder / "head.safetensors")
    keys = ("hub", "revision", "precision", "fine_tuned", "whisper_window")
    graph = {
        "head": HEAD,
        "sizes": SIZES,
        "encoder": dict.fromkeys(keys),
        "corpus": {"restricted": ""},
    }
    (folder / "graph.json").write_text(json.dumps(graph))
    (folder / "settings.json").write_text('{"data_folder": null}')
    seed = SEEDS / "run" / "results"
    (folder / "results.json").write_bytes(seed.read_bytes()[1:])


SEEDS = pathlib.Path(__file__).parent / "seeds"
TARGETS = {
    target.__name__: target
    for target in (csv, manifest, emodb, iemocap, experiment, store)
    + (labels, audio, model, run)
}
