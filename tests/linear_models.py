"""Models of the recommended system, and recordings of another corpus."""

import csv

import pytest
import soundfile
from conftest import train_and_record
from exported_models import spoken

import export


@pytest.fixture(scope="session")
def linear_runs(linear_command, tmp_path_factory):
    """Return the folders of two folds of the recommended system."""
    root = tmp_path_factory.mktemp("linear")
    folders = [root / f"fold_{fold}" for fold in (1, 2)]
    for fold, folder in enumerate(folders, start=1):
        train_and_record(linear_command(folder, test_fold=fold))
    return folders


@pytest.fixture(scope="session")
def linear_model(linear_runs, tmp_path_factory):
    """Return the folder of a model with two heads."""
    folder = tmp_path_factory.mktemp("linear_exported") / "tones"
    export.main(
        [
            str(linear_runs[0]),
            str(folder),
            *("--include_encoder", "--folds", "1", "2"),
        ]
    )
    return folder


@pytest.fixture(scope="session")
def foreign_folder(tmp_path_factory):
    """Return a folder of ten recordings of other sounds, and a list of them.

    The list has two speakers.
    """
    folder = tmp_path_factory.mktemp("foreign")
    rows = []
    for i in range(10):
        wave = spoken(0.4 + i / 40, seed=i) * (0.2 if i < 5 else 1.0)
        soundfile.write(folder / f"{i}.wav", wave, 16000)
        rows.append([f"{i}.wav", f"speaker{i // 5}"])
    with open(folder / "list.csv", "w", newline="") as out:
        csv.writer(out).writerows([["path", "speaker"], *rows])
    return folder
