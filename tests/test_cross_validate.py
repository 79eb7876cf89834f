"""cross_validate.py from the command line to results.csv."""

import csv
import json

import pytest

import cross_validate
import train


def snapshot(folder):
    """Return when each results.json was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.glob("*/fold_*/seed_*/results.json")
    }


def test_figures_are_means_over_folds_and_seeds(finished_table):
    results = json.loads((finished_table / "results.json").read_text())
    own = {system["system"]: system for system in results["systems"]}
    assert list(own) == ["s 0", "s 0.1", "baseline"]
    runs = {}
    for fold in (1, 2):
        for seed in (1, 2):
            path = finished_table / f"s_0.1/fold_{fold}/seed_{seed}"
            text = (path / "results.json").read_text()
            runs[fold, seed] = json.loads(text)["UA"]
    first, second = [(runs[fold, 1] + runs[fold, 2]) / 2 for fold in (1, 2)]
    told = own["s 0.1"]["UA"]
    assert told["mean"] == pytest.approx((first + second) / 2)
    assert told["std_folds"] == pytest.approx(abs(first - second) / 2**0.5)
    one, two = [(runs[1, seed] + runs[2, seed]) / 2 for seed in (1, 2)]
    assert told["std_seeds"] == pytest.approx(abs(one - two) / 2**0.5)
    assert own["s 0"]["published"] == [{"mean": 65.0, "std": 2.5}]
    assert sum(map(sum, own["s 0"]["confusion"])) == 2 * 60
    low, high = own["s 0"]["interval"]["WA"]
    assert 0 <= low <= high <= 1
    with open(finished_table / "results.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 3 * 2 * 2
    assert {row["status"] for row in rows} == {"finished"}


def test_a_run_is_what_train_py_gives(finished_table, command, tmp_path):
    options = {"test_fold": 2, "seed": 1, "number_of_folds": 2}
    train.main(
        command(tmp_path, label_smoothing=0.1, number_of_epochs=2, **options)
    )
    run = finished_table / "s_0.1/fold_2/seed_1"
    for name in ("predictions.csv", "dev_predictions.csv"):
        assert (run / name).read_text() == (tmp_path / name).read_text()
    assert (run / "train.py").exists(), "the script that was run is kept"


@pytest.mark.usefixtures("no_report")
def test_nothing_is_computed_again(table, table_command):
    before = snapshot(table)
    assert cross_validate.main(table_command(table)) == 0
    assert snapshot(table) == before


@pytest.mark.usefixtures("no_report")
def test_seeds_may_be_added_and_nothing_else_changed(
    table, table_command, capsys
):
    for changes, words in (
        ({"number_of_epochs": 3}, "number_of_epochs 2 instead of 3"),
        (
            {
                "systems": [{"name": "s 0", "label_smoothing": 0.0}],
                "published": None,
            },
            "system 's 0.1', which this command does not have",
        ),
    ):
        with pytest.raises(SystemExit):
            cross_validate.main(table_command(table, **changes))
        message = capsys.readouterr().err
        assert words in message and "another --output_folder" in message
    more = table_command(table, "--seeds=1,2,3", "--report_only")
    assert cross_validate.main(more) == 0
    assert "4/6" in capsys.readouterr().out


@pytest.mark.usefixtures("no_report")
def test_one_system_goes_on_with_what_train_py_has_done(
    command, tmp_path, capsys
):
    options = {"number_of_epochs": 1, "number_of_folds": 2}
    train.main(command(tmp_path / "fold_1/seed_1986", **options))
    done = tmp_path / "fold_1/seed_1986/results.json"
    before = done.stat().st_mtime_ns
    assert cross_validate.main(command(tmp_path, **options)) == 0
    assert done.stat().st_mtime_ns == before
    said = capsys.readouterr().out
    assert "fold 1: WA" in said and "fold 2: WA" in said
    assert "true \\ predicted" in said


@pytest.mark.usefixtures("no_report")
def test_an_experiment_keeps_its_number_of_threads(table, table_command):
    path = table / "experiment.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"threads": 7}))
    assert cross_validate.main(table_command(table, "--jobs=2")) == 0
    assert json.loads(path.read_text())["threads"] == 7
    path.write_text("{")
    with pytest.raises(SystemExit):
        cross_validate.main(table_command(table))


@pytest.mark.parametrize(
    "name, content",
    [
        ("results.json", '{"WA": 1'),
        ("results.json", "[]"),
        ("settings.json", "{"),
        ("run.json", "[]"),
        ("graph.json", ""),
        ("learning_curve.json", "{}"),
        ("predictions.csv", "utterance,speaker\na,b\n"),
        ("predictions.csv", ""),
        ("dev_predictions.csv", "\0"),
    ],
)
@pytest.mark.usefixtures("no_report")
def test_a_damaged_run_is_missing(table, table_command, capsys, name, content):
    run = table / "s_0/fold_2/seed_1"
    (run / name).write_text(content)
    assert cross_validate.main(table_command(table, "--report_only")) == 0
    assert "3/4" in capsys.readouterr().out
    results = json.loads((table / "results.json").read_text())
    (missing,) = results["systems"][0]["missing"]
    assert f"{name} is missing or damaged" in missing["why"]
    assert "delete" in missing["why"]


def test_numbers_do_not_need_the_report(table, table_command, monkeypatch):
    before = json.loads((table / "results.json").read_text())
    (table / "results.json").unlink()
    monkeypatch.setattr(cross_validate, "write_report", lambda *_: "none")
    assert cross_validate.main(table_command(table, "--report_only")) == 0
    after = json.loads((table / "results.json").read_text())
    # The command names the experiment file, which has another name now.
    assert after["provenance"].pop("command") != ""
    assert before["provenance"].pop("command") != ""
    assert after == before
    system = before["systems"][0]
    assert {"interval", "calibration", "learning_curves"} <= set(system)
    assert before["comparisons"] and before["provenance"]["corpora"]


def test_folds_of_other_classes_are_no_table(table, table_command, capsys):
    for name in ("results.json", "predictions.csv", "dev_predictions.csv"):
        path = table / "s_0/fold_2/seed_1" / name
        path.write_text(path.read_text().replace("glad", "merry"))
    with pytest.raises(SystemExit):
        cross_validate.main(table_command(table, "--report_only"))
    assert "the same classes in every fold" in capsys.readouterr().err


def test_a_class_without_a_test_utterance_is_told(table, table_command, capsys):
    path = table / "s_0/fold_2/seed_1/results.json"
    results = json.loads(path.read_text())
    results["recall"]["glad"] = None
    path.write_text(json.dumps(results))
    assert cross_validate.main(table_command(table, "--report_only")) == 0
    words = "fold 2 has no utterance of glad: UA and macro-F1 are"
    assert words in capsys.readouterr().out
    assert words in (table / "report.html").read_text()
