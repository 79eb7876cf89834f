"""A model without its encoder: found by name or folder, known by its weights."""

import json
import pathlib
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import export
import predict as script
from modules.errors import BadInput
from modules.inference.loading import load_model
from modules.inference.predictor import predict
from modules.training.run import Run

NAME = "somebody/wavlm-random"


@pytest.fixture(scope="module")
def named(trained, tmp_path_factory):
    """Return a model that names its encoder on the Hub."""
    folder = tmp_path_factory.mktemp("named") / "tones"
    arguments = [str(trained.folders[1]), str(folder)]
    export.main([*arguments, "--encoder_name", NAME, "--half_precision"])
    return folder


@pytest.fixture
def half(encoder_folder, tmp_path):
    """Return a copy of the encoder in float16."""
    folder = shutil.copytree(encoder_folder(), tmp_path / "half")
    path = pathlib.Path(folder, "model.safetensors")
    tensors = {k: v.half() for k, v in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def probabilities(folder, files, encoder_hub=None):
    model, _ = load_model(folder, encoder_hub=encoder_hub)
    rows, problems = predict(model, files)
    assert not problems
    return torch.stack([row.log_probabilities.exp() for row in rows])


def test_the_folder_names_the_encoder_and_does_not_contain_it(named):
    text = (named / "hyperparams.yaml").read_text()
    assert f"encoder_hub: {NAME}\n" in text and "encoder_values: " in text
    assert not (named / "encoder").exists()
    facts = yaml.safe_load((named / "README.md").read_text().split("---\n")[1])
    assert facts["base_model"] == NAME


def test_it_is_adapted_with_its_encoder_elsewhere(
    linear_runs, foreign_folder, tmp_path, capsys
):
    hub = Run(linear_runs[0]).settings["encoder_hub"].split(",")[0]
    model, adapted = str(tmp_path / "model"), tmp_path / "adapted"
    export.main([str(linear_runs[0]), model, "--encoder_name", NAME])
    given = [f"--encoder_hub={hub}"]
    export.main([model, str(adapted), f"--adapt_to={foreign_folder}", *given])
    text = (adapted / "hyperparams.yaml").read_text()
    assert f"encoder_hub: {NAME}" in text and "adapted_to: " in text
    assert "## Unknown" in pathlib.Path(model, "README.md").read_text()
    assert "## Unknown" not in (adapted / "README.md").read_text()
    with pytest.raises(SystemExit):
        export.main([model, str(tmp_path / "x"), *given])
    assert "which load the model" in capsys.readouterr().err


def test_a_copy_in_half_precision_gives_nearly_the_same(
    named, exported, half, encoder_folder, recordings
):
    """Measured with random weights: 2.7e-4 at most; no answer changes."""
    files = list(recordings.values())
    expected = probabilities(exported, files)
    same = probabilities(named, files, encoder_folder())
    rounded = probabilities(named, files, half)
    assert (same - expected).abs().max() < 1e-3  # heads in float16
    difference = (rounded - same).abs().max()
    assert 0 < difference < 1e-2
    assert torch.equal(rounded.argmax(dim=1), same.argmax(dim=1))


def test_a_copy_in_half_precision_is_named_in_the_log(
    named, half, encoder_folder, caplog
):
    load_model(named, encoder_hub=encoder_folder())
    assert not caplog.text
    load_model(named, encoder_hub=half)
    assert caplog.text.count("by rounding to half precision alone") == 1
    caplog.clear()
    # A model of before does not have the second digest.
    path = named / "hyperparams.yaml"
    text = path.read_text()
    try:
        path.write_text(text.replace("encoder_unrounded: ", "of_before: ", 1))
        load_model(named, encoder_hub=half)
    finally:
        path.write_text(text)
    assert not caplog.text


def test_another_encoder_is_refused(named, encoder_folder):
    with pytest.raises(BadInput, match="has other weights than the one that"):
        load_model(named, encoder_hub=encoder_folder(seed=1))


def test_predict_takes_the_encoder(named, half, recordings, tmp_path):
    file = next(iter(recordings.values()))
    out = tmp_path / "x.jsonl"
    arguments = [str(named), file, "--encoder_hub", str(half)]
    assert script.main([*arguments, "--output", str(out)]) == 0
    assert json.loads(out.read_text())["file"] == file


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--encoder_name", "./x"], "is no name on the Hub"),
        (["--encoder_name", NAME, "--include_encoder"], "include_encoder out"),
    ],
)
def test_wrong_names(trained, tmp_path, capsys, options, sentence):
    arguments = [str(trained.folders[1]), str(tmp_path / "new"), *options]
    with pytest.raises(SystemExit):
        export.main(arguments)
    assert sentence in capsys.readouterr().err
