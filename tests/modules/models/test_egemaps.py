"""openSMILE's functionals have the interface of an encoder; law 2."""

import importlib.util

import pytest
import torch

from modules.errors import BadInput
from modules.models import egemaps
from modules.models.upstream import is_code, make_encoder, open_upstream


def test_a_missing_package_is_one_sentence(monkeypatch):
    def missing(name):
        raise egemaps.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(egemaps.importlib.metadata, "version", missing)
    upstream = open_upstream("egemaps")
    assert upstream.hidden_size == 88 and is_code("egemaps")
    for call in (upstream.digest, upstream.make):
        with pytest.raises(BadInput, match="no commercial use: pip install -r"):
            call()


@pytest.mark.skipif(
    importlib.util.find_spec("opensmile") is None,
    reason="requirements-opensmile.txt",
)
def test_batch_mates_and_padding_do_not_matter():
    encoder = make_encoder("egemaps")
    wavs = [0.1 * torch.randn(n) for n in (400, 7777, 16000)]
    wavs.append(torch.zeros(5000))
    batch = torch.full((4, 16000), 0.9)
    for row, wav in zip(batch, wavs):
        row[: len(wav)] = wav
    lengths = torch.tensor([len(wav) for wav in wavs]) / 16000
    states, frames = encoder(batch, lengths)
    assert states.shape == (1, 4, 1, 88) and frames.tolist() == [1] * 4
    assert torch.isfinite(states).all()
    for i, wav in enumerate(wavs):
        assert torch.equal(encoder(wav[None])[0][0, 0], states[0, i])
