"""Law 11 for weights: what does not fit its model becomes a sentence."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.attacks.model_and_run_folders import (
    SIZES,
    head_weights,
    refuse,
    write_hyperparams,
)


def change_weights(path, change):
    """Rewrite a safetensors file."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("share", [1, 6, 30])
def test_missing_tensors_are_never_replaced_by_chance(model, share):
    def drop(tensors):
        for name in sorted(tensors)[:share]:
            del tensors[name]

    change_weights(model / "encoder/model.safetensors", drop)
    refuse(model, "lack", "download the encoder again")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["head", "encoder/model"])
def test_values_that_are_not_finite_are_refused(model, name, value):
    def spoil(tensors):
        tensors[sorted(tensors)[0]].view(-1)[0] = value

    change_weights(model / f"{name}.safetensors", spoil)
    refuse(model, "not finite")


def test_weights_that_overflow_are_refused(model):
    def spoil(tensors):
        for tensor in tensors.values():
            tensor.fill_(3e38)

    change_weights(model / "head.safetensors", spoil)
    refuse(model, "not finite")


def test_tensors_of_another_shape_are_refused(model):
    def spoil(tensors):
        name = "encoder.layers.0.attention.k_proj.weight"
        tensors[name] = torch.zeros(16, 32)

    change_weights(model / "encoder/model.safetensors", spoil)
    refuse(model, "cannot be loaded")


def test_a_tensor_too_many_in_the_head_is_refused(model):
    tensors = head_weights() | {"0.more": torch.zeros(1)}
    save_file(tensors, model / "head.safetensors")
    refuse(model, "0.more")


def test_an_encoder_of_another_size_is_refused(model):
    sizes = SIZES | {"num_hidden_states": 4}
    write_hyperparams(model / "hyperparams.yaml", sizes=sizes)

    def grow(tensors):
        tensors["0.embedding.layer_pooling.scores"] = torch.zeros(4)

    change_weights(model / "head.safetensors", grow)
    refuse(model, "num_hidden_states [3]")
