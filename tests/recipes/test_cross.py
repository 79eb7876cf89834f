"""Leave one corpus out: maps of labels, resuming, adaptation."""

import csv
import json
import pathlib

import pytest
import torch
from heads import describe_head

from modules.errors import BadInput
from modules.models.distance import TrainingDistance
from modules.models.layer_pooling import LayerStack
from modules.models.standardization import Standardization
from recipes.CROSS import study
from recipes.CROSS.shared_classes import read_corpus, read_label_map

MAP = """\
all: {happiness: [glad], neutral: [calm], anger: [mad]}
two: {neutral: [Mad]}
"""


@pytest.fixture
def lists(tone_corpus, tmp_path):
    """Return the arguments of two corpora: speakers 0 to 2, 3 and 4."""
    rows = list(csv.DictReader(open(tone_corpus)))
    here = pathlib.Path(tone_corpus).parent
    arguments = []
    for name, speakers in (("ONE", "012"), ("TWO", "34")):
        path = tmp_path / f"{name}.csv"
        with open(path, "w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            for row in rows:
                if row["speaker"][-1] in speakers:
                    writer.writerow(row | {"path": here / row["path"]})
        arguments.append(f"{name}={path}")
    return arguments


@pytest.fixture
def label_map(tmp_path):
    path = tmp_path / "labels.yaml"
    path.write_text(MAP)
    return path


def test_labels_of_a_corpus_add_to_those_of_all(lists, label_map):
    found = read_label_map(label_map)
    one, two = (read_corpus(argument, found) for argument in lists)
    labels = {e["label"] for e in one.entries.values()}
    assert labels == {"happiness", "neutral", "anger"}
    assert {e["label"] for e in two.entries.values()} == {
        "happiness",
        "neutral",
    }
    assert {e["speaker"] for e in two.entries.values()} == {
        "TWO/speaker3",
        "TWO/speaker4",
    }
    assert {e["corpus"] for e in one.entries.values()} == {"ONE"}


def test_what_has_no_shared_class_is_counted(lists, tmp_path):
    path = tmp_path / "few.yaml"
    path.write_text("all: {happiness: [glad], neutral: [calm]}")
    one = read_corpus(lists[0], read_label_map(path))
    assert one.left_out == {"mad": 12} and len(one.entries) == 24


def test_a_draw_is_the_same_each_time(lists, label_map):
    drawn = [
        read_corpus(lists[0], read_label_map(label_map), 10).entries
        for _ in range(2)
    ]
    assert len(drawn[0]) == 10 and drawn[0] == drawn[1]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("all: {a: [x], b: [x]}", "x is a and b: keep one"),
        ("all: [x]", "is no map of labels"),
        ("a: {b: 3}", "is no map of labels"),
        ("{", "is no map of labels"),
    ],
)
def test_a_wrong_map_is_refused(tmp_path, text, sentence):
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=sentence):
        read_label_map(path)


def test_the_study_writes_tables_and_continues(
    lists, label_map, encoder_folder, tmp_path, capsys, monkeypatch
):
    target = tmp_path / "out"
    command = [
        *lists,
        f"--labels={label_map}",
        f"--output_folder={target}",
        f"--encoder_hub={encoder_folder()}",
        f"--cache_folder={tmp_path / 'cache'}",
        "--device=cpu",
        "--noprogressbar",
    ]
    assert study.main(command) == 0
    results = json.loads((target / "results.json").read_text())
    rows = results["rows"]
    # Two systems, two corpora, as it is and adapted.
    assert len(rows) == 8
    assert results["corpora"]["ONE"]["classes"]["anger"] == 12
    # The classes of TWO alone are tested there, and were learned.
    tested = [row for row in rows if row["trained"] == "TWO"]
    assert {row["utterances"] for row in tested} == {24}
    assert len((target / "results.csv").read_text().splitlines()) == 9
    assert "| recommended | ONE | TWO | 24 |" in capsys.readouterr().out

    def fail(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(study.System, "train", fail)
    assert study.main(command) == 0
    assert json.loads((target / "results.json").read_text()) == results
    with pytest.raises(AssertionError, match="trained again"):
        study.main([*command, "--most=20"])


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["ONE"], "ONE is no corpus: write it as NAME=FOLDER"),
        (["ONE=x.csv", "--labels=no.yaml"], "no.yaml is no map of labels"),
        (["EMO=folder"], "corpus 'emo' is unknown: did you mean emodb"),
    ],
)
def test_a_wrong_command_is_one_sentence(arguments, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit):
        study.main([*arguments, f"--output_folder={tmp_path}"])
    assert sentence in capsys.readouterr().err


def test_one_corpus_cannot_be_left_out(lists, label_map, tmp_path, capsys):
    with pytest.raises(SystemExit):
        study.main(
            [lists[0], f"--labels={label_map}", f"--output_folder={tmp_path}"]
        )
    assert "one corpus cannot be left out" in capsys.readouterr().err


def test_adaptation_undoes_a_shift_and_leaves_the_head():
    head = describe_head(
        pooling="mean",
        projection_size=None,
        layer_pooling=LayerStack,
        standardization=Standardization,
    )(num_hidden_states=3, hidden_size=8, num_classes=2)
    head.distance = TrainingDistance(head.embedding.sizes)
    embeddings = torch.randn(4000, sum(head.embedding.sizes.values()))
    head.standardization.fit(embeddings)
    shifted = 3 * embeddings + 7
    before = head.standardization.mean.clone()
    adapted = study.adapt(head, shifted, [0, 1])
    assert torch.equal(head.standardization.mean, before)
    torch.testing.assert_close(
        adapted.standardization(shifted),
        head.standardization(embeddings),
        atol=0.01,
        rtol=0.01,
    )
    scores = head.classify(embeddings), adapted.classify(shifted)
    odds = [score[:, 0] - score[:, 1] for score in scores]
    expected = odds[0] / adapted.temperature
    torch.testing.assert_close(odds[1], expected, atol=0.01, rtol=0.01)
    # Five recordings have half of the say.
    adapted = study.adapt(head, shifted[:5], [0, 1])
    expected = (before + shifted[:5].mean(dim=0)) / 2
    torch.testing.assert_close(adapted.standardization.mean, expected)
