"""train.py from the command line to its files: laws 6 and 7."""

import csv
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, example, given, settings, strategies as st
from safetensors import safe_open

import train
from modules.features.cache import FeatureCache
from modules.training.brain import EmotionBrain
from modules.training.checkpoints import dev_rank
from modules.training.configuration import load_configuration


@pytest.fixture(scope="session")
def finished_run(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    train.main(command(folder))
    return folder


def outcome(folder):
    """Return what two equal runs have in common."""
    chosen = max(
        (folder / "save").glob("CKPT*/CKPT.yaml"),
        key=lambda path: (
            yaml.safe_load(path.read_text())["dev_WA"],
            -yaml.safe_load(path.read_text())["epoch"],
        ),
    )
    head = torch.load(chosen.parent / "head.ckpt", weights_only=True)
    return (
        (folder / "results.json").read_text(),
        (folder / "predictions.csv").read_text(),
        (folder / "learning_curve.json").read_text(),
        {key: value.tolist() for key, value in head.items()},
    )


def test_a_run_leaves_what_is_promised(finished_run):
    results = json.loads((finished_run / "results.json").read_text())
    for key in """WA UA macro_f1 recall confusion labels test_fold n_train
        n_dev n_test seed encoder_hub pooling label_smoothing
        best_epoch layer_weights""".split():
        assert key in results, key
    assert sum(results["layer_weights"]) == pytest.approx(1)
    assert results["labels"] == ["calm", "glad", "mad"]
    assert set(results["recall"]) == set(results["labels"])
    assert (results["n_train"], results["n_dev"]) == (38, 10)
    assert results["n_test"] == 12 == sum(map(sum, results["confusion"]))
    with open(finished_run / "predictions.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == [
        *"utterance speaker truth prediction".split(),
        *results["labels"],
    ]
    assert len(rows) == 12 and len({row["speaker"] for row in rows}) == 1
    right = sum(row["truth"] == row["prediction"] for row in rows)
    assert results["WA"] == pytest.approx(right / 12)
    for row in rows:
        chances = [float(row[label]) for label in results["labels"]]
        assert sum(chances) == pytest.approx(1, abs=1e-5)
        best = results["labels"][chances.index(max(chances))]
        assert row["prediction"] == best
    with open(finished_run / "dev_predictions.csv", newline="") as lines:
        dev = list(csv.DictReader(lines))
    assert list(dev[0]) == list(rows[0]) and len(dev) == 10
    right = sum(row["truth"] == row["prediction"] for row in dev)
    assert results["dev_WA"] == pytest.approx(right / 10)
    record = json.loads((finished_run / "run.json").read_text())
    assert record["seconds"] > 0 and record["machine"]["cores"] >= 1
    test_manifest = (finished_run / "manifests/test.json").read_bytes()
    digest = hashlib.sha256(test_manifest).hexdigest()
    assert record["manifests"]["test"] == digest
    for plot in ("confusion.png", "layer_weights.png"):
        assert (finished_run / plot).read_bytes()[:4] == b"\x89PNG"
    for name in ("train_log.txt", "log.txt", "hyperparams.yaml"):
        assert (finished_run / name).stat().st_size > 0
    assert not list(finished_run.glob(".*")), "no half-written file"


def test_a_run_keeps_the_script_that_was_started(finished_run):
    kept = (finished_run / "train.py").read_text()
    assert kept == (ROOT / "train.py").read_text()
    assert not list(finished_run.glob("*experiment.py"))


def test_the_learning_curve_has_one_point_per_epoch(finished_run):
    curve = json.loads((finished_run / "learning_curve.json").read_text())
    assert [point["epoch"] for point in curve] == [1, 2, 3]
    results = json.loads((finished_run / "results.json").read_text())
    best = max(curve, key=lambda point: (point["dev_WA"], -point["epoch"]))
    assert best["epoch"] == results["best_epoch"]
    assert best["dev_WA"] == results["dev_WA"]
    for point in curve:
        assert point["train_loss"] > 0 and point["dev_loss"] > 0


def test_a_recording_with_braces_in_its_name_can_be_trained_on(
    tone_corpus, command, tmp_path
):
    """SpeechBrain's reader of manifests formats every text."""
    folder = tmp_path / "tones"
    shutil.copytree(pathlib.Path(tone_corpus).parent, folder)
    table = folder / "corpus.csv"
    for old in ("0_mad_0", "1_glad_1"):
        (folder / f"{old}.wav").rename(folder / f"x{{1}}{old}.wav")
        table.write_text(table.read_text().replace(old, f"x{{1}}{old}"))
    train.main(command(tmp_path / "run", csv_file=table, number_of_epochs=1))
    assert (tmp_path / "run/results.json").is_file()


def test_a_checkpoint_contains_the_head_alone(finished_run):
    for path in (finished_run / "save").glob("CKPT*/head.ckpt"):
        names = torch.load(path, weights_only=True)
        parts = {name.split(".")[0] for name in names}
        assert parts == {"embedding", "classifier"}


def test_same_seed_same_result_bit_for_bit(finished_run, command, tmp_path):
    train.main(command(tmp_path / "run"))
    assert outcome(tmp_path / "run") == outcome(finished_run)
    train.main(command(tmp_path / "other", seed=7))
    assert outcome(tmp_path / "other") != outcome(finished_run)


@pytest.mark.slow
@settings(
    max_examples=4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    where=st.one_of(
        st.tuples(st.just("batch"), st.integers(0, 14)),
        st.tuples(st.just("save"), st.integers(0, 5)),
    )
)
@example(where=("save", 2))  # the head of the second epoch
def test_interrupted_anywhere_ends_where_the_unbroken_run_ends(
    finished_run, command, tmp_path_factory, where
):
    """Before any batch, or half-way through writing a checkpoint."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    fit_batch, save = EmotionBrain.fit_batch, torch.save
    left = dict([where])

    def is_reached(kind):
        left[kind] = left.get(kind, 1000) - 1
        return left[kind] < 0

    def broken_fit_batch(*args):
        if is_reached("batch"):
            raise KeyboardInterrupt
        return fit_batch(*args)

    def broken_save(state, path, *args, **kwargs):
        if is_reached("save"):
            pathlib.Path(path).write_bytes(b"half")
            raise KeyboardInterrupt
        return save(state, path, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmotionBrain, "fit_batch", broken_fit_batch)
        patch.setattr(torch, "save", broken_save)
        with pytest.raises(SystemExit) as stopped:
            train.main(command(folder))
        assert stopped.value.code == 130
    train.main(command(folder))
    assert outcome(folder) == outcome(finished_run)


@pytest.mark.slow
def test_killed_and_started_again(finished_run, command, tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "train.py", *command(folder)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = folder / "train_log.txt"
    patience = time.monotonic() + 120
    while not log.exists() and time.monotonic() < patience:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert log.exists() and not (folder / "results.json").exists()
    train.main(command(folder))
    assert outcome(folder) == outcome(finished_run)


def test_the_test_session_is_read_once_and_last(command, tmp_path, monkeypatch):
    events = []
    read, choose = FeatureCache.read, EmotionBrain.on_evaluate_start

    def spy_read(cache, digest):
        events.append(digest)
        return read(cache, digest)

    def spy_choose(brain, *args, **kwargs):
        events.append("chosen")
        return choose(brain, *args, **kwargs)

    monkeypatch.setattr(FeatureCache, "read", spy_read)
    monkeypatch.setattr(EmotionBrain, "on_evaluate_start", spy_choose)
    train.main(command(tmp_path / "run"))
    manifest = json.loads((tmp_path / "run/manifests/test.json").read_text())
    test = {entry["sha256"] for entry in manifest.values()}
    chosen = events.index("chosen")
    assert not test & set(events[:chosen])
    assert sorted(events[-len(test) :]) == sorted(test)
    assert not test & set(events[: -len(test)])


def test_of_equal_dev_accuracy_the_earliest_epoch_is_chosen():
    class Checkpoint:
        def __init__(self, epoch, accuracy):
            self.meta = {"epoch": epoch, "dev_WA": accuracy}

    checkpoints = [Checkpoint(1, 0.5), Checkpoint(2, 0.7), Checkpoint(3, 0.7)]
    assert max(checkpoints, key=dev_rank).meta["epoch"] == 2


def test_label_smoothing_is_in_the_loss_of_training(command, tmp_path):
    """Of dev and test the loss is plain, so that runs can be compared."""
    smoothing, classes = 0.1, 4
    log_probabilities = torch.randn(5, classes).log_softmax(dim=1)
    targets = torch.tensor([0, 1, 2, 3, 0])
    wanted = torch.full((5, classes), smoothing / classes)
    wanted[range(5), targets] += 1 - smoothing
    expected = -(wanted * log_probabilities).sum(dim=1).mean()
    arguments = command(tmp_path, label_smoothing=smoothing)
    trainer = load_configuration(arguments)[0]["trainer"]
    loss = trainer.compute_loss(log_probabilities, targets)
    torch.testing.assert_close(loss, expected)


def test_a_finished_run_is_not_run_again(
    finished_run, command, capsys, monkeypatch
):
    monkeypatch.setattr(EmotionBrain, "fit", None)
    train.main(command(finished_run))
    output = capsys.readouterr().out
    assert "already finished" in output and "WA " in output


def test_other_settings_in_the_same_folder_are_refused(
    finished_run, command, capsys
):
    with pytest.raises(SystemExit):
        train.main(command(finished_run, label_smoothing=0.0))
    message = capsys.readouterr().err
    assert "label_smoothing 0.1 instead of 0.0" in message
    assert "--output_folder" in message


def test_other_recordings_or_weights_are_refused(
    tone_corpus, encoder_folder, command, tmp_path, capsys
):
    """The same command after a recording or a weight has changed."""
    for name in ("corpus", "encoder"):
        corpus, encoder = tmp_path / name / "c", tmp_path / name / "e"
        shutil.copytree(pathlib.Path(tone_corpus).parent, corpus)
        shutil.copytree(encoder_folder(), encoder)
        again = command(
            tmp_path / name / "run",
            csv_file=corpus / "corpus.csv",
            encoder_hub=encoder,
            number_of_epochs=1,
        )
        train.main(again)
        (tmp_path / name / "run/results.json").unlink()
        if name == "corpus":
            shutil.copy(corpus / "0_mad_1.wav", corpus / "0_mad_0.wav")
        else:
            other = pathlib.Path(encoder_folder(seed=1))
            shutil.copy(other / "model.safetensors", encoder)
        with pytest.raises(SystemExit):
            train.main(again)
        assert "choose another --output_folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "part, words",
    [
        ("{class: modules.models.pooling.MeanPooling, size: 3}", "'size'"),
        (
            "{class: modules.models.pooling.AttentiveCorrelationPooling, "
            "attention_heads: many}",
            "cannot be built",
        ),
        (
            "{class: modules.models.ecapa.EcapaPooling, channels: 12}",
            "ecapa_channels 12 is no multiple of 8",
        ),
        ("{class: modules.models.head.EmotionHead}", "cannot be built"),
    ],
)
def test_a_part_that_does_not_fit_is_one_sentence_before_the_encoding(
    command, tmp_path, capsys, part, words
):
    cache = tmp_path / "cache"
    with pytest.raises(SystemExit) as stopped:
        train.main(command(tmp_path / "run", pooling=part, cache_folder=cache))
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1, message
    assert not list(cache.rglob("*.safetensors")), "nothing was encoded"


def test_results_are_written_last_and_whole(command, tmp_path, monkeypatch):
    """A run that ends before is not finished, and can be started again."""

    def full(*args):
        raise KeyboardInterrupt

    again = command(tmp_path / "run", number_of_epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr("modules.training.fold.write_run_record", full)
        with pytest.raises(SystemExit):
            train.main(again)
    assert (tmp_path / "run/predictions.csv").is_file()
    assert not (tmp_path / "run/results.json").exists()
    train.main(again)
    assert (tmp_path / "run/results.json").is_file()


@pytest.mark.slow
def test_two_processes_share_encoding_and_training(command, tmp_path):
    """Started by torchrun: every recording is encoded once."""
    cache = tmp_path / "cache"
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc_per_node=2"),
            "train.py",
            *command(tmp_path / "run", cache_folder=cache),
            "--distributed_backend=gloo",
        ],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
        capture_output=True,
    )
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["n_train"] + results["n_dev"] + results["n_test"] == 60
    shards = list(cache.glob("*/*.safetensors"))
    stored = []
    for shard in shards:
        with safe_open(shard, framework="pt") as file:
            stored += list(file.metadata())
    assert len(shards) == 2 and len(stored) == len(set(stored)) == 60
