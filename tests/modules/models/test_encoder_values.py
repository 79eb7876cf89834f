"""An encoder in float32 and its copy in float16 are one encoder."""

import pathlib
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.errors import BadInput
from modules.models.encoder_values import values_digests


@pytest.fixture
def whisper(encoder_folder):
    return pathlib.Path(encoder_folder("whisper"))


def rewritten(folder, target, change):
    """Return a copy of an encoder whose tensors went through a function."""
    shutil.copytree(folder, target)
    tensors = load_file(folder / "model.safetensors")
    new = change(tensors)
    save_file(new, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_a_copy_in_half_precision_is_the_same(whisper, tmp_path):
    half = rewritten(
        whisper,
        tmp_path / "half",
        lambda tensors: {
            f"model.{k}": v.half() if v.is_floating_point() else v
            for k, v in tensors.items()
        },
    )
    before, after = values_digests(whisper), values_digests(half)
    assert before[0] == after[0] and before[1] != after[1]


@pytest.mark.parametrize("part, same", [("decoder", True), ("encoder", False)])
def test_a_changed_weight_is_seen_unless_no_state_needs_it(
    part, same, whisper, tmp_path
):
    def change(tensors):
        name = f"{part}.layers.0.self_attn.v_proj.weight"
        name = name if name in tensors else f"model.{name}"
        tensors[name] = tensors[name] + 0.01
        return tensors

    tensors = load_file(whisper / "model.safetensors")
    if not any(f"{part}." in name for name in tensors):
        pytest.skip(f"this encoder has no {part}")
    other = rewritten(whisper, tmp_path / "other", change)
    assert (values_digests(other) == values_digests(whisper)) is same


def test_weights_as_pickles_are_refused(tmp_path):
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="has no ..safetensors"):
        values_digests(tmp_path)
