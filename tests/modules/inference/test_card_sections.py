"""Sections of a model's card: the corpus, the distance, other corpora."""

import json
import types

import pytest

import export
from modules.errors import BadInput
from modules.inference.card_sections import (
    cross_corpus_table,
    describe_distance,
    name_corpus,
)

ROWS = [
    {"corpus": "B", "recordings": 20, "adapted": False, "WA": 0.25, "UA": None},
    {"corpus": "a|b", "recordings": 20, "adapted": True, "WA": 0.5, "UA": 0.4},
]


def run_of(folder=".", **results):
    return types.SimpleNamespace(folder=folder, results=results)


def test_a_list_has_the_name_of_its_file_or_the_users():
    recorded = {"name": "x", "nature": "y"}
    assert name_corpus(recorded, None)["name"] == "x"
    assert name_corpus(recorded, "C:\\data\\a.csv")["name"].endswith(", a.csv")
    named = name_corpus(recorded, "a.csv", "RAVDESS", "CC BY-NC-SA 4.0")
    assert named["name"] == "RAVDESS" and "BY-NC" in named["licence"]
    assert recorded == {"name": "x", "nature": "y"}


def test_shares_beyond_are_means_over_folds():
    shares = [{"dev": 0.02, "test": 0.1}, {"dev": 0.04, "test": 0.3}]
    text = describe_distance([run_of(share_beyond_training=s) for s in shares])
    assert "3% of dev, 4% in the worst fold" in text
    assert "20% of test, 30% in the worst fold" in text
    assert "gives no warning" in describe_distance([run_of(WA=1.0)])


def test_the_table_is_found_above_a_run_or_given(tmp_path):
    runs = [run_of(tmp_path / "fold_1/seed_1")]
    runs[0].folder.mkdir(parents=True)
    assert cross_corpus_table(runs) is None
    (tmp_path / "cross_corpus.json").write_text(json.dumps(ROWS))
    table = cross_corpus_table(runs)
    assert table.split("\n")[0] == "| corpus | recordings | adapted | WA | UA |"
    assert "| B | 20 | no | 25.0% |  |" in table
    assert "| a\\|b | 20 | yes | 50.0% | 40.0% |" in table
    (tmp_path / "other.json").write_text(json.dumps(ROWS[:1]))
    assert cross_corpus_table(runs, tmp_path / "other.json").count("\n") == 2


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "[1]", "[{}]", '[{"a": 1}, {"b": 1}]', '[{"a": [1]}]'],
)
def test_a_file_that_is_no_table(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(BadInput, match="not a list of rows"):
        cross_corpus_table([], path)


def test_the_card_of_a_list(linear_runs, linear_model, tmp_path):
    card = " ".join((linear_model / "README.md").read_text().split())
    assert "a list of recordings, corpus.csv" in card
    assert "private" not in card
    assert "Beyond 1 lie" in card and "in the worst fold" in card
    assert "on other corpora was not measured" in card
    path = tmp_path / "x.json"
    path.write_text(json.dumps(ROWS))
    export.main(
        [
            str(linear_runs[0]),
            str(tmp_path / "x"),
            "--include_encoder",
            "--corpus_name=Tones",
            "--corpus_licence=CC0",
            f"--cross_corpus={path}",
        ]
    )
    card = (tmp_path / "x/README.md").read_text()
    assert "licence: CC0" in card and "trained it on Tones" in card
    assert "| B | 20 | no | 25.0% |  |" in card
