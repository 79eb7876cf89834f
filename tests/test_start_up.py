"""What each command imports: counted in modules, not in seconds."""

import json
import shutil
import subprocess
import sys

import pytest
import soundfile
from conftest import ROOT
from exported_models import spoken

# Runs a script and reports which of the modules were imported.
REPORT = """
import json, runpy, sys
script, names, *arguments = sys.argv[1:]
sys.argv = [script, *arguments]
try:
    runpy.run_path(script, run_name="__main__")
    status = 0
except SystemExit as stop:
    status = stop.code
print(json.dumps([status, [n for n in json.loads(names) if n in sys.modules]]))
"""

# What draws, trains or reads tables.
TRAINING = [
    "matplotlib",
    "pandas",
    "scipy.stats",
    "sklearn",
    "speechbrain",
    "hyperpyyaml",
    "modules.training",
    "modules.features",
]
OTHER_FAMILIES = [
    f"transformers.models.{name}.modeling_{name}"
    for name in ("wavlm", "wav2vec2", "hubert", "whisper")
]


def run(script, forbidden, *arguments, folder=ROOT):
    """Run a script; return its exit status and what it should not import."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, str(script), json.dumps(forbidden)]
        + list(map(str, arguments)),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "a.wav"
    soundfile.write(path, spoken(1.0), 16000)
    return path


def test_a_misspelt_key_of_train(tmp_path):
    heavy = [*TRAINING, "torch", "transformers", "numpy"]
    heavy.remove("modules.training")  # contains what checks
    for options in (["--sed=3"], ["--data_folder", tmp_path / "no"]):
        found = run("train.py", heavy, "hparams/recommended.yaml", *options)
        assert found == [2, []]


def test_help_of_predict():
    heavy = [*TRAINING, "torch", "transformers", "numpy"]
    assert run("predict.py", heavy, "--help") == [0, []]


def test_first_answer_of_predict(exported, recording):
    forbidden = TRAINING + [n for n in OTHER_FAMILIES if "wavlm" not in n]
    found = run("predict.py", forbidden, exported, recording)
    assert found == [0, []]


@pytest.fixture(scope="module")
def graph_folder(trained, tmp_path_factory):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    import export

    folder = tmp_path_factory.mktemp("graph") / "tones"
    export.main(
        [str(trained.folders[1]), str(folder), "--include_encoder", "--onnx"]
    )
    return folder


def test_engine_onnx(graph_folder, recording):
    forbidden = [*TRAINING, "transformers", "onnx", "onnxscript"]
    found = run(
        "predict.py", forbidden, graph_folder, recording, "--engine", "onnx"
    )
    assert found == [0, []]


def test_emotion_onnx_needs_three_packages(graph_folder, recording, tmp_path):
    """In a folder of its own: nothing of this repository is there."""
    for name in ("model.onnx", "model.json", "emotion_onnx.py"):
        shutil.copyfile(graph_folder / name, tmp_path / name)
    forbidden = ["torch", "transformers", "speechbrain", "scipy", "onnx"]
    forbidden += ["modules", "torchaudio", "huggingface_hub", "pandas"]
    found = run(
        tmp_path / "emotion_onnx.py", forbidden, recording, folder=tmp_path
    )
    assert found == [0, []]


def test_both_engines_give_the_same(graph_folder, recording):
    import predict

    answers = []
    for engine in ("torch", "onnx"):
        output = recording.with_name(f"{engine}.jsonl")
        arguments = [graph_folder, recording, "--engine", engine]
        arguments += ["--output", output]
        assert predict.main([str(argument) for argument in arguments]) == 0
        answers.append(json.loads(output.read_text()))
    ours, theirs = answers
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert theirs[key] == pytest.approx(value, abs=2e-5), key


def test_engine_onnx_needs_a_graph(exported, recording, capsys):
    import predict

    with pytest.raises(SystemExit) as stopped:
        predict.main([str(exported), str(recording), "--engine", "onnx"])
    assert stopped.value.code == 2
    assert "has no model.onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    "before, printed", [("", True), ("import modules.training", False)]
)
def test_no_warning_of_figures_that_nobody_saves(before, printed):
    """Without torchvision, SpeechBrain's train logs warn at their import."""
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        f"{before}\nimport speechbrain.utils.train_logger"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    warned = "torchvision is not available" in done.stdout + done.stderr
    assert warned == printed
