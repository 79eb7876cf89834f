"""Windows of Whisper depend on the utterance alone and lose no frame."""

import pytest
import torch
from hypothesis import given, strategies as st

from modules.errors import BadInput
from modules.models.encoder import FrozenEncoder
from modules.models.encoder_files import encoder_digest
from modules.models.upstream import open_upstream
from modules.models.whisper_window import (
    FRAME,
    check_window,
    encode_window,
    split_into_windows,
)

LONGEST = 1500 * FRAME


@given(
    samples=st.integers(1, 200 * 16000),
    window=st.sampled_from([None, "fit", 1, 7, 30]),
)
def test_the_parts_add_up_and_fit_into_their_windows(samples, window):
    parts = split_into_windows(samples, window, LONGEST)
    assert sum(length for length, _ in parts) == samples
    for length, size in parts:
        assert 0 < length <= size <= LONGEST
    frames = sum(-(-length // FRAME) for length, _ in parts)
    assert frames == -(-samples // FRAME)
    if window == "fit":
        assert all(size % 32000 == 0 for _, size in parts)
        # At most 2 s of padding in each window.
        assert all(size - length < 32000 for length, size in parts)


@pytest.mark.parametrize("window", [0, -1, 31, 2.5, True, "long"])
def test_a_window_that_does_not_exist_is_refused(window):
    with pytest.raises(BadInput, match="whisper_window"):
        check_window(window, 1500)


@pytest.fixture(scope="module")
def folder(encoder_folder):
    return encoder_folder("whisper")


def test_the_full_window_equals_transformers(folder):
    encoder = FrozenEncoder(folder)
    torch.manual_seed(0)
    longest = encoder.config.max_source_positions * FRAME
    mels = encoder._mels([torch.randn(9000)], longest)
    model = encoder.wrapper.model.encoder
    with torch.no_grad():
        expected = encoder._run(model, mels)
        assert torch.equal(encode_window(model, mels), expected)


@pytest.mark.parametrize("window", ["fit", 1])
def test_batch_mates_change_nothing(folder, window):
    encoder = FrozenEncoder(folder, whisper_window=window)
    torch.manual_seed(0)
    counts = [5000, 33000, 40000, 9000]
    wavs = [torch.randn(count) for count in counts]
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    lengths = torch.tensor(counts) / max(counts)
    together, frames = encoder(padded, lengths)
    for row, wav in enumerate(wavs):
        alone, own = encoder(wav[None])
        assert own == frames[row]
        torch.testing.assert_close(together[:, row, :own], alone[:, 0])


def test_a_short_window_costs_what_it_lasts(folder):
    assert FrozenEncoder(folder).computed_seconds(0.7) == 30
    fit = FrozenEncoder(folder, whisper_window="fit")
    assert fit.computed_seconds(0.7) == 2
    assert fit.computed_seconds(70) == 72
    # What is known before the weights are loaded.
    assert open_upstream(folder).computed_seconds(0.7) == 30
    assert open_upstream(folder, None, "fit").computed_seconds(70) == 72


def test_the_window_is_part_of_the_identity(folder):
    import pathlib

    digests = {
        encoder_digest(pathlib.Path(folder), "fp32", window)
        for window in (None, "fit", 2)
    }
    assert len(digests) == 3
