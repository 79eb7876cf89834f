"""Loading a folder that anyone may have made."""

import contextlib
import shutil

import pytest

from modules.errors import BadInput
from modules.inference.loading import load_model


def test_nothing_of_the_folder_is_executed(exported, tmp_path):
    """HyperPyYAML would execute what the file names."""
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    trap = tmp_path / "trap"
    with open(folder / "hyperparams.yaml", "a") as out:
        out.write(f"\ntrap: !apply:pathlib.Path.mkdir\n    - {trap}\n")
        out.write(f"other: !!python/object/apply:os.mkdir [{trap}]\n")
    (folder / "custom_interface.py").write_text("raise SystemExit(7)\n")
    with contextlib.suppress(BadInput):
        load_model(folder)
    assert not trap.exists()


def test_files_outside_of_the_folder_are_refused(exported, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    path = folder / "hyperparams.yaml"
    text = path.read_text()
    path.write_text(text.replace("- config.json", "- ../../config.json"))
    with pytest.raises(BadInput, match="outside"):
        load_model(folder)
