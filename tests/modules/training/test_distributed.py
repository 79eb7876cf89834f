"""Fine-tuning with 1, 2 and 4 processes: the same updates, the same weights.

Dropout, LayerDrop and SpecAugment are off: each process draws its own, so
that with them the weights would differ as those of two seeds do.
"""

import json
import os
import pathlib
import shutil
import socket

import pytest
import torch
from conftest import command_line
from safetensors.torch import load_file

from modules.experiments.processes import prepare_forks

# Processes, steps, batch size: eight utterances an update.
SPLITS = [(1, 1, 8), (1, 4, 2), (2, 2, 2), (4, 1, 2)]


def train_one(rank, world, port, arguments):
    """Be one of the processes that torchrun would start."""
    import train

    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    if world == 1:
        for key in ("RANK", "LOCAL_RANK"):
            os.environ.pop(key)
    train.main(arguments)


def train_all(world, arguments):
    """Train with so many processes."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    context = prepare_forks(1)
    ranks = [
        context.Process(target=train_one, args=(rank, world, port, arguments))
        for rank in range(world)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(300)
    assert [rank.exitcode for rank in ranks] == [0] * world


@pytest.fixture(scope="module")
def without_dropout(encoder_folder, tmp_path_factory):
    """Return an encoder of random weights that draws nothing."""
    folder = tmp_path_factory.mktemp("encoder") / "still"
    shutil.copytree(encoder_folder(), folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key in config:
        if "dropout" in key or key == "layerdrop":
            config[key] = 0.0
    path.write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def trained(shared_options, without_dropout, tmp_path_factory):
    """Return the weights before and those after each split."""
    root = tmp_path_factory.mktemp("splits")
    small = {
        "encoder_hub": without_dropout,
        "number_of_epochs": 2,
        "average_checkpoints": 2,
        "projection_size": 8,
        "lr": 1e-3,
        "encoder_lr": 1e-3,
        "mask_time": 0,
    }
    found = []
    for world, steps, size in SPLITS:
        folder = root / f"{world}-{steps}-{size}"
        options = shared_options | small | {"batch_size": size}
        del options["cache_folder"]
        more = [f"--grad_accumulation_factor={steps}"]
        if world > 1:
            more.append("--distributed_backend=gloo")
        train_all(world, command_line("finetune", folder, options, more))
        found.append(weights(folder / "encoder") | head(folder))
    return weights(without_dropout), found


def weights(folder):
    """Return the tensors of an encoder in HuggingFace format."""
    return load_file(pathlib.Path(folder) / "model.safetensors")


def head(folder):
    """Return the tensors of a head."""
    return load_file(folder / "head.safetensors")


@pytest.mark.slow
def test_the_weights_do_not_depend_on_the_number_of_processes(trained):
    """But for the order of sums in fp32."""
    before, (expected, *others) = trained
    moved = max((expected[n] - before[n]).abs().max() for n in before)
    for split, found in zip(SPLITS[1:], others):
        worst = max((found[n] - expected[n]).abs().max() for n in expected)
        print(split, "differs by", float(worst), "after", float(moved))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)
