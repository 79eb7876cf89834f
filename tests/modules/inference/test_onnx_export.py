"""Law 9 for ONNX: the graph gives what the model gives, or is refused."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
import soundfile
import torch
from onnx_models import (
    POOLINGS,
    embedding,
    joint,
    joint_with_voice,
    random_model,
)

from demo.random_encoder import make_random_encoder
from modules.audio import read_speech
from modules.errors import BadInput
from modules.inference import onnx_export
from modules.inference.emotion_onnx import EmotionOnnx, Problem
from modules.inference.onnx_export import write_onnx

if any(importlib.util.find_spec(n) is None for n in onnx_export._NEEDED):
    pytest.skip("requirements-onnx.txt", allow_module_level=True)

SHARED = pathlib.Path(__file__).parents[4] / "shared"
TINY_EN, EMODB = SHARED / "models/whisper-tiny.en", SHARED / "data/emodb/wav"

LABELS = ["calm", "glad", "mad"]
FAMILIES = [
    ("wavlm", True),
    ("wavlm", False),
    ("hubert", True),
    ("hubert", False),
    ("wav2vec2", True),
    ("wav2vec2", False),
    ("whisper", True),
]


def noise(seconds, seed=0):
    rng = np.random.default_rng(seed)
    return 0.1 * rng.standard_normal(round(16000 * seconds)).astype("float32")


def agree(model, engine, seconds):
    """Compare waveforms of these lengths; one frame is the shortest."""
    for index, length in enumerate(seconds):
        waveform = noise(length, index)
        with torch.inference_mode():
            states, _ = model.encoder(torch.from_numpy(waveform)[None])
            embeddings = model.pool(states, torch.ones(1))
            wanted = model.classify(embeddings)[0].exp()
        found, values = engine.run(waveform)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        # Of random channels that hardly vary, correlations lose digits.
        np.testing.assert_allclose(values, embeddings[0], atol=1e-3)


@pytest.mark.parametrize(
    ("family", "layer_norm"),
    [
        pytest.param(*family, marks=() if fast else pytest.mark.slow)
        for family, fast in zip(FAMILIES, [1, 0, 0, 0, 0, 0, 1])
    ],
)
def test_every_family(encoder_folder, tmp_path, family, layer_norm):
    model = random_model(encoder_folder(family, layer_norm), joint())
    write_onnx(tmp_path, model, LABELS, 60)
    agree(model, EmotionOnnx(tmp_path), [0.025, 0.03, 1.7, 4.003])


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("{wavlm},vocal", (0, 1)),
        ("{whisper},vocal", (0, 1)),
        pytest.param("vocal,{whisper}", (1, 0), marks=pytest.mark.slow),
    ],
)
def test_an_encoder_and_the_voice(encoder_folder, tmp_path, name, order):
    folders = {key: encoder_folder(key) for key in ("wavlm", "whisper")}
    model = random_model(name.format(**folders), joint_with_voice(*order))
    write_onnx(tmp_path, model, LABELS, 60)
    agree(model, EmotionOnnx(tmp_path), [0.025, 0.0499, 0.05, 0.06, 1.7, 4.003])


def test_the_voice_alone(tmp_path):
    model = random_model("vocal", joint_with_voice(0, 0)["parts"]["voice"])
    write_onnx(tmp_path, model, LABELS, 60)
    agree(model, EmotionOnnx(tmp_path), [0.025, 0.3, 2.5])


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling(encoder_folder, tmp_path, pooling):
    model = random_model(
        encoder_folder("whisper"), embedding(pooling), members=2
    )
    write_onnx(tmp_path, model, LABELS, 60)
    agree(model, EmotionOnnx(tmp_path), [0.025, 0.3, 2.5])


@pytest.fixture(scope="module")
def windows(encoder_folder, tmp_path_factory):
    """Return a model of Whisper's family and the folder of its graph."""
    folder = tmp_path_factory.mktemp("windows")
    model = random_model(
        encoder_folder("whisper"), embedding("attentive_corr", "stack")
    )
    write_onnx(folder, model, LABELS, 60)
    return model, folder


def test_several_windows_of_whisper(windows):
    model, folder = windows
    agree(model, EmotionOnnx(folder), [29.999, 30.0, 30.02, 31.3, 60.0])


@pytest.mark.parametrize("window", [None, 3])
def test_windows_of_a_fixed_length(windows, window):
    """The same graph: the windows are cut outside of it."""
    model, folder = windows
    engine = EmotionOnnx(folder)
    engine.whisper["window"] = model.encoder.whisper_window = window
    try:
        agree(model, engine, [0.5, 7.0])
    finally:
        model.encoder.whisper_window = "fit"


@pytest.mark.slow
def test_encoder_with_fewer_positions(tmp_path):
    """As fine-tuning with a shorter window leaves Whisper."""
    encoder = make_random_encoder(
        tmp_path / "encoder",
        "whisper",
        num_hidden_layers=1,
        hidden_size=32,
        config_overrides={"max_source_positions": 150},
    )
    model = random_model(str(encoder), embedding("corr"), window=None)
    write_onnx(tmp_path, model, LABELS, 60)
    agree(model, EmotionOnnx(tmp_path), [0.5, 3.0, 8.0])


@pytest.mark.slow
@pytest.mark.skipif(
    not (TINY_EN.is_dir() and EMODB.is_dir()), reason="no real speech here"
)
def test_real_speech_and_a_real_encoder(tmp_path):
    """Every ninth file of EmoDB; the head is random."""
    files = sorted(EMODB.glob("*.wav"))[::9]
    model = random_model(f"{TINY_EN},vocal", joint_with_voice())
    write_onnx(tmp_path, model, LABELS, 60)
    engine = EmotionOnnx(tmp_path)
    assert len(files) == 60
    for file in files:
        with torch.inference_mode():
            wanted = model(read_speech(file)[None])[0].exp()
        found = engine.classify_file(file)
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_constant_channels_and_silence(windows):
    """The smallest addend of a correlation survives the export."""
    model, folder = windows
    silence = np.zeros(20_000, "float32")
    with torch.inference_mode():
        wanted = model(torch.from_numpy(silence)[None])[0].exp()
    found, values = EmotionOnnx(folder).run(silence)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_int8_is_close(windows, tmp_path):
    import onnx

    model, folder = windows
    write_onnx(tmp_path, model, LABELS, 60, int8=True)
    graph = onnx.load(tmp_path / "model.onnx").graph
    types = [tensor.data_type for tensor in graph.initializer]
    assert types.count(onnx.TensorProto.INT8) > 10
    exact, short = EmotionOnnx(folder), EmotionOnnx(tmp_path)
    found = [engine.run(noise(2.0))[0] for engine in (exact, short)]
    assert 0 < np.abs(found[0] - found[1]).max() < 0.1
    settings = json.loads((tmp_path / "model.json").read_text())
    assert settings["weights"] == "int8"


def test_weights_beside_the_graph(windows, tmp_path, monkeypatch):
    """As of models beyond 2 GB."""
    model, _ = windows
    monkeypatch.setattr(onnx_export, "_MOST_IN_ONE_FILE", 1000)
    write_onnx(tmp_path, model, LABELS, 60)
    assert (tmp_path / onnx_export.WEIGHTS_BESIDE).stat().st_size > 10_000
    agree(model, EmotionOnnx(tmp_path), [1.0])


class Stubborn(torch.nn.Module):
    """A part whose result depends on values: no graph can have it."""

    def output_size(self, hidden_size):
        return hidden_size

    def forward(self, states):
        if states.abs().max() > 1e9:
            return states[0]
        return states[-1]


def test_what_cannot_be_exported_is_named(windows, encoder_folder, tmp_path):
    model = random_model(encoder_folder("whisper"), embedding("mean"))
    model.heads[0].embedding.layer_pooling = Stubborn()
    with pytest.raises(BadInput, match="Stubborn"):
        write_onnx(tmp_path, model, LABELS, 60)
    model.encoder = torch.nn.Identity()
    model.encoder.is_whisper = False
    with pytest.raises(BadInput, match="cannot export Identity"):
        write_onnx(tmp_path, model, LABELS, 60)
    for beside, name in ("fbank", "Fbank"), (encoder_folder("wavlm"), "Frozen"):
        pair = f"{encoder_folder('whisper')},{beside}"
        model = random_model(pair, embedding("mean"))
        with pytest.raises(BadInput, match=f"cannot export {name}Encoder"):
            write_onnx(tmp_path, model, LABELS, 60)


def test_another_answer_is_refused(windows, tmp_path, monkeypatch):
    model, _ = windows
    monkeypatch.setattr(onnx_export, "_TOLERANCE", -1.0)
    with pytest.raises(BadInput, match="differ by"):
        write_onnx(tmp_path, model, LABELS, 60)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(onnx_export, "_NEEDED", ("onnx_of_nobody",))
    with pytest.raises(BadInput, match="onnx_of_nobody.*requirements-onnx"):
        onnx_export.check_installed()


def test_damaged_models_are_one_sentence(windows, tmp_path):
    import onnx

    _, folder = windows
    settings = (folder / "model.json").read_text()
    graph = (folder / "model.onnx").read_bytes()
    future = onnx.load(folder / "model.onnx")
    future.opset_import[0].version = 99
    for name, content, words in (
        ("model.json", b"{", "model.json is missing or damaged"),
        ("model.json", b'{"labels": []}', "model.json is missing"),
        ("model.onnx", b"", "damaged"),
        ("model.onnx", graph[: len(graph) // 2], "damaged"),
        ("model.onnx", future.SerializeToString(), "operator set"),
        ("model.onnx", None, "does not exist"),
    ):
        (tmp_path / "model.json").write_text(settings)
        (tmp_path / "model.onnx").write_bytes(graph)
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(Problem, match=words) as refused:
            EmotionOnnx(tmp_path)
        assert "\n" not in str(refused.value)


def test_files_of_any_length(windows, tmp_path):
    """Windows of a minute; their probabilities are averaged."""
    model, folder = windows
    engine = EmotionOnnx(folder)
    long = np.stack([noise(61, 1), noise(61, 2)], axis=1)
    soundfile.write(tmp_path / "long.wav", long, 16000, subtype="FLOAT")
    mono = long.mean(axis=1)
    half = len(mono) // 2
    parts = [engine.run(part)[0] for part in (mono[:half], mono[half:])]
    found = engine.classify_file(tmp_path / "long.wav")
    np.testing.assert_allclose(found, np.mean(parts, axis=0), atol=1e-6)
