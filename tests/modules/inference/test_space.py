"""A Space is a folder that runs by itself."""

import os
import subprocess
import sys

import pytest
import yaml

import export
from modules.errors import BadInput
from modules.inference import space

pytest.importorskip("gradio", reason="requirements-page.txt")


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("space") / "tones"
    arguments = [str(trained.folders[1]), str(folder)]
    export.main([*arguments, "--include_encoder", "--space"])
    return folder


def test_the_header_of_the_readme(folder):
    import gradio

    _, header, text = (folder / "README.md").read_text().split("---\n", 2)
    values = yaml.safe_load(header)
    assert values["sdk"] == "gradio" and values["app_file"] == "app.py"
    assert values["sdk_version"] == gradio.__version__
    assert values["title"] == "tones" and "# tones" in text
    assert (folder / "model/README.md").is_file()


def test_the_page_is_built_by_the_files_of_the_folder_alone(folder):
    """In a process that does not find this repository."""
    code = (
        "import app, pathlib, modules; "
        "assert pathlib.Path(modules.__file__).parents[1].samefile('.'); "
        "from modules.inference.loading import load_model; "
        "from modules.inference.page import build; "
        "from modules.inference.page_facts import read_facts; "
        "model = app.parse([]).model; "
        "build(*load_model(model), read_facts(model)); print('built')"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("built"), done.stderr


def test_no_code_of_the_training_is_needed(folder):
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*.py")}
    assert "app.py" in names and "modules/inference/page.py" in names
    assert not any(n.startswith(("modules/training", "tests")) for n in names)


def test_options_that_exclude_each_other(trained, tmp_path, capsys):
    arguments = [str(trained.folders[1]), str(tmp_path / "x"), "--space"]
    with pytest.raises(SystemExit):
        export.main([*arguments, "--onnx"])
    assert "--space does not go with --onnx" in capsys.readouterr().err


def test_without_gradio(monkeypatch):
    def missing(name):
        raise space.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(space.importlib.metadata, "version", missing)
    with pytest.raises(BadInput, match="pip install -r requirements-page.txt"):
        space.space_files({"README.md": b"---\na: 1\n---\n"}, "x", [])
