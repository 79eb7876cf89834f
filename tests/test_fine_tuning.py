"""Fine-tuning through train.py: weights, checkpoints, continuing."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import pytest
import torch
import yaml
from conftest import ROOT, command_line
from safetensors.torch import load_file

import export
import train
from modules.training import fine_tuning
from modules.training.fine_tuning import FineTuningBrain


@pytest.fixture(scope="session")
def fine_tune(shared_options):
    """Return a function that gives the command line of a small run."""
    small = {
        "number_of_epochs": 2,
        "average_checkpoints": 2,
        "projection_size": 8,
        "encoder_lr": 0.001,
        "layerdrop": 0.2,
        "mask_time": 0.2,
    }

    def make(output_folder, *more, **changes):
        options = shared_options | small | changes
        del options["cache_folder"]
        return command_line("finetune", output_folder, options, more)

    return make


@pytest.fixture(scope="session")
def finished(fine_tune, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetuned") / "run"
    train.main(fine_tune(folder))
    return folder


def weights(folder):
    """Return the tensors of an encoder in HuggingFace format."""
    return load_file(pathlib.Path(folder) / "model.safetensors")


def test_all_weights_but_the_convolutions_change(finished, encoder_folder):
    before, after = weights(encoder_folder()), weights(finished / "encoder")
    assert set(before) == set(after)
    for name in before:
        same = torch.equal(before[name], after[name])
        assert same is name.startswith("feature_extractor."), name


def test_the_mean_of_the_best_checkpoints_is_saved(finished):
    found = {}
    for path in (finished / "save").glob("CKPT*/CKPT.yaml"):
        meta = yaml.safe_load(path.read_text())
        found[meta["dev_WA"], -meta["epoch"]] = path.parent
    best = sorted(found, reverse=True)[:2]
    saved = weights(finished / "encoder")
    states = [
        torch.load(found[key] / "encoder.ckpt", weights_only=True)
        for key in best
    ]
    compared = 0
    for name, value in saved.items():
        if f"wrapper.model.{name}" in states[0]:
            mean = sum(state[f"wrapper.model.{name}"] for state in states) / 2
            torch.testing.assert_close(value, mean)
            compared += 1
    assert compared > 20
    last = found[max(found, key=lambda key: -key[1])]
    for folder in found.values():
        assert (folder / "optimizer.ckpt").exists() == (folder == last)


def test_the_encoder_is_the_upstream_of_the_next_stage(
    finished, command, tmp_path
):
    """Its hidden states have a cache of their own; the stage is exported."""
    cache = tmp_path / "cache"
    train.main(
        command(
            tmp_path / "run",
            encoder_hub=finished / "encoder",
            cache_folder=cache,
            number_of_epochs=1,
        )
    )
    assert len(list(cache.iterdir())) == 1
    model = tmp_path / "model"
    export.main([str(tmp_path / "run"), str(model), "--include_encoder"])
    saved = weights(finished / "encoder")
    for name, value in weights(model / "encoder").items():
        assert torch.equal(value, saved[name])


def test_a_fine_tuning_itself_is_not_exported(finished, tmp_path, capsys):
    with pytest.raises(SystemExit):
        export.main([str(finished), str(tmp_path / "model")])
    words = f"train a head on it with --encoder_hub {finished}/encoder"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("stop", [3, 8])
def test_an_interrupted_run_ends_where_the_unbroken_one_ends(
    finished, fine_tune, tmp_path, stop
):
    folder = tmp_path / "run"
    fit_batch = FineTuningBrain.fit_batch
    done = []

    def broken(*args):
        done.append(1)
        if len(done) == stop:
            raise KeyboardInterrupt
        return fit_batch(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FineTuningBrain, "fit_batch", broken)
        with pytest.raises(SystemExit):
            train.main(fine_tune(folder))
    train.main(fine_tune(folder))
    for name in ("results.json", "predictions.csv", "dev_predictions.csv"):
        assert (folder / name).read_text() == (finished / name).read_text()
    before, after = weights(finished / "encoder"), weights(folder / "encoder")
    for name in before:
        assert torch.equal(before[name], after[name]), name


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_epoch(
    fine_tune, tmp_path, monkeypatch, capsys
):
    compute = FineTuningBrain.compute_forward

    def explode(brain, batch, stage):
        predictions = compute(brain, batch, stage)
        later = brain.hparams.epoch_counter.current > 1
        return predictions * float("nan") if later else predictions

    monkeypatch.setattr(FineTuningBrain, "compute_forward", explode)
    with pytest.raises(SystemExit) as stopped:
        train.main(fine_tune(tmp_path / "run", encoder_lr=0.5))
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "the loss is nan: encoder_lr 0.5 or lr 0.001 is too high" in message
    assert "the checkpoint of epoch 1 is kept" in message
    (kept,) = (tmp_path / "run/save").glob("CKPT*/encoder.ckpt")
    state = torch.load(kept, weights_only=True)
    assert all(torch.isfinite(v).all() for v in state.values())


def test_half_precision_and_one_epoch(fine_tune, encoder_folder, tmp_path):
    """All layers, bf16, gradient checkpointing."""
    train.main(
        fine_tune(
            tmp_path / "run",
            "--precision=bf16",
            encoder_hub=encoder_folder("hubert"),
            layers_used="all",
            gradient_checkpointing="true",
            number_of_epochs=1,
            average_checkpoints=1,
            batch_size=16,
        )
    )
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert len(results["layer_weights"]) == 3
    from modules.models.encoder import FrozenEncoder

    FrozenEncoder(tmp_path / "run/encoder")(torch.randn(1, 16000))


@pytest.mark.slow
def test_two_processes_skip_different_layers(fine_tune, tmp_path):
    """Started by torchrun, with a layer skipped in every other update."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc_per_node", "2", "train.py"),
            *fine_tune(tmp_path / "run", layerdrop=0.5),
            "--distributed_backend=gloo",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["n_test"] == 12
    assert (tmp_path / "run/encoder/model.safetensors").exists()


def test_a_gpu_that_is_too_small_is_reported_first(
    fine_tune, tmp_path, monkeypatch, capsys
):
    """The error of a GPU is raised here on a CPU."""

    def too_much(brain, batch, stage):
        longest = max(
            e["duration"]
            for e in json.loads(
                (tmp_path / "run/manifests/train.json").read_text()
            ).values()
        )
        assert batch.wavs.shape == (4, round(16000 * longest))
        raise torch.cuda.OutOfMemoryError

    check = FineTuningBrain.check_memory

    def on_a_gpu(brain, dataset):
        brain.device = "cuda:0"
        check(brain, dataset)

    monkeypatch.setattr(FineTuningBrain, "check_memory", on_a_gpu)
    monkeypatch.setattr(FineTuningBrain, "compute_forward", too_much)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 8e9))
    with pytest.raises(SystemExit):
        train.main(fine_tune(tmp_path / "run", batch_size=4))
    message = capsys.readouterr().err
    assert "do not fit into the 8 GB of cuda:0: lower --batch_size" in message
    assert not list((tmp_path / "run/save").glob("CKPT*"))


def test_a_disk_that_is_too_small_is_reported_first(
    fine_tune, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        fine_tuning.shutil,
        "disk_usage",
        lambda folder: types.SimpleNamespace(free=1000),
    )
    with pytest.raises(SystemExit):
        train.main(fine_tune(tmp_path / "run"))
    assert "no room for checkpoints in" in capsys.readouterr().err
    assert not list((tmp_path / "run/save").glob("CKPT*"))
    shutil.rmtree(tmp_path / "run")
