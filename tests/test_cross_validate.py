"""cross_validate.py from the command line to results.csv."""

import csv
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

import cross_validate
import train
from modules.errors import BadInput
from modules.experiments import launcher
from modules.experiments.experiment_file import is_experiment
from modules.experiments.plan import FAILED, LOG
from modules.experiments.read_plan import read_plan

# Imports what runs are forked with. A question for a GPU gets the answer of a
# PyTorch that was built with CUDA.
ASKED_FOR_A_GPU = """
import sys, torch
from unittest.mock import patch
asked = []
ask = torch.cuda.is_available
def is_available():
    nvml = lambda: asked.append("NVML") or 0
    cuda = lambda: asked.append("CUDA") or 0
    with (
        patch("torch.cuda._is_compiled", lambda: True),
        patch("torch.cuda._device_count_nvml", nvml),
        patch("torch._C._cuda_getDeviceCount", cuda, create=True),
    ):
        return ask()
torch.cuda.is_available = is_available
for name in sys.argv[1:]:
    __import__(name)
print(asked)
"""
EMPTY = "systems: [{name: a}]\nseeds: [1]\ntitle: t\n"


def snapshot(folder):
    """Return when each results.json was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.glob("*/fold_*/seed_*/results.json")
    }


@pytest.fixture
def table(finished_table, tmp_path):
    """A copy of the finished table, to be damaged."""
    return shutil.copytree(finished_table, tmp_path / "out")


@pytest.fixture
def no_report(monkeypatch):
    """Leave out what takes seconds and is tested elsewhere."""
    monkeypatch.setattr(cross_validate, "write_report", lambda *_: "none")


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


def test_a_failed_run_is_reported_and_the_others_go_on(
    table, table_command, capsys
):
    refused, lost = table / "s_0/fold_1/seed_1", table / "s_0.1/fold_2/seed_2"
    (refused / "results.json").unlink()
    settings = json.loads((refused / "settings.json").read_text())
    (refused / "settings.json").write_text(json.dumps(settings | {"lr": 9.0}))
    shutil.rmtree(lost)
    before = snapshot(table)
    assert cross_validate.main(table_command(table)) == 1
    said = capsys.readouterr()
    assert "FAILED s 0, fold 1, seed 1: error: " in said.out + said.err
    assert "lr 9.0 instead of 0.0001" in (refused / LOG).read_text()
    assert (lost / "results.json").exists(), "the rest goes on"
    assert before.items() <= snapshot(table).items()
    page = (table / "report.html").read_text()
    assert "s 0, fold 1, seed 1" in page and "lr 9.0 instead" in page
    # Mended, the same command makes it whole.
    (refused / "settings.json").write_text(json.dumps(settings))
    assert cross_validate.main(table_command(table)) == 0
    assert len(snapshot(table)) == 12


def kill_itself(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("no_report")
def test_a_killed_run_has_failed(table, table_command, monkeypatch, capsys):
    run = table / "s_0/fold_2/seed_2"
    (run / "results.json").unlink()
    monkeypatch.setattr(launcher, "run_one", kill_itself)
    assert cross_validate.main(table_command(table)) == 1
    assert "ended by SIGKILL" in (run / FAILED).read_text()
    assert "3/4" in capsys.readouterr().out


@pytest.mark.usefixtures("no_report")
def test_nothing_initialises_cuda_before_runs_are_forked(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    launcher._prepare_forks(threads=1)
    asked = subprocess.run(
        [sys.executable, "-c", ASKED_FOR_A_GPU, *launcher._PRELOADED],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "NVML" in asked, "the question that matters was asked"
    assert "CUDA" not in asked


def wait_for(condition):
    """Wait until something happens in another process."""
    patience = time.monotonic() + 240
    while not condition() and time.monotonic() < patience:
        time.sleep(0.05)


def locked(log):
    """Return whether a run is at work: it locks its log."""
    if not log.exists():
        return False
    with open(log) as lines:
        try:
            fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize(
    "end, status",
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.usefixtures("no_report")
def test_interrupted_it_goes_on_where_it_stopped(
    table_command, tmp_path, end, status
):
    systems = [{"name": "s 0", "label_smoothing": 0.0}]
    command = table_command(
        tmp_path / "out", seeds=[1], systems=systems, number_of_epochs=40
    )
    process = subprocess.Popen(
        [sys.executable, "cross_validate.py", *command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has its background jobs ignore Ctrl-C, and this may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    log = tmp_path / "out/s_0/fold_1/seed_1" / LOG
    wait_for(lambda: locked(log))
    process.send_signal(end)
    _, said = process.communicate()
    assert process.returncode == status, said
    assert end == signal.SIGKILL or "goes on where this one stopped" in said
    wait_for(lambda: not locked(log))
    assert not locked(log), "the run ends with the command"
    assert not (log.parent / "results.json").exists()
    if end == signal.SIGINT:
        assert cross_validate.main(command) == 0
        assert len(snapshot(tmp_path / "out")) == 2


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


def die_at_once(*_):
    sys.exit(3)


@pytest.mark.usefixtures("no_report")
def test_a_run_that_dies_before_its_log_is_open_has_failed(
    table, table_command, monkeypatch
):
    run = table / "s_0/fold_2/seed_2"
    (run / "results.json").unlink()
    (run / LOG).unlink()
    monkeypatch.setattr(launcher, "run_one", die_at_once)
    assert cross_validate.main(table_command(table)) == 1
    assert "exit status 3 before it could" in (run / FAILED).read_text()


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


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"seads": [1]}, "unknown key seads: did you mean seeds?"),
        ({"seeds": []}, "has no seeds: give a list of integers"),
        ({"seeds": [1, 1]}, "a seed is there twice"),
        ({"seeds": "many"}, "seeds must be a list of integers"),
        ({"systems": [{"name": "a", "pooling": "max"}]}, "'max' is unknown"),
        ({"systems": [{"name": "a", "poling": "corr"}]}, "mean --pooling"),
        ({"systems": [{"name": "a"}, {"name": "a"}]}, "two of systems are"),
        ({"systems": [{"name": "a b"}, {"name": "a+b"}]}, "the same folder"),
        ({"systems": [{"name": "a=b"}]}, "'a=b' cannot name"),
        ({"systems": [{"name": "a", "seed": 3}]}, "sets seed, which the"),
        ({"systems": "mean"}, "systems must be a list"),
        ({"grid": [{"label_smoothing": 2}]}, "'None' cannot name one of grid"),
        ({"hparams": "hparams/no.yaml"}, "hparams hparams/no.yaml is no file"),
        (
            {"systems": [{"name": "a", "hparams": "hparams/no.yaml"}]},
            "hparams hparams/no.yaml is no file",
        ),
        (
            {"floor": True},
            "add {name: baseline, hparams: hparams/baseline.yaml}",
        ),
        ({"systems": [{"name": "a", "lr": [1]}]}, "the value [1] is not"),
        ({"systems": [{"name": ".."}]}, "'..' cannot name"),
        (
            {"published": {"source": "x", "metric": "WA", "figures": {"z": 1}}},
            "'z', which is no system of the",
        ),
        (
            {"published": {"source": "x", "metric": "ACC", "figures": {}}},
            "metric 'ACC' is unknown",
        ),
        ({"published": {"source": "x"}}, "source, metric and figures"),
    ],
)
def test_bad_experiments_are_one_sentence(
    table_command, tmp_path, capsys, changes, words
):
    changes = {"published": None} | changes
    command = table_command(tmp_path / "out", **changes)
    with pytest.raises(SystemExit) as stopped:
        cross_validate.main(command)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert words in message, message
    assert not (tmp_path / "out").exists(), "before any work starts"


@pytest.mark.parametrize(
    "option, words",
    [
        ("--seed=3", "give --seeds"),
        ("--test_fold=1", "all folds are run"),
        ("--label_smoothing=0.2", "leave it out"),
        ("--poling=mean", "did you mean --pooling"),
    ],
)
def test_bad_options_are_one_sentence(
    table_command, tmp_path, capsys, option, words
):
    with pytest.raises(SystemExit):
        cross_validate.main(table_command(tmp_path / "out", option))
    assert words in capsys.readouterr().err


def test_a_system_may_have_a_hyperparameter_file_of_its_own(tmp_path):
    path = tmp_path / "table.yaml"
    path.write_text(
        """
title: two files
hparams: hparams/corr_wavlm.yaml
settings: {number_of_epochs: 3, corpus: emodb}
systems:
  - {name: trained, pooling: mean}
  - {name: fitted, hparams: hparams/baseline.yaml, C: 0.5}
seeds: [1]
"""
    )
    plan = read_plan(path, ["--csv_file=/nowhere.csv"])
    trained, fitted = (plan.arguments(plan.runs[i]) for i in (0, 5))
    assert trained[0].endswith("hparams/corr_wavlm.yaml")
    assert {"--number_of_epochs=3", "--corpus=emodb"} <= set(trained)
    assert fitted[0].endswith("hparams/baseline.yaml")
    assert {"--C=0.5", "--corpus=emodb"} <= set(fitted)
    assert not any("number_of_epochs" in option for option in fitted)
    assert plan.resolved["fitted"]["C"] == 0.5


def test_the_grid_varies_what_a_file_has_and_a_system_does_not_set(tmp_path):
    path = tmp_path / "table.yaml"
    path.write_text(
        """
title: a baseline once per encoder
hparams: hparams/corr_wavlm.yaml
systems:
  - {name: mean, pooling: mean, number_of_epochs: 5}
  - {name: baseline, hparams: hparams/baseline.yaml}
grid:
  - {name: A, encoder_hub: a, label_smoothing: 0.1}
  - {name: A smoothed, encoder_hub: a, label_smoothing: 0.2}
  - {name: B, encoder_hub: b, number_of_epochs: 3}
seeds: [1]
"""
    )
    plan = read_plan(path)
    names = ["mean, A", "mean, A smoothed", "mean, B"]
    assert [s.name for s in plan.systems] == [
        *names,
        "baseline, A",
        "baseline, B",
    ]
    assert plan.resolved["baseline, B"]["encoder_hub"] == "b"
    assert plan.resolved["mean, B"]["number_of_epochs"] == 5


def test_an_option_is_for_the_files_that_have_its_key(tmp_path):
    path = tmp_path / "table.yaml"
    path.write_text(
        """
title: one has no cache, one no layers_used
hparams: hparams/corr_wavlm.yaml
systems:
  - {name: frozen}
  - {name: tuned, hparams: hparams/finetune.yaml}
seeds: [1]
"""
    )
    overrides = "--data_folder=d --cache_folder c --layers_used=all".split()
    given = [*overrides, "--device=cpu"]
    plan = read_plan(path, given)
    frozen, tuned = (plan.arguments(plan.runs[i]) for i in (0, 5))
    assert frozen[1:5] == [*overrides[:3], "--device=cpu"]
    assert tuned[1:4] == [overrides[0], overrides[3], "--device=cpu"]
    assert plan.resolved["tuned"]["layers_used"] == "all"
    assert plan.overrides == given
    with pytest.raises(BadInput, match="did you mean --cache_folder"):
        read_plan(path, ["--data_folder=d", "--cache_foldr=c"])


def test_what_reads_the_table_comes_after_what_it_reads(tmp_path, monkeypatch):
    """However many runs there are side by side."""
    path = tmp_path / "table.yaml"
    path.write_text(
        """
title: two stages
hparams: hparams/ecapa.yaml
systems:
  - name: reads
    encoder_hub: <experiment>/first_one/fold_<test_fold>/seed_<seed>/encoder
  - {name: first one, hparams: hparams/finetune.yaml}
late_fusion:
  - {name: fused, of: [reads, first one]}
seeds: [1]
"""
    )
    plan = read_plan(path, ["--data_folder=/nowhere"], None, tmp_path / "out")
    first = plan.runs[5].folder
    assert first == tmp_path / "out/first_one/fold_1/seed_1"
    assert f"--encoder_hub={first}/encoder" in plan.arguments(plan.runs[0])
    rounds = []

    def note(plan, waiting, *_):
        rounds.append({run.system.name for run in waiting})
        return []

    for step in ("_run", "_encode", "_fuse"):
        monkeypatch.setattr(launcher, step, note)
    launcher.launch(plan, jobs=8)
    encoded, *trained = rounds
    assert encoded == {"first one"}
    assert trained == [{"first one"}, {"reads"}, {"fused"}]


def test_neither_kind_of_file(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    for text, words in (
        ("a: 1\n", "neither a hyperparameter file"),
        (f"{EMPTY}hparams: !new:os.system x\n", "line 4: not plain YAML"),
        (f"{EMPTY}hparams: a\nseeds: [2]\n", "'seeds' is there twice"),
        (None, "cannot be read"),
    ):
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text)
        with pytest.raises(SystemExit):
            cross_validate.main([str(path)])
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for path in (ROOT / "recipes").glob("**/*.yaml")
        if is_experiment(path)
    ),
    ids=lambda p: p.stem,
)
def test_every_recipe_can_be_planned(path, encoder_folder):
    plan = read_plan(path, ["--data_folder=/nowhere"])
    assert len(plan.folds) == 5 and plan.runs
    if path.parent.name == "IEMOCAP" and path.stem == "pooling_table":
        names = {s.name for s in plan.systems if s.row != "baseline"}
        assert set(plan.published.figures) == names and len(names) == 15
        figures = plan.published.figures["attentive_corr, WavLM large"]
        assert figures == [{"mean": 75.6, "std": 2.33}]
