"""Shards are complete or absent; damage is found."""

import json

import pytest
import torch
from hypothesis import given, settings, strategies as st

from modules.errors import BadInput
from modules.features import store as feature_store
from modules.features.store import FeatureStore
from modules.features.stored_states import StoredStates

NAMES = ("aa" * 32, "bb" * 32, "cc" * 32)


def some(seed, dtype=torch.float16):
    torch.manual_seed(seed)
    return StoredStates.from_hidden_states(torch.randn(4, 3, 8), dtype)


@pytest.fixture(params=[torch.float16, torch.int8])
def shard(request, tmp_path):
    """Return the one shard of a store and its contents."""
    states = {name: some(i, request.param) for i, name in enumerate(NAMES)}
    FeatureStore(tmp_path).write(states)
    (path,) = tmp_path.glob("*.safetensors")
    return path, states


def same(one, other):
    return all(
        torch.equal(one.tensors()[name], tensor)
        for name, tensor in other.tensors().items()
    )


def test_what_is_read_is_what_was_written(shard):
    path, states = shard
    store = FeatureStore(path.parent)
    for name, written in states.items():
        assert name in store and same(store.read(name), written)
    assert "dd" * 32 not in store
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_shards_of_others_are_found(shard):
    path, _ = shard
    store, other = FeatureStore(path.parent), FeatureStore(path.parent)
    other.write({"dd" * 32: some(9)})
    assert "dd" * 32 not in store
    store.refresh()
    assert same(store.read("dd" * 32), some(9))


@settings(max_examples=60)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_is_found_or_harmless(tmp_path_factory, where, bit):
    """Anywhere in the file; no other features have the same name."""
    folder = tmp_path_factory.mktemp("store")
    states = {name: some(i) for i, name in enumerate(NAMES)}
    FeatureStore(folder).write(states)
    (path,) = folder.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        store = FeatureStore(folder)
        for name in NAMES:
            # A name that is gone is encoded anew.
            assert name not in store or same(store.read(name), states[name])
    except BadInput as problem:
        assert path.name in str(problem) and "delete it" in str(problem)


def test_a_flipped_bit_of_a_feature_is_found(shard):
    path, _ = shard
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    store = FeatureStore(path.parent)
    with pytest.raises(BadInput, match=f"{path.name} is damaged .* changed"):
        for name in NAMES:
            store.read(name)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_shard_is_found_at_once(shard, kept):
    path, _ = shard
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadInput, match=f"{path.name} is damaged"):
        FeatureStore(path.parent)


def test_an_index_that_names_a_missing_recording(shard):
    path, _ = shard
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["dd" * 32] = "0"
    new = json.dumps(header).encode()
    path.write_bytes(
        len(new).to_bytes(8, "little") + new + content[8 + length :]
    )
    with pytest.raises(BadInput, match="contradicts"):
        FeatureStore(path.parent)


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def half_written(tensors, path, metadata):
        with open(path, "wb") as file:
            file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(feature_store, "save_file", half_written)
    with pytest.raises(KeyboardInterrupt):
        FeatureStore(tmp_path).write({NAMES[0]: some(0)})
    assert not list(tmp_path.rglob("*"))


def test_loaded_recordings_are_not_read_from_the_disk(shard):
    path, states = shard
    store = FeatureStore(path.parent)
    store.load(NAMES, "cpu")
    path.write_bytes(b"")
    assert same(store.read(NAMES[0]), states[NAMES[0]])
