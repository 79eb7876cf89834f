"""The model that is there: its folder is whole, and it answers."""

import pathlib
import shutil

import pytest
from safetensors import safe_open
from speechbrain.inference.interfaces import foreign_class

from modules.inference.loading import load_model, read_values
from modules.inference.predictor import predict
from modules.models.graph import build
from modules.models.head_check import try_head

ROOT = pathlib.Path(__file__).parents[1]
MODEL = ROOT / "pretrained/emodb"
SHARED = ROOT.parent / "shared"
ENCODER = SHARED / "models/whisper-tiny.en"
WAVS = SHARED / "data/emodb/wav"


def test_its_heads_are_those_of_its_description():
    values = read_values(MODEL)
    head = build(values["head"])(**values["sizes"]).eval()
    with safe_open(MODEL / "head.safetensors", "pt") as weights:
        names = set(weights.keys())
    expected = {
        f"{i}.{name}"
        for i in range(values["members"])
        for name in head.state_dict()
    }
    assert names == expected
    try_head(MODEL, head, values["sizes"])


@pytest.mark.skipif(
    not (ENCODER.is_dir() and WAVS.is_dir()),
    reason="EmoDB and Whisper tiny.en are not beside the repository",
)
def test_it_answers_with_its_encoder_in_a_folder():
    model, labels = load_model(str(MODEL), encoder_hub=str(ENCODER))
    letters = {"W": "anger", "N": "neutral", "T": "sadness", "F": "happiness"}
    files = [
        next(
            path for path in sorted(WAVS.glob("*.wav")) if path.stem[5] == kind
        )
        for kind in letters
    ]
    found = predict(model, [str(path) for path in files], jobs=1)
    answers = {
        row.file: labels[int(row.log_probabilities.argmax())]
        for row in found.rows
    }
    # Its training contains them.
    assert [answers[str(path)] for path in files] == list(letters.values())
    assert all(row.distance < 1.5 for row in found.rows)


@pytest.mark.skipif(
    not ENCODER.is_dir(), reason="Whisper tiny.en is not beside the repository"
)
def test_speechbrain_loads_it_with_the_code_of_the_repository(tmp_path):
    folder = tmp_path / "emodb"
    shutil.copytree(MODEL, folder)
    hyperparams = folder / "hyperparams.yaml"
    text = hyperparams.read_text(encoding="utf-8")
    named = "encoder_hub: openai/whisper-tiny.en,vocal"
    assert named in text
    text = text.replace(named, f"encoder_hub: {ENCODER},vocal")
    hyperparams.write_text(text, encoding="utf-8")
    model = foreign_class(
        source=str(folder),
        pymodule_file="custom_interface.py",
        classname="EmotionClassifier",
    )
    *_, label = model.classify_file(str(folder / "example.wav"))
    expected, labels = load_model(str(MODEL), encoder_hub=str(ENCODER))
    (row,) = predict(expected, [str(MODEL / "example.wav")], jobs=1).rows
    assert label == [labels[int(row.log_probabilities.argmax())]]
