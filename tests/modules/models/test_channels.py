"""Channel dropout, and channels that are chosen without weights."""

import pytest
import torch

from modules.models.channels import ChannelDropout, EvenChannels


def test_channel_dropout_drops_whole_channels_and_keeps_the_mean():
    torch.manual_seed(0)
    features = torch.ones(50, 8, 40)
    dropped = ChannelDropout(0.25).train()(features)
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (dropped == dropped[:, :1]).all(), "all frames of a channel"
    assert dropped.mean() == pytest.approx(1, abs=0.05)
    assert torch.equal(ChannelDropout(0.25).eval()(features), features)


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan")])
def test_a_probability_out_of_range_is_refused(p):
    with pytest.raises(ValueError, match="channel dropout must be"):
        ChannelDropout(p)


def test_of_many_channels_256_spread_evenly_are_kept():
    channels = EvenChannels(1024)
    assert channels.out_features == 256
    assert (channels.places[0], channels.places[-1]) == (0, 1023)
    assert set(channels.places.diff().tolist()) == {4, 5}
    assert not channels.state_dict(), "the places are computed, not stored"


def test_of_few_channels_all_are_kept_in_order():
    features = torch.randn(2, 7, 6)
    assert torch.equal(EvenChannels(6)(features), features)
    assert torch.equal(
        EvenChannels(6, out_features=2)(features), features[..., [0, 5]]
    )
