"""Law 8: a cached feature is the computed one, and never another's."""

import hashlib
import json
import os
import pathlib
import shutil
import threading
import time
from collections import namedtuple

import numpy as np
import pytest
import soundfile
import torch
from safetensors import SafetensorError

from modules.audio import read_waveform
from modules.errors import BadInput
from modules.features import extraction, store as feature_store
from modules.features.cache import FeatureCache
from modules.features.paired_cache import open_cache
from modules.features.store_locks import writing
from modules.features.stored_states import FORMATS, StoredStates
from modules.models.encoder import FrozenEncoder
from modules.models.vocal import VocalEncoder


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
        computed = StoredStates.from_hidden_states(
            states[:, 0].movedim(0, 1), FORMATS[number_format]
        )
        assert stored.values.dtype == FORMATS[number_format]
        assert torch.equal(stored.values, computed.values)
        assert torch.equal(stored.moments, computed.moments)


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
        cache.read(before["sha256"]).values, cache.read(after["sha256"]).values
    )


def test_an_interrupted_pass_continues(tmp_path, recordings, encoder_folder):
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
    left = {p.suffix for p in cache.folder.iterdir()}
    assert left == {"", ".json", ".safetensors"}  # "": the lock


def test_no_room_is_reported_before_any_work(
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
    """Shards that were written before stay."""
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)
    write, written = feature_store.save_file, []

    def full(*args, **kwargs):
        if written:
            raise SafetensorError("No space left on device (os error 28)")
        written.append(1)
        write(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(extraction, "SHARD_BYTES", 1)
        patch.setattr(feature_store, "save_file", full)
        with pytest.raises(BadInput, match="No space left.* make room"):
            cache.fill(recordings, lambda: FrozenEncoder(folder))
    assert cache.fill(recordings, lambda: FrozenEncoder(folder)) == 2


def test_a_cache_on_a_read_only_disk(tmp_path, recordings, encoder_folder):
    """A complete cache can be read; an incomplete one is one sentence."""
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)
    first = {"0": recordings["0"]}
    cache.fill(first, lambda: FrozenEncoder(folder))
    again = FeatureCache(tmp_path / "cache", folder)
    was = os.geteuid()
    for path in (cache.folder, cache.folder.parent):
        path.chmod(0o555)
    # pytest's folders are accessible to their owner alone.
    for part in (tmp_path, *tmp_path.parents):
        if part.stat().st_uid == was and not part.stat().st_mode & 0o001:
            part.chmod(0o755)
    (cache.folder / ".lock").chmod(0o444)
    if was == 0:  # root can write everywhere
        os.seteuid(65534)
    try:
        assert again.fill(first, never) == 0
        assert len(again.read(first["0"]["sha256"])) > 0
        with pytest.raises(BadInput, match="written to .* --cache_folder"):
            again.fill(recordings, never)
    finally:
        os.seteuid(was)
        for path in (cache.folder.parent, cache.folder):
            path.chmod(0o755)


def test_two_processes_encode_nothing_twice(
    tmp_path, recordings, encoder_folder, monkeypatch
):
    """The second waits for the first and uses its hidden states."""
    folder = encoder_folder()
    first = FeatureCache(tmp_path / "cache", folder)
    second = FeatureCache(tmp_path / "cache", folder)
    started, outcome = threading.Event(), []

    class Slow(FrozenEncoder):
        def forward(self, *args):
            started.set()
            time.sleep(0.2)
            return super().forward(*args)

    other = threading.Thread(
        target=lambda: outcome.append(
            first.fill(recordings, lambda: Slow(folder))
        )
    )
    other.start()
    assert started.wait(30)
    assert second.fill(recordings, never) == 0
    other.join()
    assert outcome == [3]


def test_a_continued_pass_makes_the_same_batches(
    tmp_path, recordings, encoder_folder, monkeypatch
):
    """Its hidden states equal those of the unbroken pass, bit for bit."""
    folder = encoder_folder()
    monkeypatch.setattr(extraction, "SHARD_BYTES", 1)
    unbroken = FeatureCache(tmp_path / "one", folder, batch_seconds=1.0)
    broken = FeatureCache(tmp_path / "two", folder, batch_seconds=1.0)
    unbroken.fill(recordings, lambda: FrozenEncoder(folder))

    class Interrupted(FrozenEncoder):
        def forward(self, wavs, lengths):
            if len(wavs) == 1:
                raise KeyboardInterrupt
            return super().forward(wavs, lengths)

    with pytest.raises(KeyboardInterrupt):
        broken.fill(recordings, lambda: Interrupted(folder))
    assert broken.fill(recordings, lambda: FrozenEncoder(folder)) == 1
    for entry in recordings.values():
        one, two = (c.read(entry["sha256"]) for c in (unbroken, broken))
        assert torch.equal(one.values, two.values)


def test_files_of_a_killed_run_are_removed(
    tmp_path, recordings, encoder_folder
):
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)
    left = cache.folder / ".unfinished-of-a-killed-run"
    left.mkdir(parents=True)
    (left / "ab.safetensors").write_bytes(b"half")
    assert cache.fill(recordings, lambda: FrozenEncoder(folder)) == 3
    assert not left.exists()


def test_a_damaged_shard_is_encoded_anew_once_deleted(
    tmp_path, recordings, encoder_folder
):
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)
    cache.fill(recordings, lambda: FrozenEncoder(folder))
    (path,) = cache.folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadInput, match=f"{path.name} is damaged"):
        FeatureCache(tmp_path / "cache", folder)
    path.unlink()
    again = FeatureCache(tmp_path / "cache", folder)
    assert again.fill(recordings, lambda: FrozenEncoder(folder)) == 3


def test_values_beyond_the_range_of_the_format_are_refused(
    tmp_path, recordings, encoder_folder
):
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)

    class Large(FrozenEncoder):
        def forward(self, *args):
            states, frames = super().forward(*args)
            return states * 1e9, frames

    with pytest.raises(BadInput, match="--cache_format float32"):
        cache.fill(recordings, lambda: Large(folder))


def test_loading_more_than_the_memory_of_a_device_is_refused(
    tmp_path, recordings, encoder_folder, monkeypatch
):
    folder = encoder_folder()
    cache = FeatureCache(tmp_path / "cache", folder)
    cache.fill(recordings, lambda: FrozenEncoder(folder))
    cache.load(recordings, "cpu")
    monkeypatch.setattr("modules.features.cache._free_memory", lambda _: 10)
    with pytest.raises(BadInput, match="memory free; leave cache_device"):
        cache.load(recordings, "cpu")


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


def test_two_caches_are_filled_by_their_own_upstreams(
    tmp_path, recordings, encoder_folder
):
    """Each at its own frame rate; what one of them has is used."""
    folder = encoder_folder("whisper")
    alone = FeatureCache(tmp_path / "cache", folder)
    alone.fill(recordings, lambda: FrozenEncoder(folder))
    shards = sorted((tmp_path / "cache").rglob("*.safetensors"))
    pair = open_cache(tmp_path / "cache", f"{folder},vocal")
    pair.fill(recordings, progress=False)
    assert set(shards) < set((tmp_path / "cache").rglob("*.safetensors"))
    encoder = VocalEncoder()
    for entry in recordings.values():
        stored = pair.read(entry["sha256"])
        assert torch.equal(
            stored.one(0).values, alone.read(entry["sha256"]).values
        )
        features = encoder.transform(read_waveform(entry["wav"]))
        assert torch.equal(stored.one(1).values[:, 0], features.half())


def bits(cache, recordings):
    """Return the bytes of the hidden states of recordings."""
    states = [cache.read(e["sha256"]) for e in recordings.values()]
    return [
        tensor.numpy().tobytes()
        for one in states
        for tensor in one.tensors().values()
    ]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_parts_make_what_one_process_makes(
    tmp_path, recordings, encoder_folder, count
):
    """Batches of two: a part gets whole batches."""
    folder = encoder_folder()
    one = FeatureCache(tmp_path / "one", folder, batch_seconds=0.9)
    parts = FeatureCache(tmp_path / "parts", folder, batch_seconds=0.9)
    one.fill(recordings)
    encoded = [
        parts.fill(recordings, part=(i, count)) for i in reversed(range(count))
    ]
    assert sum(encoded) == 3 and max(encoded) == 2
    assert bits(parts, recordings) == bits(one, recordings)
    assert parts.fill(recordings, never) == 0


def test_parts_write_side_by_side_and_no_other_process_does(tmp_path):
    """Whoever finds nobody at work removes what a killed process has left."""
    left = tmp_path / ".unfinished-of-a-killed-part"
    left.mkdir()
    order = []

    def enter(name, part):
        with writing(tmp_path, part):
            order.append(name)

    with writing(tmp_path, (0, 2)):
        assert not left.exists()
        left.mkdir()
        with writing(tmp_path, (1, 2)):
            assert left.exists(), "part 0 may be writing it"
        others = [
            threading.Thread(target=enter, args=args)
            for args in [("part 0 again", (0, 2)), ("all", None)]
        ]
        for other in others:
            other.start()
        time.sleep(0.3)
        order.append("part 0 ends")
    for other in others:
        other.join(30)
    assert order[0] == "part 0 ends" and len(order) == 3
    assert not left.exists()
