"""Laws 1 and 2: frozen means frozen; batch mates do not matter."""

import json
import pathlib
import pickle
import shutil

import pytest
import torch
from conftest import ENCODERS
from heads import make_head
from hypothesis import HealthCheck, given, settings, strategies as st
from transformers import AutoModel

from modules.errors import BadInput
from modules.models.encoder import FrozenEncoder, count_frames
from modules.models.encoder_config import encoder_shape
from modules.models.encoder_files import encoder_digest, locate_encoder
from modules.models.encoder_loading import read_config

TINY_EN = pathlib.Path(__file__).parents[4] / "shared/models/whisper-tiny.en"

every_encoder = pytest.mark.parametrize("family, layer_norm", ENCODERS)
property_of = settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def encoder(encoder_folder, family, layer_norm):
    return FrozenEncoder(encoder_folder(family, layer_norm))


def waveforms(counts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    loudness = torch.rand(len(counts), generator=generator) + 0.01
    return [
        loud * torch.randn(count, generator=generator) + 0.1 * loud
        for loud, count in zip(loudness, counts)
    ]


def padded(waves, extra=0):
    batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    batch = torch.nn.functional.pad(batch, (0, extra))
    return batch, torch.tensor([len(w) / batch.shape[1] for w in waves])


@every_encoder
def test_shape_and_frames_are_those_of_the_bare_model(encoder, family):
    wave = waveforms([9137])[0]
    states, frames = encoder(wave[None])
    assert states.shape == (3, 1, int(frames[0]), 32)
    assert (encoder.num_hidden_states, encoder.hidden_size) == (3, 32)
    if family != "whisper":
        bare = encoder.wrapper.model(wave[None]).last_hidden_state
        assert bare.shape[1] == frames[0] == encoder.count_frames(9137)


@every_encoder
def test_frozen_whatever_is_called_on_its_parents(encoder):
    parent = torch.nn.ModuleDict({"encoder": encoder})
    wave = waveforms([8000])[0][None]
    before, _ = encoder(wave)
    parent.train()  # what Brain does at every epoch
    assert not any(module.training for module in encoder.modules())
    for _ in range(5):
        after, _ = encoder(wave)
        assert torch.equal(after, before)
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not before.requires_grad


@every_encoder
def test_train_mode_would_be_noticed(encoder_folder, family, layer_norm):
    """The law above can fail: the bare model in train mode is random."""
    model = AutoModel.from_pretrained(encoder_folder(family, layer_norm))
    if family == "whisper":
        assert model.config.dropout > 0
        return
    model.train()
    wave = waveforms([8000])[0][None]
    with torch.no_grad():
        first, second = (model(wave).last_hidden_state for _ in range(2))
    assert not torch.equal(first, second)


@every_encoder
@property_of
@given(
    counts=st.lists(st.integers(400, 20_000), min_size=1, max_size=4),
    extra=st.integers(0, 9000),
    seed=st.integers(0, 1000),
)
def test_batch_mates_and_padding_do_not_matter(encoder, counts, extra, seed):
    waves = waveforms(counts, seed)
    head = make_head(3, 32, projection_size=8).eval()
    together, frames = encoder(*padded(waves, extra))
    lengths = frames / together.shape[2]
    with torch.no_grad():
        predictions = head(together, lengths)
    for i, wave in enumerate(waves):
        alone, own = encoder(wave[None])
        assert own[0] == frames[i] == alone.shape[2]
        torch.testing.assert_close(
            together[:, i, : own[0]], alone[:, 0], atol=5e-5, rtol=1e-4
        )
        assert (together[:, i, own[0] :] == 0).all()
        if own[0] < 8:
            continue  # correlations of few frames amplify rounding
        with torch.no_grad():
            prediction = head(alone, torch.ones(1))[0]
        torch.testing.assert_close(
            predictions[i], prediction, atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("family, layer_norm", [("whisper", True)])
def test_whisper_cuts_waveforms_that_are_longer_than_its_window(encoder):
    long, short = waveforms([16000 * 31 + 123, 5000])
    states, frames = encoder(*padded([long, short]))
    assert frames.tolist() == [31 * 50 + 1, 16]
    first, _ = encoder(long[None, : 16000 * 30])
    last, _ = encoder(long[None, 16000 * 30 :])
    joined = torch.cat([first, last], dim=2)
    torch.testing.assert_close(states[:, :1], joined, atol=1e-5, rtol=1e-4)


@every_encoder
def test_shorter_than_a_frame_is_refused(encoder, family):
    samples = 0 if family == "whisper" else 399
    with pytest.raises(ValueError, match="shorter than one frame"):
        encoder(torch.zeros(1, samples))


@every_encoder
def test_silence_gives_finite_states(encoder):
    states, _ = encoder(torch.zeros(1, 8000))
    assert torch.isfinite(states).all()


@every_encoder
def test_bf16_is_near_fp32(encoder_folder, encoder, family, layer_norm):
    low = FrozenEncoder(encoder_folder(family, layer_norm), precision="bf16")
    wave = waveforms([16000])[0][None]
    exact, near = encoder(wave)[0], low(wave)[0]
    assert near.dtype == torch.float32
    assert (exact - near).abs().mean() < 0.05 * exact.abs().mean()
    assert not torch.equal(exact, near)


@pytest.mark.parametrize("family, layer_norm", [("wavlm", True)])
def test_waveforms_are_normalised_as_the_feature_extractor_requires(
    encoder_folder, encoder
):
    wave = waveforms([16000])[0][None]
    states, _ = encoder(wave)
    louder, _ = encoder(10 * wave + 0.3)
    torch.testing.assert_close(louder, states, atol=1e-3, rtol=1e-3)
    folder = encoder_folder("wavlm", False)
    base = FrozenEncoder(folder)
    assert not base.wrapper.normalize_wav
    bare = AutoModel.from_pretrained(folder)(wave, output_hidden_states=True)
    torch.testing.assert_close(
        base(wave)[0], torch.stack(bare.hidden_states), atol=1e-5, rtol=1e-4
    )


@pytest.mark.skipif(not TINY_EN.is_dir(), reason="no real encoder here")
def test_real_whisper_is_independent_of_batch_mates():
    encoder = FrozenEncoder(TINY_EN)
    waves = waveforms([16000, 40_000, 23_456])
    together, frames = encoder(*padded(waves))
    for i, wave in enumerate(waves):
        alone, own = encoder(wave[None])
        torch.testing.assert_close(
            together[:, i, : own[0]], alone[:, 0], atol=1e-4, rtol=1e-4
        )


def test_digest_changes_with_whatever_changes_the_features(
    encoder_folder, tmp_path
):
    original = pathlib.Path(encoder_folder("wavlm", True))
    copy = tmp_path / "renamed"
    shutil.copytree(original, copy)
    digest = encoder_digest(original)
    assert encoder_digest(copy) == digest, "a name changes nothing"
    assert encoder_digest(copy, "bf16") != digest
    other = pathlib.Path(encoder_folder("wavlm", True, seed=1))
    assert encoder_digest(other) != digest, "weights"
    processor = copy / "preprocessor_config.json"
    content = json.loads(processor.read_text())
    content["do_normalize"] = not content["do_normalize"]
    processor.write_text(json.dumps(content))
    assert encoder_digest(copy) != digest, "input normalisation"


def test_an_encoder_that_does_not_exist_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match="neither a folder here nor"):
        locate_encoder("nobody/no-such-encoder")
    with pytest.raises(BadInput, match="neither a folder here nor"):
        locate_encoder("/no/such/folder")
    with pytest.raises(BadInput, match="config.json"):
        locate_encoder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(BadInput, match="preprocessor_config.json"):
        locate_encoder(tmp_path)
    with pytest.raises(BadInput, match="does not describe a model"):
        read_config(tmp_path)


def test_unknown_precision_is_refused(encoder_folder):
    with pytest.raises(BadInput, match="fp32, bf16, fp16"):
        FrozenEncoder(encoder_folder(), precision="fp8")


@every_encoder
def test_the_shape_is_known_without_loading(encoder_folder, family, layer_norm):
    config = read_config(encoder_folder(family, layer_norm))
    assert encoder_shape(config) == (3, 32)
    assert count_frames(config, 16000) == (50 if family == "whisper" else 49)


@pytest.mark.parametrize("family, layer_norm", ENCODERS)
def test_can_be_pickled(family, layer_norm, encoder_folder):
    """For worker processes; weight normalisation would prevent it."""
    encoder = FrozenEncoder(encoder_folder(family, layer_norm))
    copy = pickle.loads(pickle.dumps(encoder))
    wavs = torch.randn(1, 4000)
    assert copy(wavs)[0].equal(encoder(wavs)[0])
