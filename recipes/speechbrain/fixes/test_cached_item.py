"""An interrupted write leaves nothing in the cache.

SpeechBrain's tests/unittests/test_data_pipeline.py gets the functions.
"""

import pytest


def test_interrupted_write_is_not_cached(tmp_path, monkeypatch):
    import torch

    from speechbrain.utils.data_pipeline import (
        CachedDynamicItem,
        provides,
        takes,
    )

    @CachedDynamicItem.cache(tmp_path)
    @takes("id", "value")
    @provides("doubled")
    def double(id, value):
        return torch.full((3,), 2 * value)

    save = torch.save

    def interrupted_save(obj, path):
        save(obj, path)
        with open(path, "r+b") as file:
            file.truncate(20)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", interrupted_save)
        with pytest.raises(KeyboardInterrupt):
            double("utt1", 2.0)

    assert not double._is_cached("utt1")
    assert not list(tmp_path.iterdir())
    assert torch.equal(double("utt1", 2.0), torch.full((3,), 4.0))
    assert [path.name for path in tmp_path.iterdir()] == ["utt1.pt"]
