"""What all tests share: small encoders, a small corpus, runs trained once."""

import csv
import itertools
import logging
import os
import pathlib
import shutil
import sys
import types

import hypothesis
import numpy as np
import pytest
import soundfile
import torch
import yaml
from speechbrain.utils.importutils import LazyModule

# hypothesis reads the file name of every loaded module, and SpeechBrain's lazy
# modules would import packages that are not installed to return it.
LazyModule.__file__ = None

# Fixtures of tests/attacks, of models of the recommended system, of pages.
pytest_plugins = [
    "tests.attacks.model_and_run_folders",
    "tests.linear_models",
    "browser",
]

# `make test` draws the same examples every time; `make explore` draws others.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.register_profile(
    "random", deadline=None, max_examples=500, print_blob=True
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


class TorchRandom:
    """PyTorch's random numbers, as hypothesis seeds them for each example."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


TORCH_RANDOM = TorchRandom()  # hypothesis keeps a weak reference
hypothesis.register_random(TORCH_RANDOM)

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
                num_hidden_layers=2,
                hidden_size=32,
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
def shared_options(tone_corpus, encoder_folder, tmp_path_factory):
    """Return the options that every hyperparameter file has."""
    return {
        "corpus": "csv",
        "csv_file": tone_corpus,
        "cache_folder": tmp_path_factory.mktemp("cache"),
        "encoder_hub": encoder_folder(),
    }


def command_line(hparams, output_folder, options, more=()):
    """Return the arguments of train.py, for a CPU and without a progress bar.

    Arguments
    ---------
    hparams : str
        Name of a file of hparams/.
    output_folder : pathlib.Path
    options : dict
        Keys of the file and their values.
    more : sequence of str
        Further arguments, such as SpeechBrain's run options.
    """
    options = {"output_folder": output_folder} | options
    return [
        str(ROOT / f"hparams/{hparams}.yaml"),
        *(f"--{key}={value}" for key, value in options.items()),
        "--noprogressbar",
        "--device=cpu",
        *more,
    ]


@pytest.fixture(scope="session")
def command(shared_options):
    """Return a function: the command line of a small run of corr_wavlm."""
    small = {"number_of_epochs": 3, "batch_size": 8, "projection_size": 8}

    def make(output_folder, *more, **changes):
        options = shared_options | small | changes
        return command_line("corr_wavlm", output_folder, options, more)

    return make


@pytest.fixture(scope="session")
def linear_command(shared_options):
    """Return a function: the command line of a small linear run.

    Its second argument is "recommended" or "baseline".
    """

    def make(output_folder, hparams="recommended", *more, **changes):
        options = shared_options | changes
        return command_line(hparams, output_folder, options, more)

    return make


@pytest.fixture(autouse=True)
def own_random_numbers():
    """Seed each test, whatever ran before it."""
    torch.manual_seed(0)


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
    """Undo what loading an exported model does to the process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("custom_interface", None)


def train_and_record(arguments):
    """Train; return the log-probabilities of the test utterances.

    Returns
    -------
    dict
        Utterance -> tensor [classes]; not rounded as in predictions.csv.
    """
    import train
    from modules.training import fold

    recorded = {}
    finish = fold.finish

    def record(run, hparams, manifests, labels, head, trained, started):
        test = trained.test
        recorded.update(zip(test.utterances, test.log_probabilities))
        return finish(run, hparams, manifests, labels, head, trained, started)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "finish", record)
        train.main(arguments)
    return recorded


@pytest.fixture(scope="session")
def trained(command, tmp_path_factory):
    """Return two folds and their log-probabilities of the test utterances.

    folders : fold -> output folder; log_probabilities : fold -> utterance ->
    tensor [classes].
    """
    root = tmp_path_factory.mktemp("trained")
    folders, log_probabilities = {}, {}
    for fold in (1, 2):
        folders[fold] = root / f"fold_{fold}" / "seed_1986"
        log_probabilities[fold] = train_and_record(
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
    """Return utterance -> path of the first fold's test utterances."""
    return recordings_of(trained.folders[1])


def recordings_of(folder):
    """Return utterance -> path of the test utterances of a run."""
    from modules.training.run import Run

    test = Run(folder).manifest("test")
    return {utterance: entry["wav"] for utterance, entry in test.items()}


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


@pytest.fixture
def table(finished_table, tmp_path):
    """A copy of the finished table, to be damaged."""
    return shutil.copytree(finished_table, tmp_path / "out")


@pytest.fixture
def no_report(monkeypatch):
    """Leave out what takes seconds and is tested elsewhere."""
    import cross_validate

    monkeypatch.setattr(cross_validate, "write_report", lambda *_: "none")
