"""A model's folder and a run's folder with random weights, to be attacked."""

import contextlib
import json
import resource
import shutil
import signal

import pytest
import torch
from safetensors.torch import save_file
from speechbrain.dataio.encoder import CategoricalEncoder

from demo.random_encoder import make_random_encoder
from modules.errors import BadInput
from modules.files import write_json, write_rows
from modules.inference.loading import load_model
from modules.inference.packaging import format_hyperparams
from modules.models.graph import build
from modules.training.metrics import score

# Of the smallest encoder that the families allow.
HEAD = {
    "class": "modules.models.head.EmotionHead",
    "embedding": {
        "class": "modules.models.embedding.Embedding",
        "layer_pooling": {
            "class": "modules.models.layer_pooling.LayerPooling",
            "normalize": True,
        },
        "pooling": {"class": "modules.models.pooling.MeanStdPooling"},
    },
}
SIZES = {"num_hidden_states": 3, "hidden_size": 32, "num_classes": 3}
LABELS = ["angry", "happy", "sad"]
GIGABYTE = 2**30


@pytest.fixture(scope="session")
def encoders(tmp_path_factory):
    """Return a function that makes an encoder of a family once."""
    root = tmp_path_factory.mktemp("attacked-encoders")

    def make(family="wavlm"):
        folder = root / f"{family}-random-weights"
        if not folder.exists():
            make_random_encoder(folder, family, True, 0, 2, 32)
        return folder

    return make


def head_weights(members=1):
    """Return the weights of heads, as a model's folder has them."""
    torch.manual_seed(0)
    return {
        f"{i}.{name}": value
        for i in range(members)
        for name, value in build(HEAD)(**SIZES).state_dict().items()
    }


def write_labels(path, labels=LABELS):
    """Write label_encoder.txt as training does."""
    encoder = CategoricalEncoder()
    encoder.expect_len(len(labels))
    encoder.update_from_iterable(labels)
    encoder.save(path)


def write_hyperparams(path, **changes):
    """Write hyperparams.yaml as export.py does, with changes."""
    values = {
        "encoder_hub": "random",
        "encoder_revision": None,
        "encoder_files": [
            "config.json",
            "preprocessor_config.json",
            "model.safetensors",
        ],
        "whisper_window": None,
        "channel": "mean",
        "members": 1,
        "head": HEAD,
        "sizes": SIZES,
    } | changes
    path.write_text(format_hyperparams(values))


@pytest.fixture(scope="session")
def whole_model(encoders, tmp_path_factory):
    """Return a model's folder that nobody has attacked; to be read only."""
    folder = tmp_path_factory.mktemp("attacked-model") / "model"
    folder.mkdir()
    write_hyperparams(folder / "hyperparams.yaml")
    save_file(head_weights(), folder / "head.safetensors")
    write_labels(folder / "label_encoder.txt")
    shutil.copytree(encoders(), folder / "encoder")
    return folder


@pytest.fixture
def model(whole_model, tmp_path):
    """Return a copy of a model's folder."""
    return shutil.copytree(whole_model, tmp_path / "model")


@pytest.fixture
def encoder(encoders, tmp_path):
    """Return a copy of an encoder's folder."""
    return shutil.copytree(encoders(), tmp_path / "encoder")


@pytest.fixture
def run_folder(encoders, tmp_path):
    """Return the folder of a finished run, without what only people read."""
    folder = tmp_path / "run"
    (folder / "save").mkdir(parents=True)
    weights = {k.partition(".")[2]: v for k, v in head_weights().items()}
    save_file(weights, folder / "head.safetensors")
    write_labels(folder / "save" / "label_encoder.txt")
    rows = [
        {
            "utterance": f"u{i}",
            "speaker": "s",
            "truth": label,
            "prediction": label,
        }
        | dict.fromkeys(LABELS, "0.333333")
        for i, label in enumerate(LABELS)
    ]
    for name in ("predictions.csv", "dev_predictions.csv"):
        write_rows(folder / name, rows)
    encoder = {
        "hub": str(encoders()),
        "revision": None,
        "precision": "fp32",
        "fine_tuned": False,
        "whisper_window": None,
    }
    corpus = {"name": "tones", "restricted": ""}
    values = {"head": HEAD, "sizes": SIZES}
    write_json(
        folder / "graph.json", values | {"encoder": encoder, "corpus": corpus}
    )
    write_json(folder / "settings.json", {"data_folder": None})
    write_json(folder / "inputs.json", {"encoder": "0" * 64})
    results = score([0, 1, 2], [0, 1, 2], LABELS) | {
        "dev_WA": 1.0,
        "n_dev": 3,
        "n_test": 3,
    }
    write_json(folder / "results.json", results)
    return folder


def change_json(path, *keys, value):
    """Set a value in a JSON file, under nested keys."""
    content = json.loads(path.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(content))


def assert_one_sentence(problem, *words):
    """Check that a message is one line, not long, and has these words."""
    text = str(problem)
    assert "\n" not in text and len(text) < 700, text
    assert ":" in text, f"no remedy: {text}"
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"


@contextlib.contextmanager
def bounded(seconds=30, more=4 * GIGABYTE):
    """Stop what hangs; refuse memory beyond what the process has now."""

    def stop(signum, frame):
        raise TimeoutError(f"not done in {seconds} s")

    pages = int(open("/proc/self/statm").read().split()[0])
    now = pages * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, before[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


def refuse(folder, *words):
    """Load a folder; check the one sentence that comes of it."""
    with bounded(), pytest.raises(BadInput) as caught:
        load_model(folder)
    assert_one_sentence(caught.value, *words)
