"""A frozen encoder stays in evaluation mode.

SpeechBrain gets this as a file of its own tests.
"""

import pytest
import torch

transformers = pytest.importorskip("transformers")


@pytest.fixture
def source(tmp_path):
    """Makes a small wav2vec 2.0 with random weights and LayerDrop."""
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        layerdrop=0.9,
        hidden_dropout=0.5,
    )
    transformers.Wav2Vec2Model(config).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize("freeze", [True, False])
def test_mode_after_train(source, freeze):
    """A frozen model ignores train(), another one follows it."""
    from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2

    encoder = Wav2Vec2(source, source, freeze=freeze)
    # What Brain does at every epoch.
    torch.nn.ModuleDict({"encoder": encoder}).train()
    assert encoder.training
    assert encoder.model.training == (not freeze)


def test_frozen_outputs_do_not_change(source):
    """Neither dropout nor LayerDrop changes what a frozen model returns."""
    from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2

    encoder = Wav2Vec2(source, source, freeze=True, output_all_hiddens=True)
    wavs = torch.randn(2, 4000)
    expected = encoder(wavs)
    for _ in range(3):
        encoder.train()
        outputs = encoder(wavs)
        assert outputs.shape == expected.shape
        assert torch.equal(outputs, expected)


def test_adapters_of_a_frozen_encoder_are_trained(source):
    """A frozen model with trained parameters follows train()."""
    from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2

    encoder = Wav2Vec2(source, source, freeze=True)
    encoder.model.adapter = torch.nn.Linear(2, 2)
    assert encoder.train().model.training
    assert not encoder.eval().model.training
