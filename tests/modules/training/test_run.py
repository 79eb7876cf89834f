"""Reading runs: damaged ones, old ones, several folds of one system."""

import json
import shutil

import pytest
import torch

from modules.errors import BadInput
from modules.inference.packaging import check_system
from modules.training.run import Run, find_run, find_runs


def copy_folds(trained, folder):
    """Copy the folds into a folder such as cross_validate.py makes."""
    for fold, run in trained.folders.items():
        shutil.copytree(run, folder / f"fold_{fold}/seed_1986")
    return folder


def test_a_run_is_read_from_its_folder(trained):
    run = Run(trained.folders[1])
    assert run.is_finished and run.labels == ["calm", "glad", "mad"]
    assert run.settings["seed"] == 1986 and run.results["n_test"] == 12
    assert len(run.predictions()) == 12
    assert len(run.predictions("dev_predictions.csv")) == 10
    entries = run.manifest("test")
    assert {row["utterance"] for row in run.predictions()} == set(entries)


def test_the_head_is_built_from_the_record(trained):
    run = Run(trained.folders[1])
    head = run.make_head()
    assert not head.training
    weights = run.weights()
    for name, value in head.state_dict().items():
        assert torch.equal(value, weights[name])


def test_graph_json_records_the_parts_that_were_used(trained):
    graph = Run(trained.folders[1]).graph
    assert graph["sizes"] == {
        "num_hidden_states": 3,
        "hidden_size": 32,
        "num_classes": 3,
    }
    embedding = graph["head"]["embedding"]
    assert embedding["channel_dropout"] == 0.25
    assert embedding["projection"]["out_features"] == 8
    assert embedding["pooling"] == {
        "class": "modules.models.pooling.AttentiveCorrelationPooling",
        "attention_heads": 4,
    }
    assert graph["encoder"]["fine_tuned"] is False
    assert {"name", "identifier", "language"} <= set(graph["corpus"])


@pytest.mark.parametrize(
    "name, read, words",
    [
        ("results.json", lambda run: run.results, "results.json"),
        ("settings.json", lambda run: run.settings, "settings.json"),
        ("graph.json", lambda run: run.graph, "graph.json"),
        ("head.safetensors", lambda run: run.weights(), "head.safetensors"),
    ],
)
@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\xff\xfe"])
def test_a_missing_or_damaged_file_is_one_sentence(
    trained, tmp_path, name, read, words, content
):
    run = shutil.copytree(trained.folders[1], tmp_path / "run")
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    with pytest.raises(BadInput, match=words):
        read(Run(run))


def test_a_run_of_an_earlier_version_is_one_sentence(trained, tmp_path):
    run = shutil.copytree(trained.folders[1], tmp_path / "run")
    (run / "graph.json").unlink()
    with pytest.raises(BadInput, match="earlier version .* train it again"):
        assert Run(run).graph


def test_the_only_run_below_a_folder_is_found(trained, tmp_path):
    folder = copy_folds(trained, tmp_path)
    first = folder / "fold_1/seed_1986"
    assert find_run(first).folder == find_run(folder / "fold_1").folder == first
    with pytest.raises(BadInput, match="no finished run"):
        find_run(folder / "fold_3")
    shutil.copytree(first, folder / "fold_1/seed_2")
    with pytest.raises(BadInput, match="contains 2 runs: choose one of"):
        find_run(folder / "fold_1")


@pytest.mark.parametrize("place", ["", "fold_1", "fold_2/seed_1986"])
def test_folds_are_found_from_any_of_their_folders(trained, tmp_path, place):
    folder = copy_folds(trained, tmp_path)
    runs = find_runs(folder / place, [1, 2, 1])
    assert [run.folder for run in runs] == [
        folder / f"fold_{fold}/seed_1986" for fold in (1, 2)
    ]
    with pytest.raises(BadInput, match="fold_5"):
        find_runs(folder / place, [1, 5])


def test_only_folds_of_one_system_make_an_ensemble(trained, tmp_path):
    folder = copy_folds(trained, tmp_path)
    path = folder / "fold_2/seed_1986/graph.json"
    graph = json.loads(path.read_text())
    graph["head"]["embedding"]["layer_pooling"]["normalize"] = True
    path.write_text(json.dumps(graph))
    with pytest.raises(BadInput, match="differ in their graph.* one system"):
        check_system(find_runs(folder, [1, 2]))
