"""The code of docs/adding.md works, and is as short as it promises."""

import doctest
import importlib
import itertools
import re
import shutil
import sys

import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT

import data_prep
import modules.models
import train
from data_prep import corpora
from modules.audio import read_speech
from modules.inference import interface_source
from modules.inference.loading import load_model
from modules.inference.packaging import build, write_files
from modules.training.configuration import load_configuration
from modules.training.run import Run

PAGE = (ROOT / "docs/adding.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", PAGE, re.S))
LINES = re.findall(r"```yaml\n(.*?)\n```", PAGE, re.S)
OPTIONS = ["--noprogressbar", "--device=cpu", "--cache_format=float32"]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return a copy of the code that has the files of the page."""
    for folder in ("modules", "data_prep"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(interface_source, "ROOT", tmp_path)
    for package, folder in (
        (modules.models, "modules/models"),
        (data_prep, "data_prep"),
    ):
        paths = [*package.__path__, str(tmp_path / folder)]
        monkeypatch.setattr(package, "__path__", paths)
    place = str(tmp_path / "data_prep/corpora.py")
    monkeypatch.setattr(corpora, "__file__", place)
    yield tmp_path
    for name in FILES:
        sys.modules.pop(_module(name), None)


def _module(name):
    return name.removesuffix(".py").replace("/", ".")


def train_and_export(arguments, folder):
    """Train, export; compare the exported model with the training's test."""
    arguments = [*arguments, f"--output_folder={folder / 'run'}", *OPTIONS]
    hparams, run_opts = load_configuration(arguments)
    train.train_fold(hparams, run_opts)
    run = Run(folder / "run")
    (folder / "model").mkdir()
    write_files(folder / "model", build([run], True, None, None, "added"))
    model, labels = load_model(folder / "model")
    for row in run.predictions():
        wav = run.manifest("test")[row["utterance"]]["wav"]
        expected = torch.tensor([float(row[label]) for label in labels])
        with torch.inference_mode():
            found = model(read_speech(wav)[None])[0]
        torch.testing.assert_close(found, expected.log(), rtol=0, atol=1e-5)
    return run


def test_every_addition_is_one_short_file_and_its_example_runs(repository):
    assert sorted(FILES) == [
        "data_prep/savee_prepare.py",
        "modules/models/max_pooling.py",
        "modules/models/mfcc.py",
    ]
    for name, text in FILES.items():
        assert len(text.splitlines()) <= 80
        module = importlib.import_module(_module(name))
        tried = doctest.testmod(module)
        assert not tried.failed


def test_a_pooling(repository, tone_corpus, encoder_folder, tmp_path):
    text = (ROOT / "hparams/corr_wavlm.yaml").read_text(encoding="utf-8")
    path = tmp_path / "with_max.yaml"
    path.write_text(text.replace("\npoolings:\n", f"\npoolings:\n{LINES[0]}\n"))
    run = train_and_export(
        [
            str(path),
            "--pooling=max",
            "--corpus=csv",
            f"--csv_file={tone_corpus}",
            f"--encoder_hub={encoder_folder()}",
            f"--cache_folder={tmp_path / 'cache'}",
            "--number_of_epochs=1",
        ],
        tmp_path,
    )
    pooling = run.graph["head"]["embedding"]["pooling"]
    assert pooling == {"class": "modules.models.max_pooling.MaxPooling"}


def test_a_corpus(repository, encoder_folder, tmp_path):
    folder = tmp_path / "savee"
    rng = np.random.default_rng(0)
    for speaker, emotion, take in itertools.product(
        ("DC", "JE", "KL"), ("a", "n", "sa"), (1, 2)
    ):
        path = folder / "AudioData" / speaker
        path.mkdir(parents=True, exist_ok=True)
        wave = 0.1 * rng.standard_normal(4800)
        soundfile.write(path / f"{emotion}{take:02}.wav", wave, 16000)
    run = train_and_export(
        [
            str(ROOT / "hparams/baseline.yaml"),
            "--corpus=savee",
            f"--data_folder={folder}",
            "--test_fold=2",
            f"--encoder_hub={encoder_folder()}",
            f"--cache_folder={tmp_path / 'cache'}",
        ],
        tmp_path,
    )
    assert run.labels == ["anger", "neutral", "sadness"]
    assert {e["speaker"] for e in run.manifest("test").values()} == {"JE"}
    assert run.graph["corpus"]["name"] == "SAVEE"


def test_an_encoder(repository, tone_corpus, tmp_path):
    run = train_and_export(
        [
            str(ROOT / "hparams/baseline.yaml"),
            "--corpus=csv",
            f"--csv_file={tone_corpus}",
            f"--encoder_hub={LINES[1].removeprefix('encoder_hub: ')}",
            f"--cache_folder={tmp_path / 'cache'}",
        ],
        tmp_path,
    )
    assert run.graph["sizes"]["hidden_size"] == 60
