"""A trainable encoder: law 2 in evaluation, gradients, LayerDrop, masks."""

import pytest
import torch
from conftest import ENCODERS

from modules.errors import BadInput
from modules.models.encoder import FrozenEncoder
from modules.models.trainable_encoder import TrainableEncoder, draw_spans

FAMILIES = pytest.mark.parametrize("family, layer_norm", ENCODERS)


def batch():
    """Return padded waveforms, their relative lengths and themselves."""
    torch.manual_seed(0)
    wavs = [0.1 * torch.randn(count) for count in (8000, 4000, 6123)]
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    return padded, torch.tensor([len(wav) / 8000 for wav in wavs]), wavs


@FAMILIES
def test_in_evaluation_it_equals_the_frozen_encoder(
    family, layer_norm, encoder_folder
):
    folder = encoder_folder(family, layer_norm)
    padded, lengths, wavs = batch()
    frozen, frames = FrozenEncoder(folder)(padded, lengths)
    every = TrainableEncoder(
        folder, layers_used="all", layerdrop=0.5, mask_time=0.5
    ).eval()
    states, counts = every(padded, lengths)
    assert counts.tolist() == frames.tolist()
    torch.testing.assert_close(states, frozen, atol=1e-5, rtol=1e-4)
    last = TrainableEncoder(folder, mask_time=0.5).eval()
    states, _ = last(padded, lengths)
    assert (
        states.shape == (1, *frozen.shape[1:]) and last.num_hidden_states == 1
    )
    for i, wav in enumerate(wavs):
        alone, _ = last(wav[None])
        torch.testing.assert_close(
            states[:, i, : frames[i]], alone[:, 0], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize(
    "family, layer_norm",
    [("wavlm", True), ("hubert", False), ("whisper", True)],
)
def test_saved_it_can_be_loaded_as_a_frozen_encoder(
    family, layer_norm, encoder_folder, tmp_path, capfd
):
    encoder = TrainableEncoder(
        encoder_folder(family, layer_norm), layers_used="all"
    )
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    encoder.save(tmp_path / "encoder")
    capfd.readouterr()
    frozen = FrozenEncoder(tmp_path / "encoder")
    output = "".join(capfd.readouterr())
    assert "newly initialized" not in output, output
    padded, lengths, _ = batch()
    torch.testing.assert_close(
        frozen(padded, lengths)[0],
        encoder.eval()(padded, lengths)[0],
        atol=1e-5,
        rtol=1e-4,
    )


@FAMILIES
def test_all_weights_but_the_convolutions_get_a_gradient(
    family, layer_norm, encoder_folder
):
    torch.manual_seed(1)
    encoder = TrainableEncoder(
        encoder_folder(family, layer_norm), mask_time=0.3, mask_channels=0.1
    )
    assert encoder.training and encoder.wrapper.model.training
    padded, lengths, _ = batch()
    states, _ = encoder(padded, lengths)
    (states**2 * torch.randn_like(states)).sum().backward()
    for name, parameter in encoder.named_parameters():
        frozen = any(
            part in name
            for part in (
                "feature_extractor.",
                "encoder.conv1",
                "encoder.conv2",
                "embed_positions",
            )
        )
        assert parameter.requires_grad is not frozen, name
        assert (parameter.grad is None) is frozen, name


@pytest.mark.parametrize("family", ["wavlm", "hubert", "wav2vec2", "whisper"])
def test_a_skipped_layer_repeats_its_input(family, encoder_folder):
    """LayerDrop does not change the number of our hidden states."""
    encoder = TrainableEncoder(
        encoder_folder(family), layers_used="all", layerdrop=0.5
    )
    padded, lengths, _ = batch()
    skipped = 0
    for seed in range(8):
        torch.manual_seed(seed)
        with torch.no_grad():
            states, _ = encoder(padded, lengths)
        assert states.shape[0] == 3 and torch.isfinite(states).all()
        skipped += torch.equal(states[0], states[1])
        skipped += torch.equal(states[1], states[2])
    assert skipped


def test_gradient_checkpointing_changes_no_gradient(encoder_folder):
    padded, lengths, _ = batch()
    gradients = []
    for checkpointing in (False, True):
        encoder = TrainableEncoder(
            encoder_folder(),
            mask_time=0.3,
            gradient_checkpointing=checkpointing,
        )
        torch.manual_seed(3)
        encoder(padded, lengths)[0].square().sum().backward()
        gradients.append(
            {
                n: p.grad
                for n, p in encoder.named_parameters()
                if p.requires_grad
            }
        )
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_whisper_with_a_short_window(encoder_folder, tmp_path):
    """The window is saved with the encoder; its positions are the first."""
    folder = encoder_folder("whisper")
    encoder = TrainableEncoder(folder, whisper_window=1).eval()
    wavs = 0.1 * torch.randn(2, 20000)
    states, frames = encoder(wavs)
    assert frames.tolist() == [63, 63]
    parts = [encoder(wav[None])[0][0, 0] for wav in wavs[0].split(16000)]
    torch.testing.assert_close(states[0, 0], torch.cat(parts))
    positions = encoder.wrapper.model.encoder.embed_positions.weight
    before = FrozenEncoder(folder).wrapper.model.encoder.embed_positions.weight
    assert torch.equal(positions, before[:50])
    encoder.save(tmp_path / "encoder")
    saved, counts = FrozenEncoder(tmp_path / "encoder")(wavs)
    assert counts.tolist() == [63, 63]
    torch.testing.assert_close(saved[-1], states[0])
    with pytest.raises(
        BadInput, match="whisper_window 31 must be from 1 to the 30 s"
    ):
        TrainableEncoder(folder, whisper_window=31)


def test_spans_are_drawn_from_valid_frames():
    torch.manual_seed(0)
    counts = [200, 30, 5, 1]
    drawn = torch.stack([draw_spans(counts, 200, 0.2) for _ in range(200)])
    for row, count in enumerate(counts):
        assert not drawn[:, row, count:].any()
    assert 0.15 < drawn[:, 0].float().mean() < 0.2  # spans overlap
    assert not draw_spans(counts, 200, 0.0).any()
