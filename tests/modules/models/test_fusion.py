"""Early fusion: two upstreams become one sequence of frames."""

import functools

import pytest
import torch
from heads import POOLINGS, make_head, store

from modules.errors import BadInput
from modules.features.paired_cache import PairedCache, open_cache
from modules.models.embedding import Embedding
from modules.models.fusion import (
    OneUpstream,
    PaddedPair,
    PairPooling,
    StoredPair,
    align,
)
from modules.models.graph import build, describe
from modules.models.head import EmotionHead
from modules.models.head_check import check_shapes, check_values, try_head
from modules.models.joint_embedding import JointEmbedding
from modules.models.layer_pooling import LayerPooling, LayerStack
from modules.models.upstream import make_encoder, open_upstream, upstream_names


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


def one_upstream(number, pooling="corr", layer_pooling=LayerPooling):
    """Return a part of a head that uses one of two upstreams."""
    return functools.partial(
        OneUpstream,
        upstream=number,
        embedding=functools.partial(
            Embedding,
            layer_pooling=layer_pooling,
            pooling=POOLINGS[pooling],
        ),
    )


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("pooling", ["mean_std", "corr", "attentive_corr"])
def test_a_part_of_one_upstream_has_its_own_frames(number, pooling):
    make = one_upstream(number, pooling)
    part = make((3, 1), (8, 5)).eval()
    layers, size = [(3, 8), (1, 5)][number]
    alone = make.keywords["embedding"](layers, size).eval()
    alone.load_state_dict(part.embedding.state_dict())
    assert part.sizes == alone.sizes
    torch.testing.assert_close(part.layer_weights(), alone.layer_weights())
    pairs = utterances()
    stored = part([StoredPair(store(a), store(b)) for a, b in pairs])
    expected = alone([store(pair[number]) for pair in pairs])
    torch.testing.assert_close(stored, expected)
    first = torch.full((3, 4, 10, 8), 5.0)
    second = torch.full((1, 4, 21, 5), 5.0)
    for i, (a, b) in enumerate(pairs):
        first[:, i, : a.shape[1]], second[:, i, : b.shape[1]] = a, b
    frames = tuple(torch.tensor(counts) for counts in zip(*FRAMES))
    pair = PaddedPair(first, second, frames)
    padded = part(pair, frames[0] / 10)
    torch.testing.assert_close(padded, expected, atol=1e-5, rtol=1e-4)
    weights = part.attention_weights(pair, frames[0] / 10)
    if pooling == "attentive_corr":
        assert weights.shape == (4, [10, 21][number])
        for row, count in zip(weights, frames[number].tolist()):
            assert row[:count].sum().item() == pytest.approx(1)
            assert not row[count:].any()
    else:
        assert weights is None


def test_without_a_second_upstream_the_first_is_number_0():
    part = one_upstream(0)(3, 8)
    states = torch.randn(3, 2, 7, 8)
    lengths = torch.tensor([1.0, 4 / 7])
    expected = part.embedding(states, lengths)
    assert torch.equal(part(states, lengths), expected)
    stored = [store(states[:, 0]), store(states[:, 1, :4])]
    torch.testing.assert_close(part(stored), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(BadInput, match="upstream 1 and the last one is 0"):
        one_upstream(1)(3, 8)
    for number in (-1, 2, "1", None):
        with pytest.raises(BadInput, match="the last one is 1"):
            one_upstream(number)((3, 1), (8, 5))


def test_a_head_with_such_parts_can_be_described_built_and_tried():
    parts = {"a": one_upstream(0), "b": one_upstream(1)}
    joint = functools.partial(JointEmbedding, parts=parts)
    description = describe(functools.partial(EmotionHead, embedding=joint))
    sizes = {
        "num_hidden_states": [3, 1],
        "hidden_size": [8, 5],
        "num_classes": 4,
    }
    check_values("here", description, sizes)
    head = build(description)(**sizes).eval()
    assert head.embedding.sizes == {"a": 28, "b": 10}
    try_head("here", head, sizes)
    shapes = {k: tuple(v.shape) for k, v in head.state_dict().items()}
    check_shapes("here", "weights", description, sizes, shapes)


def test_a_folder_whose_name_has_a_comma_may_be_the_first(tmp_path):
    folder = tmp_path / "an,encoder"
    folder.mkdir()
    assert upstream_names(f"{folder},vocal") == [str(folder), "vocal"]


def test_three_are_refused():
    with pytest.raises(BadInput, match="names 3 upstreams"):
        open_upstream("fbank,fbank,fbank")
