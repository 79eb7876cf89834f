"""Shared by all tests: small encoders and a small corpus, made here."""

import csv
import itertools
import json
import logging
import pathlib
import sys

import numpy as np
import pytest
import soundfile
import yaml
from speechbrain.utils.importutils import LazyModule

# hypothesis asks every loaded module for its file, and SpeechBrain's lazy
# modules would import packages that are not installed to answer.
LazyModule.__file__ = None

ROOT = pathlib.Path(__file__).parents[1]

# Family and whether its convolutions have layer (or else group) norm.
ENCODERS = [
    ("wavlm", True),
    ("wavlm", False),
    ("hubert", True),
    ("hubert", False),
    ("wav2vec2", True),
    ("wav2vec2", False),
    ("whisper", True),
]


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    """Return a function that makes an encoder of random weights once."""
    from demo.random_encoder import make_random_encoder

    root = tmp_path_factory.mktemp("encoders")

    def make(family="wavlm", layer_norm=True, seed=0):
        folder = root / f"{family}-{layer_norm}-{seed}-random-weights"
        if not folder.exists():
            make_random_encoder(
                folder,
                family=family,
                layer_norm=layer_norm,
                seed=seed,
                layers=2,
                width=32,
            )
        return str(folder)

    return make


@pytest.fixture(scope="session")
def tone_corpus(tmp_path_factory):
    """Return the CSV file of a corpus of tones: 3 classes, 5 speakers."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    rows = []
    pitches = {"calm": 200, "glad": 400, "mad": 800}
    for speaker, label, take in itertools.product(range(5), pitches, range(4)):
        seconds = rng.uniform(0.2, 0.5)
        time = np.arange(round(16000 * seconds)) / 16000
        pitch = pitches[label] * rng.uniform(0.9, 1.1)
        wave = 0.3 * np.sin(2 * np.pi * pitch * time)
        wave += 0.01 * rng.standard_normal(len(time))
        name = f"{speaker}_{label}_{take}.wav"
        soundfile.write(root / name, wave, 16000)
        rows.append([name, label, f"speaker{speaker}"])
    path = root / "corpus.csv"
    with open(path, "w", newline="") as out:
        csv.writer(out).writerows([["path", "label", "speaker"], *rows])
    return str(path)


@pytest.fixture(scope="session")
def command(tone_corpus, encoder_folder, tmp_path_factory):
    """Return a function that gives the command line of a small run."""
    cache = tmp_path_factory.mktemp("cache")

    def make(output_folder, **changes):
        options = {
            "corpus": "csv",
            "csv_file": tone_corpus,
            "output_folder": output_folder,
            "cache_folder": cache,
            "encoder_hub": encoder_folder(),
            "number_of_epochs": 3,
            "batch_size": 8,
            "projection_size": 8,
            "normalize_layers": "true",
            "lr": 0.001,
        } | changes
        return [
            str(ROOT / "hparams/corr_wavlm.yaml"),
            *(f"--{key}={value}" for key, value in options.items()),
            "--noprogressbar",
            "--device=cpu",
        ]

    return make


@pytest.fixture(scope="session")
def recommended_command(command):
    """Return a function that gives the command line of own_corpus.yaml."""
    of_updates = ("number_of_epochs", "batch_size", "projection_size")

    def make(output_folder, **changes):
        _, *options = command(output_folder, **changes)
        return [
            str(ROOT / "hparams/own_corpus.yaml"),
            *(
                option
                for option in options
                if option[2:].partition("=")[0] in changes
                or not option[2:].startswith(of_updates)
            ),
        ]

    return make


@pytest.fixture(autouse=True)
def own_logging(monkeypatch):
    """Take back the handlers and the hook that a run sets up."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()


@pytest.fixture(autouse=True)
def own_modules(monkeypatch):
    """Take back what foreign_class does to the process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = sys.modules.get("custom_interface")
    yield
    if module is not None:
        sys.modules["custom_interface"] = module


@pytest.fixture(scope="session")
def trained(command, tmp_path_factory):
    """Return two folds and what the training code says of their tests.

    folders : fold -> output folder; log_probabilities : fold -> utterance ->
    tensor [classes].
    """
    import types

    import train
    from modules.training.brain import EmotionBrain

    root = tmp_path_factory.mktemp("trained")
    folders, log_probabilities = {}, {}
    predict = EmotionBrain.predict
    for fold in (1, 2):
        # The test session is predicted last.
        def spy(brain, *args, fold=fold, **kwargs):
            predictions = predict(brain, *args, **kwargs)
            log_probabilities[fold] = dict(zip(predictions[0], predictions[2]))
            return predictions

        folders[fold] = root / f"fold_{fold}" / "seed_1986"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(EmotionBrain, "predict", spy)
            train.main(
                command(
                    folders[fold],
                    test_fold=fold,
                    cache_format="float32",
                    number_of_epochs=2,
                )
            )
    return types.SimpleNamespace(
        folders=folders, log_probabilities=log_probabilities
    )


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    """Return the folder of an exported model, its encoder included."""
    import export

    folder = tmp_path_factory.mktemp("exported") / "tones"
    export.main([str(trained.folders[1]), str(folder), "--include_encoder"])
    return folder


@pytest.fixture(scope="session")
def recordings(trained):
    """Return utterance -> path of the first fold's test."""
    folder = trained.folders[1]
    entries = json.loads((folder / "manifests/test.json").read_text())
    settings = json.loads((folder / "settings.json").read_text())
    return {
        utterance: entry["wav"].replace("{data_root}", settings["data_folder"])
        for utterance, entry in entries.items()
    }


@pytest.fixture(scope="session")
def table_command(command, tmp_path_factory):
    """Return a function that gives the command line of a small table."""
    root = tmp_path_factory.mktemp("experiments")

    def make(output_folder, *more, number_of_epochs=2, **changes):
        path = root / f"{len(list(root.iterdir()))}.yaml"
        experiment = {
            "title": "Tones & noise",
            "hparams": "hparams/corr_wavlm.yaml",
            "settings": {"number_of_epochs": number_of_epochs},
            "systems": [
                {"name": "s 0", "label_smoothing": 0.0},
                {"name": "s 0.1", "label_smoothing": 0.1},
                {"name": "baseline", "hparams": "hparams/baseline.yaml"},
            ],
            "seeds": [1, 2],
            "published": {
                "source": "nobody",
                "metric": "WA",
                "figures": {"s 0": [65.0, 2.5]},
            },
        } | changes
        path.write_text(yaml.safe_dump(experiment))
        options = [
            option
            for option in command(output_folder)[1:]
            if not option.startswith(("--output_folder", "--number_of_epochs"))
        ]
        return [
            str(path),
            f"--output_folder={output_folder}",
            "--number_of_folds=2",
            *options,
            *more,
        ]

    return make


@pytest.fixture(scope="session")
def finished_table(table_command, tmp_path_factory):
    """Return the folder of a small table that is finished, to be read only."""
    import cross_validate

    folder = tmp_path_factory.mktemp("table") / "out"
    assert cross_validate.main(table_command(folder)) == 0
    return folder
