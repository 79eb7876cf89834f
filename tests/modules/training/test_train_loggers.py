"""TensorBoard and W&B: what they have is what the learning curve has."""

import importlib.util
import json
import types

import pytest

import train
from modules.errors import BadInput
from modules.training.settings import check_settings
from modules.training.train_loggers import TrainLoggers


def read_events(folder):
    """Return tag -> list of (step, value) of TensorBoard's files."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )

    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_has_the_learning_curve(command, tmp_path):
    pytest.importorskip("tensorboard")
    train.main(
        command(tmp_path / "x", number_of_epochs=3, train_logger="tensorboard")
    )
    (folder,) = tmp_path.rglob("tensorboard")
    found = read_events(folder)
    curve = json.loads((folder.parent / "learning_curve.json").read_text())
    for tag, key in [
        ("loss/train", "train_loss"),
        ("loss/valid", "dev_loss"),
        ("WA/valid", "dev_WA"),
    ]:
        assert [step for step, _ in found[tag]] == [1, 2, 3]
        values = [value for _, value in found[tag]]
        assert values == pytest.approx([point[key] for point in curve])
    assert all(0 <= value <= 1 for _, value in found["UA/valid"])
    text = (folder.parent / "train_log.txt").read_text()
    assert len(text.splitlines()) == 3 and "valid UA" in text


def stats(epoch):
    return (
        {"epoch": epoch},
        {"loss": 1 / epoch},
        {"loss": 2 / epoch, "WA": 0.5, "UA": 0.0625},
    )


def test_a_run_that_goes_on_has_the_steps_of_the_unbroken_run(tmp_path):
    pytest.importorskip("tensorboard")
    run = types.SimpleNamespace(folder=tmp_path)
    for epochs in ([1, 2], [3]):
        logger = TrainLoggers(run, "tensorboard", {})
        for epoch in epochs:
            meta, trained, valid = stats(epoch)
            logger.log_stats(meta, train_stats=trained, valid_stats=valid)
        logger.close()
    found = read_events(tmp_path / "tensorboard")
    assert found["loss/train"] == [
        (epoch, pytest.approx(1 / epoch)) for epoch in (1, 2, 3)
    ]


def test_wandb_without_a_network(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = types.SimpleNamespace(folder=tmp_path / "s" / "fold_1" / "seed_1")
    run.folder.mkdir(parents=True)
    identities = []
    for _ in range(2):
        logger = TrainLoggers(run, "wandb", {"seed": 1})
        own = logger.loggers[1].run
        identities.append(own.id)
        assert own.name == "s/fold_1/seed_1" and own.config["seed"] == 1
        meta, trained, valid = stats(1)
        logger.log_stats(meta, train_stats=trained, valid_stats=valid)
        logger.close()
        assert wandb.run is None
    assert identities[0] == identities[1], "the same run at W&B"
    files = [p for p in run.folder.rglob("run-*.wandb") if not p.is_symlink()]
    content = b"".join(path.read_bytes() for path in files)
    assert b"UA" in content and b"0.0625" in content


def test_wandb_that_cannot_start_is_one_sentence(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")

    def fail(**options):
        raise wandb.errors.UsageError("no key\nconfigured")

    monkeypatch.setattr(wandb, "init", fail)
    run = types.SimpleNamespace(folder=tmp_path)
    with pytest.raises(BadInput, match=r"\(no key configured\).*=offline"):
        TrainLoggers(run, "wandb", {})


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_refused_before_any_work(
    command, tmp_path, monkeypatch, capsys, name
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(SystemExit):
        train.main(command(tmp_path / "x", train_logger=name))
    assert "requirements-logging.txt" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_another_logger_is_refused():
    with pytest.raises(BadInput, match="train_logger must be one of tensorb"):
        check_settings({"train_logger": "mlflow"})
