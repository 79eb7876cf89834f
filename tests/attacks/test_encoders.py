"""An encoder from anywhere: all of its weights, nothing of its code."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import train
from modules.errors import BadInput
from modules.features.cache import FeatureCache
from modules.models.encoder_files import locate_encoder
from modules.models.trainable_encoder import TrainableEncoder
from modules.models.upstream import make_encoder, open_upstream
from tests.attacks.model_and_run_folders import assert_one_sentence, change_json

FAMILIES = ["wavlm", "hubert", "wav2vec2", "whisper"]


def refuse(folder, *words, load=make_encoder):
    """Load an encoder; check the one sentence that comes of it."""
    with pytest.raises(BadInput) as caught:
        load(str(folder))
    assert_one_sentence(caught.value, *words)


def rewrite(folder, change):
    """Rewrite the weights of an encoder."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return tensors


@pytest.fixture(params=FAMILIES)
def of_family(encoders, request, tmp_path):
    """Return a copy of an encoder of each family."""
    return shutil.copytree(encoders(request.param), tmp_path / request.param)


def half(tensors):
    """Take every second tensor of the encoder away."""
    names = [n for n in sorted(tensors) if not n.startswith("decoder.")]
    for name in names[::2]:
        del tensors[name]


def test_half_of_the_tensors_is_not_enough(of_family):
    rewrite(of_family, half)
    refuse(of_family, "lack", "tensors")
    refuse(of_family, "lack", load=TrainableEncoder)


def test_one_tensor_of_the_last_layer_is_not_enough(of_family):
    def drop(tensors):
        names = [n for n in tensors if "layers.1" in n and "encoder" in n]
        del tensors[sorted(names)[-1]]

    rewrite(of_family, drop)
    refuse(of_family, "lack 1 of")


def test_a_vector_of_another_length_is_refused(of_family):
    def spoil(tensors):
        name = sorted(n for n in tensors if n.endswith("layer_norm.bias"))[-1]
        tensors[name] = torch.zeros(7)

    rewrite(of_family, spoil)
    refuse(of_family, "cannot be loaded")


def test_values_that_are_not_finite_are_refused(of_family):
    def spoil(tensors):
        name = sorted(n for n in tensors if n.endswith("layer_norm.weight"))[-1]
        tensors[name][0] = float("nan")

    rewrite(of_family, spoil)
    refuse(of_family, "not finite")


def test_pytorch_weights_work_as_before(of_family):
    """Also under the names that weight normalisation had before PyTorch 2."""
    wave = torch.randn(1, 4000)
    before, _ = make_encoder(str(of_family))(wave)
    tensors = rewrite(of_family, lambda tensors: None)
    (of_family / "model.safetensors").unlink()
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in tensors.items()
    }
    torch.save(old, of_family / "pytorch_model.bin")
    after, _ = make_encoder(str(of_family))(wave)
    assert torch.equal(before, after)


def test_a_pickle_of_code_runs_nothing(encoder, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (encoder / "model.safetensors").unlink()
    torch.save({"x": Evil()}, encoder / "pytorch_model.bin")
    refuse(encoder, "cannot be loaded")
    assert not (tmp_path / "ran").exists()


def test_whisper_needs_no_decoder(encoders, tmp_path):
    folder = shutil.copytree(encoders("whisper"), tmp_path / "whisper")
    wave = torch.randn(1, 4000)
    before, _ = make_encoder(str(folder))(wave)

    def drop(tensors):
        for name in [n for n in tensors if n.startswith("decoder.")]:
            del tensors[name]

    rewrite(folder, drop)
    # A decoder that is not there takes no memory either.
    change_json(folder / "config.json", "vocab_size", value=10**6)
    change_json(folder / "config.json", "decoder_layers", value=256)
    after, _ = make_encoder(str(folder))(wave)
    assert torch.equal(before, after)


def test_auto_map_runs_nothing(of_family, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *text: "y")
    path = of_family / "preprocessor_config.json"
    change_json(path, "auto_map", value={"AutoFeatureExtractor": "evil.X"})
    refuse(of_family, "auto_map")
    refuse(of_family, "auto_map", load=TrainableEncoder)


@pytest.mark.parametrize("name", ["modeling.py", "kernel.so", "x.pyc"])
def test_code_in_the_folder_is_refused(encoder, name):
    (encoder / name).touch()
    refuse(encoder, name, "contains code")


@pytest.mark.parametrize(
    "key, value, word",
    [
        ("model_type", "wav2vec2-bert", "wav2vec2-bert"),
        ("model_type", "bert", "bert"),
        ("conv_dim", None, "config.json"),
        ("num_attention_heads", 0, "num_attention_heads"),
        ("num_attention_heads", 5, "cannot be loaded"),
        ("hidden_act", "import os", "cannot be loaded"),
        ("feat_extract_norm", "none", "cannot be loaded"),
    ],
)
def test_a_configuration_of_something_else_is_refused(
    encoder, key, value, word
):
    change_json(encoder / "config.json", key, value=value)
    refuse(encoder, word)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{", '"x"', "{" * 10**5, "\0", "NaN", '{"a": 1e999}'],
)
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_configuration_that_is_no_mapping_is_refused(encoder, name, text):
    (encoder / name).write_text(text)
    refuse(encoder, "encoder")


@pytest.mark.parametrize("value", [-1, 2, 10**6])
def test_a_probability_is_one(encoders, tmp_path, value):
    """Whisper computes with its own only when it encodes."""
    folder = shutil.copytree(encoders("whisper"), tmp_path / "whisper")
    change_json(folder / "config.json", "activation_dropout", value=value)
    refuse(folder, "activation_dropout")


def test_a_named_pipe_does_not_hang(encoder):
    os.mkfifo(encoder / "more.safetensors")
    refuse(encoder, "not a regular file")


def test_an_unreadable_folder_is_a_sentence(encoder, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    refuse(loop, "neither a folder here")
    refuse(tmp_path / ("x" * 300), "neither a folder here")


@pytest.mark.parametrize("name", ["/no/such", "./none", "a b", "a/b/c", "~x"])
def test_paths_are_not_looked_for_on_the_hub(name, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("the network was used")

    target = "modules.models.encoder_files.snapshot_download"
    monkeypatch.setattr(target, no_network)
    refuse(name, "neither a folder here", load=locate_encoder)


def test_the_store_knows_incomplete_weights_before_it_makes_a_folder(
    encoder, tmp_path
):
    rewrite(encoder, half)
    cache = FeatureCache(tmp_path / "cache", str(encoder))
    with pytest.raises(BadInput, match="lack"):
        cache.upstream.make()
    assert not (tmp_path / "cache").exists()


def test_a_wrong_encoder_does_not_occupy_the_output_folder(
    tone_corpus, tmp_path, capsys
):
    command = [
        "hparams/recommended.yaml",
        "--corpus=csv",
        f"--csv_file={tone_corpus}",
        f"--cache_folder={tmp_path / 'cache'}",
        f"--output_folder={tmp_path / 'run'}",
        f"--encoder_hub={tmp_path / 'nowhere'}",
        "--device=cpu",
    ]
    with pytest.raises(SystemExit) as stopped:
        train.main(command)
    assert stopped.value.code == 2
    assert "neither a folder here" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_is_known_before_the_weights_is_bounded_too(encoder):
    """`open_upstream` decides shapes, and the size of the store."""
    change_json(encoder / "config.json", "num_hidden_layers", value=10**6)
    refuse(encoder, "num_hidden_layers", load=open_upstream)
    content = json.loads((encoder / "config.json").read_text())
    assert content["num_hidden_layers"] == 10**6
