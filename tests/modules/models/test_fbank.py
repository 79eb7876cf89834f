"""Filter banks have the interface of an encoder; law 2."""

import torch

from modules.features.cache import FeatureCache
from modules.models.fbank import FbankEncoder, FbankUpstream
from modules.models.upstream import make_encoder, open_upstream


def test_batch_mates_and_padding_do_not_matter():
    encoder = make_encoder("fbank")
    wavs = [0.1 * torch.randn(n) for n in (400, 7777, 16000)]
    batch = torch.full((3, 16000), 9.0)
    for row, wav in zip(batch, wavs):
        row[: len(wav)] = wav
    lengths = torch.tensor([len(wav) for wav in wavs]) / 16000
    states, frames = encoder(batch, lengths)
    assert states.shape == (1, 3, 101, 80)
    for i, wav in enumerate(wavs):
        alone, own = encoder(wav[None])
        assert own.item() == frames[i] == encoder.count_frames(len(wav))
        assert torch.equal(alone[0, 0], states[0, i, : frames[i]])
        assert not states[0, i, frames[i] :].any(), "zero on padding"
        torch.testing.assert_close(
            alone.mean(dim=2), torch.zeros(1, 1, 80), atol=1e-4, rtol=0
        )


def test_the_digest_depends_on_the_version_alone(monkeypatch):
    upstream = open_upstream("fbank")
    assert isinstance(upstream, FbankUpstream)
    before = upstream.digest()
    assert before == upstream.digest("bf16"), "always in fp32"
    monkeypatch.setitem(FbankUpstream.settings.__globals__, "_FBANK_VERSION", 2)
    assert upstream.digest() != before


def test_silence_is_finite():
    states, _ = FbankEncoder()(torch.zeros(1, 4000))
    assert torch.isfinite(states).all()


def test_filter_banks_can_be_cached(tmp_path):
    cache = FeatureCache(tmp_path, "fbank")
    assert (cache.num_hidden_states, cache.hidden_size) == (1, 80)
    assert cache.folder.name.startswith("fbank-")
