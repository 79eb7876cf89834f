"""Random encoders load as real ones do."""

import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel

from demo import random_encoder
from demo.random_encoder import FAMILIES, make_random_encoder
from modules.errors import BadInput

SMALL = {"num_hidden_layers": 2, "hidden_size": 32}


def hidden_states(model, waveform):
    """Return the hidden states of a waveform of 16 kHz or log-mel input."""
    if model.config.model_type == "whisper":
        model = model.encoder
    with torch.no_grad():
        return model(waveform, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_loads_encodes_and_has_dropout(tmp_path, family, layer_norm):
    folder = make_random_encoder(
        tmp_path / "random", family, layer_norm, **SMALL
    )
    model = AutoModel.from_pretrained(folder)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    assert not model.training
    assert extractor.sampling_rate == 16000
    if family == "whisper":
        inputs, frames = torch.randn(1, 80, 3000), 1500
    else:
        assert extractor.do_normalize == layer_norm
        norm = "layer" if layer_norm else "group"
        assert model.config.feat_extract_norm == norm
        assert model.config.do_stable_layer_norm == layer_norm
        inputs, frames = torch.randn(1, 16000), 49
    states = hidden_states(model, inputs)
    assert len(states) == SMALL["num_hidden_layers"] + 1
    assert all(s.shape == (1, frames, SMALL["hidden_size"]) for s in states)
    assert all(s.isfinite().all() and s.std() > 0 for s in states)
    # A frozen encoder in training mode must be noticed. LayerDrop may skip
    # both layers, and then some families return no states at all: a seed.
    model.train()
    torch.manual_seed(0)
    assert not torch.equal(hidden_states(model, inputs)[-1], states[-1])


def test_seed_decides_and_nothing_else_is_disturbed(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder = make_random_encoder(tmp_path / name, seed=seed, **SMALL)
        weights.append((folder / "model.safetensors").read_bytes())
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        before = torch.get_rng_state()
    assert weights[0] == weights[1] != weights[2]


def test_says_that_weights_are_random(tmp_path):
    folder = make_random_encoder(tmp_path / "encoder", **SMALL)
    assert "Random weights" in (folder / "README.md").read_text("utf-8")


def test_config_overrides(tmp_path):
    folder = make_random_encoder(
        tmp_path / "random",
        config_overrides={"num_hidden_layers": 3, "conv_dim": (16,) * 7},
        **SMALL,
    )
    config = AutoModel.from_pretrained(folder).config
    assert config.num_hidden_layers == 3
    assert list(config.conv_dim) == [16] * 7


def test_made_once(tmp_path, monkeypatch):
    folder = make_random_encoder(tmp_path / "random", **SMALL)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    make_random_encoder(folder, **SMALL)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(BadInput, match="other settings"):
        make_random_encoder(folder, "hubert", **SMALL)


def test_interrupted_making_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        random_encoder.Wav2Vec2FeatureExtractor, "save_pretrained", interrupted
    )
    with pytest.raises(KeyboardInterrupt):
        make_random_encoder(tmp_path / "random", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_unknown_family(tmp_path):
    with pytest.raises(BadInput, match="wavlm, hubert, wav2vec2, whisper"):
        make_random_encoder(tmp_path / "random", "wavml")
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, capsys):
    folder = tmp_path / "random"
    random_encoder.main([str(folder), "--family", "hubert", "--base"])
    assert "random weights" in capsys.readouterr().out
    config = AutoModel.from_pretrained(folder).config
    assert config.model_type == "hubert"
    assert config.feat_extract_norm == "group"
