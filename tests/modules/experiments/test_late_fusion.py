"""Late fusion of finished runs, and what it refuses."""

import csv
import json
import shutil
import types

import numpy as np
import pytest
import torch

import cross_validate
from modules.errors import BadInput
from modules.experiments.late_fusion import fit_weights, fuse_runs
from modules.experiments.plan import System
from modules.files import write_rows
from modules.training.metrics import Predictions, score

LABELS = ["calm", "glad", "mad"]


def make_run(folder, fold=1, seed=1, number=0):
    """Write the files of a finished run, with random probabilities."""
    rng = np.random.default_rng(100 * fold + seed)
    folder.mkdir(parents=True)
    results = {"labels": LABELS, "test_fold": fold, "seed": seed}
    results |= {"n_train": 20, "n_dev": 30, "n_test": 30}
    for name, split in (("dev_predictions.csv", "d"), ("predictions.csv", "t")):
        truth = rng.integers(3, size=30)
        own = np.random.default_rng(1000 * number + fold + seed)
        chances = own.dirichlet(np.ones(3), size=30)
        chances[np.arange(30), truth] += own.uniform(0, 1.5)
        chances /= chances.sum(axis=1, keepdims=True)
        names = [f"{split}{fold}_{i}" for i in range(30)]
        predictions = Predictions(
            names, torch.from_numpy(truth), torch.from_numpy(chances).log()
        )
        manifest = {n: {"speaker": f"s{n[-1]}"} for n in names}
        write_rows(folder / name, predictions.rows(manifest, LABELS))
        right = score(truth.tolist(), chances.argmax(axis=1).tolist(), LABELS)
        results |= {"dev_WA": right["WA"]} if split == "d" else right
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.fixture
def systems(tmp_path):
    """Two finished systems of two folds and two seeds."""
    for number, name in enumerate(("s_0", "s_0.1")):
        for fold in (1, 2):
            for seed in (1, 2):
                place = tmp_path / f"{name}/fold_{fold}/seed_{seed}"
                make_run(place, fold, seed, number)
    return [tmp_path / "s_0", tmp_path / "s_0.1"]


@pytest.fixture
def no_report(monkeypatch):
    """Leave out what takes seconds and is tested elsewhere."""
    monkeypatch.setattr(cross_validate, "write_report", lambda *_: "none")


def rows(path):
    """Return the rows of a CSV file."""
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_system_fused_with_itself_changes_nothing(tmp_path):
    run = make_run(tmp_path / "run")
    results = fuse_runs([run, run], tmp_path / "fused")
    before = json.loads((run / "results.json").read_text())
    for key in ("WA", "UA", "recall", "confusion", "dev_WA", "labels"):
        assert results[key] == before[key]
    assert results["fusion_weights"] == [0.5, 0.5]
    for name in ("predictions.csv", "dev_predictions.csv"):
        assert rows(tmp_path / "fused" / name) == rows(run / name)


def test_weights_are_the_likeliest_on_dev():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=200)
    good, bad = rng.dirichlet(np.ones(3), size=(2, 200))
    good[np.arange(200), truth] += 1.5
    good /= good.sum(axis=1, keepdims=True)
    both = np.stack([good, bad])
    weights = fit_weights(both, truth)
    assert weights.sum() == pytest.approx(1) and weights[0] > 0.9
    likely = np.tensordot(
        np.stack([np.linspace(0, 1, 101), np.linspace(1, 0, 101)], axis=1),
        both[:, np.arange(200), truth],
        axes=1,
    )
    best = np.log(likely).mean(axis=1).argmax() / 100
    assert weights[0] == pytest.approx(best, abs=0.01)


def change(folder, name, edit):
    """Rewrite a CSV file of a run."""
    lines = rows(folder / name)
    edit(lines)
    with open(folder / name, "w", newline="") as out:
        writer = csv.DictWriter(out, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def test_runs_that_differ_are_one_sentence(tmp_path):
    run = make_run(tmp_path / "run")

    def other(name):
        return make_run(tmp_path / name, number=1)

    def set_result(folder, **values):
        path = folder / "results.json"
        results = json.loads(path.read_text())
        path.write_text(json.dumps(results | values))

    cases = {"none": "is no finished run"}
    (tmp_path / "none").mkdir()
    cases["fold"] = "other test folds"
    set_result(other("fold"), test_fold=2)
    cases["labels"] = "other labels"
    set_result(other("labels"), labels=["glad", "calm", "mad"])
    cases["utterances"] = "other utterances in dev"
    change(other("utterances"), "dev_predictions.csv", lambda r: r.pop())

    def swap(lines):
        line = next(line for line in lines if line["truth"] == "calm")
        line["truth"] = "mad"

    cases["truth"] = "other labels of the same utterances in test"
    change(other("truth"), "predictions.csv", swap)
    for name, words in cases.items():
        with pytest.raises(BadInput, match=words):
            fuse_runs([run, tmp_path / name], tmp_path / "out")
    # The order of the lines does not matter.
    shuffled = other("order")
    change(shuffled, "predictions.csv", lambda lines: lines.reverse())
    assert fuse_runs([run, shuffled], tmp_path / "a") == fuse_runs(
        [run, other("ordered")], tmp_path / "b"
    ) | {"fused": [str(run), str(shuffled)]}


@pytest.mark.usefixtures("no_report")
def test_cross_validate_fuses_finished_systems(systems, tmp_path, capsys):
    output = tmp_path / "fused"
    folders = [str(folder) for folder in systems]
    command = ["--late_fusion", *folders, f"--output_folder={output}"]
    assert cross_validate.main(command) == 0
    assert "fold 1: WA" in capsys.readouterr().out
    assert len(list(output.glob("fold_*/seed_*/results.json"))) == 4
    assert cross_validate.main(command) == 0, "the same again"
    partial = shutil.copytree(systems[1], tmp_path / "partial")
    shutil.rmtree(partial / "fold_2/seed_2")
    for folder, words in (
        (partial, "only one of them has fold 2, seed 2"),
        (tmp_path, "has no finished runs"),
        (systems[0], "something else"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit):
            cross_validate.main([*command[:2], str(folder), command[-1]])
        assert words in capsys.readouterr().err


@pytest.mark.usefixtures("no_report", "systems")
def test_a_table_has_its_fusion(table_command, tmp_path, capsys):
    changes = {
        "systems": [
            {"name": "s 0", "label_smoothing": 0.0},
            {"name": "s 0.1", "label_smoothing": 0.1},
        ],
        "late_fusion": [{"name": "both", "of": ["s 0", "s 0.1"]}],
        "published": {
            "source": "nobody",
            "metric": ["WA", "UA"],
            "figures": {"both": {"WA": 70.5, "UA": [71, 2]}},
        },
    }
    for _ in range(2):  # and again: it goes on
        assert cross_validate.main(table_command(tmp_path, **changes)) == 0
    said = capsys.readouterr().out
    assert "published WA / UA" in said and "70.50 / 71.00 (2.00)" in said
    path = tmp_path / "both/fold_1/seed_2/results.json"
    assert sum(json.loads(path.read_text())["fusion_weights"]) == pytest.approx(
        1
    )
    changes["late_fusion"][0]["of"] = ["s 0", "s 9"]
    with pytest.raises(SystemExit):
        cross_validate.main(table_command(tmp_path, **changes))
    assert "fuses 's 9', which is no system of" in capsys.readouterr().err


def test_the_report_of_a_fusion(finished_table, tmp_path):
    """What has no head of its own is reported like all others."""
    folders = [str(finished_table / name) for name in ("s_0", "s_0.1")]
    output = f"--output_folder={tmp_path}"
    assert cross_validate.main(["--late_fusion", *folders, output]) == 0
    page = (tmp_path / "report.html").read_text()
    command = f"cross_validate.py --late_fusion {' '.join(folders)} --output"
    assert command in page


def test_what_was_run_of_systems_with_files_of_their_own(tmp_path):
    """Keys that one of them lacks are no error, and are not shared."""
    from modules.experiments.provenance import shared_settings

    heads = {"a": {"lr": 1, "seed": 1}, "b": {"cache": None, "seed": 1}}
    systems = [
        System(name, {}, tmp_path, fuses=fuses)
        for name, fuses in (("a", ()), ("b", ()), ("both", ("a", "b")))
    ]
    plan = types.SimpleNamespace(systems=systems, resolved=heads)
    common, varied = shared_settings(plan)
    assert common == {"seed": 1}
    assert varied == {
        "a": {"lr": 1, "cache": ""},
        "b": {"lr": "", "cache": None},
        "both": {"lr": "", "cache": ""},
    }
