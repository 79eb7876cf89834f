"""Experiment files: what they may contain, and which runs they mean."""

import pytest
from conftest import ROOT

import cross_validate
from modules.errors import BadInput
from modules.experiments.experiment_file import is_experiment
from modules.experiments.read_plan import read_plan

EMPTY = "systems: [{name: a}]\nseeds: [1]\ntitle: t\n"


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
        if "data" not in path.parts and is_experiment(path)
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
