"""train.py from the command line to its files: laws 6 and 7, bad input."""

import csv
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings, strategies as st
from safetensors import safe_open

import train
from modules.features.cache import FeatureCache
from modules.training.brain import EmotionBrain, best_on_dev

ROOT = pathlib.Path(__file__).parents[1]
HPARAMS = sorted((ROOT / "hparams").glob("*.yaml"))
KEYS = """data_folder output_folder cache_folder test_fold seed encoder_hub
pooling projection_size normalize_layers label_smoothing""".split()
KEYS_OF_UPDATES = """channel_dropout attention_heads number_of_epochs batch_size
lr""".split()
KEYS_OF_RECOMMENDED = """layer_pooling standardize soft_labels
train_on_dev choose_moments correlated_layer""".split()
PAPER = ["corr_hubert", "corr_wav2vec2", "corr_wavlm", "corr_whisper"]
RECOMMENDED = ["emodb", "own_corpus", "recommended"]


@pytest.fixture(scope="session")
def finished_run(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    train.main(command(folder))
    return folder


def outcome(folder):
    """Return everything that a run is judged by."""
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
    for picture in ("confusion.png", "layer_weights.png"):
        assert (finished_run / picture).read_bytes()[:4] == b"\x89PNG"
    for name in ("train_log.txt", "log.txt", "hyperparams.yaml"):
        assert (finished_run / name).stat().st_size > 0
    assert not list(finished_run.glob(".*")), "no half-written file"


def test_the_checkpoint_holds_the_head_alone(finished_run):
    for path in (finished_run / "save").glob("CKPT*/head.ckpt"):
        names = torch.load(path, weights_only=True)
        parts = {name.split(".")[0] for name in names}
        assert parts == {
            "layer_pooling",
            "projection",
            "pooling",
            "classifier",
        }


def test_same_seed_same_result_bit_for_bit(finished_run, command, tmp_path):
    train.main(command(tmp_path / "run"))
    assert outcome(tmp_path / "run") == outcome(finished_run)
    train.main(command(tmp_path / "other", seed=7))
    assert outcome(tmp_path / "other") != outcome(finished_run)


@settings(
    deadline=None,
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
    """Stop before some batch, or half-way through writing a checkpoint."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    fit_batch, save = EmotionBrain.fit_batch, torch.save
    left = dict([where])

    def its_time(kind):
        left[kind] = left.get(kind, 1000) - 1
        return left[kind] < 0

    def broken_fit_batch(*args):
        if its_time("batch"):
            raise KeyboardInterrupt
        return fit_batch(*args)

    def broken_save(state, path, *args, **kwargs):
        if its_time("save"):
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
    assert max(checkpoints, key=best_on_dev).meta["epoch"] == 2


def test_label_smoothing_is_in_the_loss_of_training_alone():
    text = (ROOT / "hparams/corr_wavlm.yaml").read_text()
    assert "!name:speechbrain.nnet.losses.nll_loss" in text
    from functools import partial

    from speechbrain.nnet.losses import nll_loss

    smoothing, classes = 0.1, 4
    log_probabilities = torch.randn(5, classes).log_softmax(dim=1)
    targets = torch.tensor([0, 1, 2, 3, 0])
    wanted = torch.full((5, classes), smoothing / classes)
    wanted[range(5), targets] += 1 - smoothing
    expected = -(wanted * log_probabilities).sum(dim=1).mean()
    loss = partial(nll_loss, label_smoothing=smoothing)
    torch.testing.assert_close(loss(log_probabilities, targets), expected)


def test_a_finished_run_is_not_run_again(
    finished_run, command, capsys, monkeypatch
):
    monkeypatch.setattr(EmotionBrain, "fit", None)
    train.main(command(finished_run))
    assert "WA " in capsys.readouterr().out


def test_other_settings_in_the_same_folder_are_refused(
    finished_run, command, capsys
):
    with pytest.raises(SystemExit):
        train.main(command(finished_run, label_smoothing=0.0))
    message = capsys.readouterr().err
    assert "label_smoothing 0.1 instead of 0.0" in message
    assert "--output_folder" in message


def test_other_recordings_or_weights_are_not_mixed_in(
    tone_corpus, encoder_folder, command, tmp_path, capsys
):
    """The same command after a file behind it has changed."""
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
    "changes, words",
    [
        (
            {"pooling": "max"},
            "mean_std, corr, mean_corr, attentive_corr, ecapa_tdnn",
        ),
        ({"test_fold": 6}, "choose one of 1, 2, 3, 4, 5"),
        ({"label_smothing": 0.1}, "did you mean --label_smoothing"),
        ({"label_smoothing": 1.5}, "label_smoothing must be"),
        ({"channel_dropout": "lots"}, "channel_dropout must be"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"lr": -1}, "lr must be a positive number"),
        ({"normalize_layers": 3}, "normalize_layers must be true or false"),
        ({"dev_split": "half"}, "random"),
        ({"cache_format": "int3"}, "float16, bfloat16, float32"),
        ({"encoder_hub": "/no/such/encoder"}, "neither a folder here"),
        ({"csv_file": "/no/such.csv"}, "/no/such.csv"),
    ],
)
def test_bad_settings_are_one_sentence(
    command, tmp_path, capsys, changes, words
):
    with pytest.raises(SystemExit) as stopped:
        train.main(command(tmp_path / "run", **changes))
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert words in message, message
    assert message.startswith("error: ") and "Traceback" not in message


def test_a_missing_file_or_key_is_one_sentence(capsys):
    for arguments, words in (
        (["hparams/no_such.yaml"], "no_such.yaml cannot be read"),
        ([str(ROOT / "hparams/corr_emodb.yaml")], "needs --data_folder"),
    ):
        with pytest.raises(SystemExit):
            train.main(arguments)
        assert words in capsys.readouterr().err


def test_lr_may_be_written_as_one_likes(command, tmp_path):
    train.main(command(tmp_path / "run", lr="1e-3", number_of_epochs=1))


@pytest.mark.parametrize("path", HPARAMS, ids=lambda path: path.stem)
def test_every_yaml_has_the_keys(path):
    keys = re.findall(r"^(\w+):", path.read_text(), flags=re.MULTILINE)
    own = KEYS_OF_RECOMMENDED if path.stem in RECOMMENDED else KEYS_OF_UPDATES
    needed = {*KEYS, *own}
    if path.stem.startswith("finetune"):
        needed -= {"cache_folder"}
    assert needed <= set(keys)


def test_the_recommended_system_is_the_same_for_every_corpus():
    texts = [
        (ROOT / f"hparams/{name}.yaml").read_text() for name in RECOMMENDED
    ]
    systems = {
        re.sub("(?m)^soft_labels: null.*$", "", text[text.index("# Head") :])
        for text in texts
    }
    assert len(systems) == 1
    assert all("\nsoft_labels: null" in text for text in texts)


def test_yamls_of_the_paper_differ_in_the_encoder_alone():
    texts = [
        re.sub("(?m)^#.*\n|corr_[a-z0-9]+|^encoder_hub:.*\n", "", p.read_text())
        for p in HPARAMS
        if p.stem in PAPER
    ]
    assert len(texts) == 4 and len(set(texts)) == 1
    for line in (
        "pooling: attentive_corr",
        "projection_size: 256",
        "attention_heads: 4",
        "channel_dropout: 0.25",
        "normalize_layers: false",
        "lr: 0.0001",
        "batch_size: 32",
        "number_of_epochs: 270",
        "max_grad_norm: 1.0",
    ):
        assert line in texts[0]


def test_two_processes_share_encoding_and_training(command, tmp_path):
    """Started by torchrun: every recording is encoded once, by one of them."""
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
