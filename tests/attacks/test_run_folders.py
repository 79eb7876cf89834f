"""A damaged run, checkpoint or store is a sentence with the remedy."""

import json
import os
import random

import pytest
import torch
from safetensors.torch import load_file, save_file
from speechbrain.utils.epoch_loop import EpochCounter

import export
from modules.errors import BadInput
from modules.features.store import FeatureStore
from modules.features.stored_states import StoredStates
from modules.models.upstream import open_upstream
from modules.training.brain import read_curve
from modules.training.checkpoints import (
    WholeCheckpointer,
    best_checkpoints,
    mean_weights,
)
from modules.training.run import Run, find_run
from tests.attacks.hostile import WRONG_VALUES, replace
from tests.attacks.model_and_run_folders import assert_one_sentence, change_json

READ = {
    "graph.json": lambda run: run.graph,
    "inputs.json": lambda run: run.encoder_digest,
    "settings.json": lambda run: run.settings,
    "results.json": lambda run: run.results,
    "head.safetensors": lambda run: run.make_head(),
    "predictions.csv": lambda run: run.predictions(),
    "dev_predictions.csv": lambda run: run.predictions("dev_predictions.csv"),
    "save/label_encoder.txt": lambda run: run.labels,
    "manifests/test.json": lambda run: run.manifest("test"),
}
WAYS = (
    ("missing", "empty", "truncated", "noise", "zeros", "a folder")
    + ("a named pipe", "a dangling link", "a circular link", "nested deeply")
    + ("a link to a device", "UTF-16")
)

# Of a shard that somebody deleted.
GONE = ("missing", "a dangling link")


def refuse(read, run, *words):
    """Read of a run; check the one sentence that comes of it."""
    with pytest.raises(BadInput) as caught:
        read(run)
    assert_one_sentence(caught.value, *words)


def test_a_run_that_nobody_attacked_is_read(run_folder):
    run = find_run(run_folder)
    for name, read in READ.items():
        if not name.startswith("manifests"):
            assert read(run)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("how", WAYS)
def test_a_damaged_file_is_a_sentence(run_folder, name, how):
    path = run_folder / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    if name.endswith("label_encoder.txt") and how == "truncated":
        how = "empty"  # half of it has all labels
    replace(path, how)
    refuse(READ[name], Run(run_folder), str(run_folder))


@pytest.mark.parametrize("word", WRONG_VALUES)
def test_wrong_values_are_a_sentence(run_folder, word):
    """Every value of results.json and graph.json in turn."""
    value = WRONG_VALUES[word]
    for name in ("results.json", "graph.json"):
        before = (run_folder / name).read_text()
        for key in json.loads(before):
            change_json(run_folder / name, key, value=value)
            try:
                READ[name](Run(run_folder))
                Run(run_folder).make_head()
            except BadInput as problem:
                assert_one_sentence(problem, name)
            (run_folder / name).write_text(before)


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda text: text.replace("0.333333", "nan", 1), "nan"),
        (lambda text: text.replace("0.333333", "1.5", 1), "1.5"),
        (lambda text: text.replace("0.333333", "", 1), "damaged"),
        (lambda text: text.replace("speaker", "person", 1), "columns"),
        (lambda text: text.replace("s,sad", "s,glad"), "no label"),
        (lambda text: text.rpartition("\nu2")[0] + "\n", "2 rows instead of 3"),
        (lambda text: text.splitlines()[0] + "\n", "no rows"),
        (lambda text: text + "u9,s\n", "columns"),
        (lambda text: text + "u9,s,a,a,0.1,0.1,0.1,0.1\n", "columns"),
        (lambda text: text + '"u9', "damaged"),
    ],
)
def test_predictions_have_the_columns_of_the_run(run_folder, change, word):
    path = run_folder / "predictions.csv"
    path.write_text(change(path.read_text()))
    refuse(READ["predictions.csv"], Run(run_folder), word)


def test_a_head_of_another_graph_is_refused(run_folder):
    path = run_folder / "head.safetensors"
    tensors = load_file(path)
    tensors["classifier.bias"] = torch.zeros(9)
    save_file(tensors, path)
    refuse(lambda run: run.make_head(), Run(run_folder), "classifier.bias")


def test_a_head_that_is_not_finite_is_refused(run_folder):
    path = run_folder / "head.safetensors"
    tensors = load_file(path)
    tensors["classifier.bias"][0] = float("nan")
    save_file(tensors, path)
    refuse(lambda run: run.weights(), Run(run_folder), "not finite")


def test_a_graph_imports_nothing_else(run_folder):
    change_json(run_folder / "graph.json", "head", "class", value="os.system")
    refuse(lambda run: run.make_head(), Run(run_folder), "os.system")


def test_a_graph_of_many_classes_allocates_nothing(run_folder):
    path = run_folder / "graph.json"
    change_json(path, "sizes", "num_classes", value=10**9)
    refuse(lambda run: run.make_head(), Run(run_folder), "num_classes")


@pytest.mark.parametrize("name", ["graph.json", "head.safetensors"])
def test_export_of_a_damaged_run_writes_nothing(
    run_folder, name, tmp_path, capsys
):
    encoder = json.loads((run_folder / "graph.json").read_text())["encoder"]
    digest = open_upstream(encoder["hub"]).digest()
    change_json(run_folder / "inputs.json", "encoder", value=digest)
    replace(run_folder / name, "truncated")
    with pytest.raises(SystemExit) as stopped:
        export.main(
            [str(run_folder), str(tmp_path / "model"), "--include_encoder"]
        )
    assert stopped.value.code == 2
    assert name in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_another_encoder_than_in_training_is_not_exported(run_folder, capsys):
    with pytest.raises(SystemExit):
        export.main([str(run_folder), "unwritten", "--include_encoder"])
    assert "is not the one that" in capsys.readouterr().err


# ---- checkpoints


@pytest.fixture
def checkpointer(tmp_path):
    """Return a checkpointer with checkpoints of two epochs."""
    model, counter = torch.nn.Linear(2, 2), EpochCounter(limit=3)
    made = WholeCheckpointer(
        tmp_path / "save", {"model": model, "counter": counter}
    )
    for epoch in (1, 2):
        made.save_checkpoint(meta={"epoch": epoch, "dev_WA": epoch / 10})
    return made


def last(checkpointer):
    """Return the folder of the last epoch."""
    return best_checkpoints(checkpointer)[0].path


@pytest.mark.parametrize("how", [way for way in WAYS if way != "missing"])
@pytest.mark.parametrize("name", ["model.ckpt", "CKPT.yaml", "counter.ckpt"])
def test_a_damaged_checkpoint_is_a_sentence(checkpointer, name, how):
    folder = last(checkpointer)
    replace(folder / name, how)
    if name == "CKPT.yaml" and "link" in how and "device" not in how:
        # As a folder that is not finished: the one before is taken.
        assert checkpointer.recover_if_possible().meta["epoch"] == 1
        return
    with pytest.raises(BadInput) as caught:
        checkpointer.recover_if_possible()
        mean_weights(best_checkpoints(checkpointer), "model")
    assert_one_sentence(caught.value, str(folder), "delete it")


@pytest.mark.parametrize(
    "meta",
    ["[]", "epoch: x\n", "dev_WA: .nan\nepoch: 2\n", "!!python/name:os.system"],
)
def test_a_rank_that_cannot_be_compared_is_a_sentence(checkpointer, meta):
    (last(checkpointer) / "CKPT.yaml").write_text(meta)
    with pytest.raises(BadInput, match="delete it"):
        best_checkpoints(checkpointer)


def test_after_deleting_it_the_run_goes_on_from_the_one_before(checkpointer):
    import shutil

    folder = last(checkpointer)
    replace(folder / "model.ckpt", "truncated")
    shutil.rmtree(folder)
    assert checkpointer.recover_if_possible().meta["epoch"] == 1


def test_a_checkpoint_of_code_runs_nothing(checkpointer, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"weight": Evil()}, last(checkpointer) / "model.ckpt")
    with pytest.raises(BadInput, match="delete it"):
        checkpointer.recover_if_possible()
    with pytest.raises(BadInput, match="delete it"):
        mean_weights(best_checkpoints(checkpointer), "model")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_another_model_is_a_sentence(checkpointer):
    other = torch.nn.Linear(3, 2).state_dict()
    torch.save(other, last(checkpointer) / "model.ckpt")
    with pytest.raises(BadInput, match="delete it"):
        checkpointer.recover_if_possible()


@pytest.mark.parametrize(
    "text", ["{}x", "[1]", '[{"epoch": 1}]', "[" * 10**5, "null", '[{"a":2}]']
)
def test_a_damaged_learning_curve_is_a_sentence(tmp_path, text):
    path = tmp_path / "learning_curve.json"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_curve(path)
    assert_one_sentence(caught.value, "learning_curve.json", "delete it")


# ---- the store


@pytest.fixture
def shard(tmp_path):
    """Return the path of a store's only shard."""
    store = FeatureStore(tmp_path / "store")
    states = torch.randn(5, 3, 4)
    store.write(
        {
            name * 64: StoredStates.from_hidden_states(states, torch.float16)
            for name in "ab"
        }
    )
    return next((tmp_path / "store").glob("*.safetensors"))


@pytest.mark.parametrize("how", [way for way in WAYS if way not in GONE])
def test_a_damaged_shard_is_a_sentence(shard, how):
    replace(shard, how)
    with pytest.raises(BadInput) as caught:
        FeatureStore(shard.parent).read("a" * 64)
    assert_one_sentence(caught.value, str(shard), "delete it")


def test_any_byte_that_differs_is_noticed(shard):
    """Or the recording is not there, or its states are the right ones."""
    content = shard.read_bytes()
    right = FeatureStore(shard.parent).read("a" * 64).float()
    draw = random.Random(0)
    for _ in range(300):
        spoiled = bytearray(content)
        spoiled[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        shard.write_bytes(spoiled)
        try:
            store = FeatureStore(shard.parent)
            if "a" * 64 in store:
                assert torch.equal(store.read("a" * 64).float(), right)
        except BadInput as problem:
            assert_one_sentence(problem, "delete it")
