"""Early fusion: two upstreams become one sequence of frames."""

import pytest
import torch
from heads import POOLINGS, make_head, store

from modules.errors import BadInput
from modules.features.paired_cache import PairedCache, open_cache
from modules.models.fusion import PaddedPair, PairPooling, StoredPair, align
from modules.models.layer_pooling import LayerPooling, LayerStack
from modules.models.upstream import make_encoder, open_upstream


def test_alignment_keeps_time():
    ramp = torch.arange(100.0)[:, None]
    half = align(ramp, 50)[:, 0]
    torch.testing.assert_close(half, torch.arange(50.0) * 2 + 0.5)
    torch.testing.assert_close(align(ramp[:50], 100)[::2], ramp[:50])
    assert align(ramp, 100) is ramp
    # Encoders without padding may return one frame more or less.
    close = align(ramp[:99], 100)[:, 0]
    assert (close - torch.arange(100.0)).abs().max() <= 1
    assert align(ramp[:1], 3).tolist() == [[0.0]] * 3


FRAMES = [(10, 21), (1, 2), (7, 7), (9, 4)]


def utterances(seed=0):
    """Return pairs of hidden states, [3, frames, 8] and [1, frames, 5]."""
    torch.manual_seed(seed)
    return [(torch.randn(3, a, 8), torch.randn(1, b, 5)) for a, b in FRAMES]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_stored_equals_padded_equals_alone(pooling):
    torch.manual_seed(1)
    head = make_head((3, 1), (8, 5), pooling=pooling, normalize=True).eval()
    pairs = utterances()
    stored = head([StoredPair(store(a), store(b)) for a, b in pairs])
    first = torch.full((3, 4, 10, 8), 5.0)
    second = torch.full((1, 4, 21, 5), 5.0)
    for i, (a, b) in enumerate(pairs):
        first[:, i, : a.shape[1]], second[:, i, : b.shape[1]] = a, b
    frames = tuple(torch.tensor(counts) for counts in zip(*FRAMES))
    padded = head(PaddedPair(first, second, frames), frames[0] / 10)
    torch.testing.assert_close(stored, padded, atol=1e-5, rtol=1e-4)
    for i, (a, b) in enumerate(pairs):
        counts = tuple(torch.tensor([n]) for n in FRAMES[i])
        pair = PaddedPair(a[:, None], b[:, None], counts)
        alone = head(pair, torch.ones(1))[0]
        torch.testing.assert_close(stored[i], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("zeroed", [0, 1])
def test_with_one_upstream_zeroed_it_is_the_other_alone(zeroed):
    torch.manual_seed(2)
    layers, sizes = (3, 1), (8, 5)
    kept = 1 - zeroed
    fused = make_head(layers, sizes)
    alone = make_head(layers[kept], sizes[kept])
    columns = slice(0, 8) if kept == 0 else slice(8, 13)
    weights = fused.state_dict()
    pair = fused.embedding.layer_pooling
    own = (pair.first, pair.second)[kept]
    alone.load_state_dict(
        {
            name: value
            for name, value in weights.items()
            if not name.startswith("embedding.layer_pooling")
        }
        | {
            "embedding.layer_pooling.scores": own.scores,
            "embedding.projection.weight": weights[
                "embedding.projection.weight"
            ][:, columns],
        }
    )
    pairs = utterances()
    for pair in pairs:
        pair[zeroed].zero_()
    together = [StoredPair(store(a), store(b)) for a, b in pairs]
    if kept == 0:
        single = [store(a) for a, _ in pairs]
    else:  # at the frame rate of the first upstream
        single = [store(align(b[0], a.shape[1])[None]) for a, b in pairs]
    torch.testing.assert_close(fused(together), alone(single))


def test_two_names_open_two_upstreams(encoder_folder, tmp_path):
    name = f"{encoder_folder('whisper')},fbank"
    upstream = open_upstream(name)
    assert (upstream.num_hidden_states, upstream.hidden_size) == (
        (3, 1),
        (32, 80),
    )
    encoder = make_encoder(name)
    wavs = 0.1 * torch.randn(2, 8000)
    states, frames = encoder(wavs, torch.tensor([1.0, 0.5]))
    assert frames.tolist() == [25, 13]
    assert [n.tolist() for n in states.frames] == [[25, 13], [51, 26]]
    sums = PairPooling(LayerPooling(3), LayerPooling(1))
    assert sums(states).shape == (2, 25, sums.output_size(upstream.hidden_size))
    torch.testing.assert_close(sums.layer_weights().sum(), torch.tensor(1.0))
    stacks = PairPooling(LayerStack(3), LayerStack(1))
    assert stacks(states).shape == (2, 25, 2 * 32 + 80)
    assert stacks.output_size(upstream.hidden_size) == 2 * 32 + 80
    assert stacks.layer_weights() is None
    cache = open_cache(tmp_path, name)
    assert isinstance(cache, PairedCache)
    assert cache.identity["encoder_digest"] == upstream.digest()
    other = open_upstream(f"fbank,{encoder_folder('whisper')}")
    assert other.digest() != upstream.digest()


def test_three_are_refused():
    with pytest.raises(BadInput, match="names 3 upstreams"):
        open_upstream("fbank,fbank,fbank")
