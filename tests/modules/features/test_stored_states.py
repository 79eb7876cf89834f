"""Hidden states are rounded to the number format, and no further."""

import pytest
import torch

from modules.features.stored_states import FORMATS, StoredStates
from modules.models.layer_pooling import layer_moments


@pytest.mark.parametrize("number_format", FORMATS)
def test_stored_values_are_the_rounded_ones(number_format):
    states = torch.randn(7, 3, 16)
    stored = StoredStates.from_hidden_states(states, FORMATS[number_format])
    assert stored.values.dtype == FORMATS[number_format]
    back = stored.float()
    if number_format == "int8":
        half_a_step = states.abs().amax(dim=0) / 127 / 2
        assert ((back - states).abs() <= half_a_step * 1.001).all()
    else:
        assert torch.equal(back, states.to(FORMATS[number_format]).float())
    assert torch.equal(stored.moments, layer_moments(back))
    assert len(stored) == 7


def test_int8_keeps_channels_of_zeros():
    states = torch.randn(7, 3, 16)
    states[:, 1, 4] = 0.0
    stored = StoredStates.from_hidden_states(states, torch.int8)
    assert (stored.float()[:, 1, 4] == 0).all()
    assert torch.isfinite(stored.moments).all()


def test_values_beyond_the_range_of_the_format_are_refused():
    with pytest.raises(OverflowError, match="float16"):
        StoredStates.from_hidden_states(
            torch.full((2, 3, 8), 1e6), torch.float16
        )


def test_parts_joined_are_the_whole():
    stored = StoredStates.from_hidden_states(
        torch.randn(7, 3, 8), torch.float16
    )
    parts = [states.clone() for states in stored.parts(3)]
    assert [len(states) for states in parts] == [3, 3, 1]
    assert torch.equal(torch.cat(parts), stored.float())
