"""Law 8: a cached feature is the computed one, and never another's."""

import hashlib
import json
import pathlib
import shutil
from collections import namedtuple

import numpy as np
import pytest
import soundfile
import torch

from bad_input import BadInput
from modules.audio import read_waveform
from modules.encoder import FrozenEncoder
from modules.feature_cache import FORMATS, FeatureCache


def write(path, seconds=0.4, seed=0):
    rng = np.random.default_rng(seed)
    samples = 0.1 * rng.standard_normal(round(16000 * seconds))
    soundfile.write(path, samples, 16000)
    return entry_of(path)


def entry_of(path):
    return {
        "wav": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "duration": soundfile.info(path).duration,
    }


def never():
    raise AssertionError("nothing should be encoded")


@pytest.fixture
def recordings(tmp_path):
    return {str(i): write(tmp_path / f"{i}.wav", seed=i) for i in range(3)}


@pytest.mark.parametrize("number_format", FORMATS)
@pytest.mark.parametrize("family", ["wavlm", "whisper"])
def test_cached_equals_computed(
    tmp_path, recordings, encoder_folder, family, number_format
):
    folder = encoder_folder(family)
    cache = FeatureCache(
        tmp_path / "cache", folder, number_format=number_format
    )
    assert cache.fill(recordings, lambda: FrozenEncoder(folder)) == 3
    encoder = FrozenEncoder(folder)
    for entry in recordings.values():
        stored = cache.read(entry["sha256"])
        states, _ = encoder(read_waveform(entry["wav"])[None])
        computed = states[:, 0].movedim(0, 1)
        assert stored.dtype == FORMATS[number_format]
        assert torch.equal(stored, computed.to(stored.dtype))


def test_encoded_once_and_shared(tmp_path, recordings, encoder_folder):
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)
    cache.fill(recordings, lambda: FrozenEncoder(folder))
    again = FeatureCache(tmp_path / "cache", folder)
    assert again.fill(recordings, never) == 0


def test_never_of_another_encoder(tmp_path, recordings, encoder_folder):
    """Same name, other weights, normalisation, precision or format."""
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder(), folder)
    caches = [FeatureCache(tmp_path / "cache", folder)]
    caches += [
        FeatureCache(tmp_path / "cache", folder, precision="bf16"),
        FeatureCache(tmp_path / "cache", folder, number_format="float32"),
    ]
    shutil.copy(
        pathlib.Path(encoder_folder(seed=1)) / "model.safetensors", folder
    )
    caches.append(FeatureCache(tmp_path / "cache", folder))
    settings = folder / "preprocessor_config.json"
    content = json.loads(settings.read_text()) | {"do_normalize": False}
    settings.write_text(json.dumps(content))
    caches.append(FeatureCache(tmp_path / "cache", folder))
    assert len({cache.folder for cache in caches}) == len(caches)


def test_never_of_another_recording(tmp_path, encoder_folder):
    folder = encoder_folder()
    path = tmp_path / "a.wav"
    cache = FeatureCache(tmp_path / "cache", folder)
    before = write(path, seed=0)
    cache.fill({"a": before}, lambda: FrozenEncoder(folder))
    after = write(path, seed=1)
    assert cache.fill({"a": after}, lambda: FrozenEncoder(folder)) == 1
    assert not torch.equal(
        cache.read(before["sha256"]), cache.read(after["sha256"])
    )


def test_goes_on_where_it_was_interrupted(tmp_path, recordings, encoder_folder):
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)
    encoded = []

    class Interrupted(FrozenEncoder):
        def forward(self, *args):
            if len(encoded) == 2:
                raise KeyboardInterrupt
            encoded.append(1)
            return super().forward(*args)

    with pytest.raises(KeyboardInterrupt):
        cache.fill(recordings, lambda: Interrupted(folder))
    assert cache.fill(recordings, lambda: FrozenEncoder(folder)) == 1
    left = [p for p in cache.folder.rglob("*") if p.is_file()]
    assert sorted(p.suffix for p in left) == [".json"] + 3 * [".safetensors"]


def test_killed_while_writing_leaves_no_feature(
    tmp_path, recordings, encoder_folder, monkeypatch
):
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)

    def half_written(tensors, path):
        pathlib.Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("modules.feature_cache.save_file", half_written)
        with pytest.raises(KeyboardInterrupt):
            cache.fill(recordings, lambda: FrozenEncoder(folder))
    assert not list(cache.folder.rglob("*.safetensors"))
    assert cache.fill(recordings, lambda: FrozenEncoder(folder)) == 3


def test_no_room_is_told_before_any_work(
    tmp_path, recordings, encoder_folder, monkeypatch
):
    usage = namedtuple("usage", "total used free")(1, 1, 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    cache = FeatureCache(tmp_path / "cache", encoder_folder())
    with pytest.raises(BadInput, match="no room .* --cache_folder"):
        cache.fill(recordings, never)


def test_a_disk_that_fills_up_is_one_sentence(
    tmp_path, recordings, encoder_folder, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modules.feature_cache.save_file", full)
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)
    with pytest.raises(BadInput, match="No space left.* make room"):
        cache.fill(recordings, lambda: FrozenEncoder(folder))


def test_a_damaged_file_is_named(tmp_path, recordings, encoder_folder):
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)
    cache.fill(recordings, lambda: FrozenEncoder(folder))
    path = cache.path(recordings["1"]["sha256"])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadInput, match=f"{path.name} is damaged"):
        cache.read(recordings["1"]["sha256"])


def test_what_the_format_cannot_hold_is_refused(tmp_path, encoder_folder):
    cache = FeatureCache(tmp_path / "cache", encoder_folder())
    with pytest.raises(BadInput, match="--cache_format float32"):
        cache.write("ab" * 32, torch.full((2, 3, 32), 1e6))


def test_unknown_format_is_refused(tmp_path, encoder_folder):
    with pytest.raises(BadInput, match="float16, bfloat16, float32"):
        FeatureCache(tmp_path, encoder_folder(), number_format="int4")


def test_44_khz_stereo_is_read_as_16_khz_mono(tmp_path):
    time = np.arange(44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    stereo = np.stack([tone, 0 * tone], axis=1)
    soundfile.write(tmp_path / "s.wav", stereo, 44100)
    wave = read_waveform(tmp_path / "s.wav")
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert wave.shape == (16000,)
    np.testing.assert_allclose(wave[100:-100], expected[100:-100], atol=2e-3)
