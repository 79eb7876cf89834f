"""Fine-tuning through train.py: what moves, what is kept, going on."""

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
from conftest import ROOT
from safetensors.torch import load_file

import export
import train
from modules.training import fine_tuning
from modules.training.fine_tuning import FineTuningBrain


@pytest.fixture(scope="session")
def fine_tune(tone_corpus, encoder_folder, tmp_path_factory):
    """Return a function that gives the command line of a small run."""
    own = (ROOT / "hparams/own_corpus.yaml").read_text()
    text = (ROOT / "hparams/finetune_emodb.yaml").read_text()

    for start, end in (("# Corpus:", "system:"), ("prepare:", "# ")):
        corpus = own[own.index(start) :]
        theirs = text[text.index(start) :]
        corpus = corpus[: corpus.index(end, 5)]
        theirs = theirs[: theirs.index(end, 5)]
        text = text.replace(theirs, corpus)
    path = tmp_path_factory.mktemp("hparams") / "finetune_own.yaml"
    path.write_text(text)

    def make(output_folder, *more, **changes):
        options = {
            "csv_file": tone_corpus,
            "output_folder": output_folder,
            "encoder_hub": encoder_folder(),
            "number_of_epochs": 2,
            "average_checkpoints": 2,
            "projection_size": 8,
            "encoder_lr": 0.001,
            "layerdrop": 0.2,
            "mask_time": 0.2,
        } | changes
        return [
            str(path),
            *(f"--{key}={value}" for key, value in options.items()),
            "--noprogressbar",
            "--device=cpu",
            *more,
        ]

    return make


@pytest.fixture(scope="session")
def finished(fine_tune, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetuned") / "run"
    train.main(fine_tune(folder))
    return folder


def weights(folder):
    """Return the tensors of an encoder in HuggingFace format."""
    return load_file(pathlib.Path(folder) / "model.safetensors")


def test_the_frozen_part_does_not_move_and_every_other_part_does(
    finished, encoder_folder
):
    before, after = weights(encoder_folder()), weights(finished / "encoder")
    assert set(before) == set(after)
    for name in before:
        same = torch.equal(before[name], after[name])
        assert same is name.startswith("feature_extractor."), name


def test_the_mean_of_the_best_is_handed_on_and_old_ones_go(finished):
    found = {}
    for path in (finished / "save").glob("CKPT*/CKPT.yaml"):
        meta = yaml.safe_load(path.read_text())
        found[meta["dev_WA"], -meta["epoch"]] = path.parent
    best = sorted(found, reverse=True)[:2]
    handed_on = weights(finished / "encoder")
    states = [
        torch.load(found[key] / "encoder.ckpt", weights_only=True)
        for key in best
    ]
    compared = 0
    for name, value in handed_on.items():
        if f"wrapper.model.{name}" in states[0]:
            mean = sum(state[f"wrapper.model.{name}"] for state in states) / 2
            torch.testing.assert_close(value, mean)
            compared += 1
    assert compared > 20
    last = found[max(found, key=lambda key: -key[1])]
    for folder in found.values():
        assert (folder / "optimizer.ckpt").exists() == (folder == last)


def test_the_encoder_is_the_next_stages_upstream(finished, command, tmp_path):
    """With a cache of its own, and only that stage can be exported."""
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
    handed_on = weights(finished / "encoder")
    for name, value in weights(model / "encoder").items():
        assert torch.equal(value, handed_on[name])


def test_a_fine_tuning_itself_is_not_exported(finished, tmp_path, capsys):
    with pytest.raises(SystemExit):
        export.main([str(finished), str(tmp_path / "model")])
    words = f"train a head on its encoder with --encoder_hub {finished}/encoder"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("stop", [3, 8])
def test_interrupted_it_goes_on_bit_for_bit(
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


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_epoch(
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
    said = capsys.readouterr().err
    assert "the loss is nan: encoder_lr 0.5 or lr 0.001 is too high" in said
    assert "the checkpoint of epoch 1 is kept" in said
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
            number_of_folds=5,
            batch_size=16,
        )
    )
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert len(results["layer_weights"]) == 3
    from modules.models.encoder import FrozenEncoder

    FrozenEncoder(tmp_path / "run/encoder")(torch.randn(1, 16000))


def test_processes_side_by_side_skip_layers_of_their_own(fine_tune, tmp_path):
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


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"layers_used": "first"}, "choose last or all"),
        ({"encoder_lr": -1}, "encoder_lr must be a positive number"),
        ({"layerdrop": 1.5}, "layerdrop must be a number in [0, 1)"),
        ({"gradient_checkpointing": 3}, "must be true or false"),
        ({"encoder_hub": "fbank"}, "fbank cannot be fine-tuned"),
        ({"average_checkpoints": 5}, "needs as many epochs"),
    ],
)
def test_bad_settings_are_one_sentence(
    fine_tune, tmp_path, capsys, changes, words
):
    with pytest.raises(SystemExit):
        train.main(fine_tune(tmp_path / "run", **changes))
    assert words in capsys.readouterr().err


def test_a_gpu_that_is_too_small_is_told_first(
    fine_tune, tmp_path, monkeypatch, capsys
):
    """There is no GPU here: what one would say is put into its mouth."""

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
    said = capsys.readouterr().err
    assert "do not fit into the 8 GB of cuda:0: lower --batch_size" in said
    assert not list((tmp_path / "run/save").glob("CKPT*"))


def test_the_disk_is_told_first(fine_tune, tmp_path, monkeypatch, capsys):
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
