"""One pass encodes every recording once and stores it under its digest."""

import hashlib

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, strategies as st

from modules.errors import BadInput
from modules.features.extraction import encode_batches, plan_batches
from modules.features.store import FeatureStore
from modules.models.encoder import FrozenEncoder

durations = st.lists(st.floats(0.1, 34), min_size=1, max_size=60)


def plan(durations, seconds):
    entries = [
        {"duration": d, "sha256": str(i)} for i, d in enumerate(durations)
    ]
    return plan_batches(entries, seconds)


@given(durations=durations, seconds=st.floats(0, 100))
def test_batches_contain_every_recording_once_within_the_limit(
    durations, seconds
):
    batches = plan(durations, seconds)
    everything = [entry["sha256"] for batch in batches for entry in batch]
    assert sorted(everything) == sorted(map(str, range(len(durations))))
    for batch in batches:
        longest = max(entry["duration"] for entry in batch)
        assert len(batch) == 1 or len(batch) * longest <= seconds


@given(durations=durations, seconds=st.floats(0, 300))
def test_batches_are_bounded_by_what_the_encoder_computes(durations, seconds):
    entries = [
        {"duration": d, "sha256": str(i)} for i, d in enumerate(durations)
    ]

    def windows(duration):
        return 30.0 * -(-duration // 30)

    for batch in plan_batches(entries, seconds, windows):
        longest = max(windows(entry["duration"]) for entry in batch)
        assert len(batch) == 1 or len(batch) * longest <= seconds


@given(durations=durations)
def test_the_plan_does_not_depend_on_the_order_of_the_manifest(durations):
    def sizes(values):
        return [[e["duration"] for e in b] for b in plan(values, 20)]

    assert sizes(durations) == sizes(durations[::-1])


def test_padding_is_little_at_the_size_of_iemocap():
    rng = np.random.default_rng(0)
    durations = np.clip(rng.lognormal(1.3, 0.65, 5531), 0.6, 34)
    batches = plan(durations.tolist(), 240)
    padded = sum(len(b) * b[0]["duration"] for b in batches)
    assert sum(durations) / padded > 0.95


@pytest.fixture
def recordings(tmp_path):
    entries = []
    for i, seconds in enumerate((0.5, 0.3, 0.45, 0.2)):
        rng = np.random.default_rng(i)
        path = tmp_path / f"{i}.wav"
        samples = 0.1 * rng.standard_normal(round(16000 * seconds))
        soundfile.write(path, samples, 16000)
        content = path.read_bytes()
        entries.append(
            {
                "wav": str(path),
                "sha256": hashlib.sha256(content).hexdigest(),
                "duration": seconds,
            }
        )
    return entries


@pytest.mark.parametrize("layer_norm", [True, False])
def test_in_batches_as_alone(tmp_path, recordings, encoder_folder, layer_norm):
    encoder = FrozenEncoder(encoder_folder("wavlm", layer_norm))
    stores = []
    for seconds in (0, 1.5):
        stores.append(FeatureStore(tmp_path / str(seconds)))
        batches = plan_batches(recordings, seconds)
        assert (max(map(len, batches)) > 1) == (seconds > 0)
        encode_batches(
            batches, encoder, stores[-1], torch.float32, "cpu", False
        )
        stores[-1].refresh()
    for entry in recordings:
        alone, batched = (store.read(entry["sha256"]) for store in stores)
        torch.testing.assert_close(
            alone.values, batched.values, atol=2e-5, rtol=1e-4
        )


def test_a_recording_that_changes_meanwhile_is_named(
    tmp_path, recordings, encoder_folder
):
    encoder = FrozenEncoder(encoder_folder())
    soundfile.write(recordings[2]["wav"], np.ones(8000), 16000)
    store = FeatureStore(tmp_path / "store")
    batches = [[entry] for entry in recordings]
    with pytest.raises(BadInput, match="2.wav has changed"):
        encode_batches(batches, encoder, store, torch.float16, "cpu", False)
    store.refresh()
    assert recordings[0]["sha256"] in store, "finished recordings stay"
    assert recordings[2]["sha256"] not in store
