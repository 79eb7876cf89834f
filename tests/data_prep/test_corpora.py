"""Corpora are found by name, and a new one is one file."""

import doctest
import pathlib
import sys

import pytest
from synthetic_corpora import write_emodb, write_wav

import data_prep
from data_prep import corpora
from modules.errors import BadInput
from modules.manifest import read_manifest

NEW_CORPUS = '''
"""A corpus of its own."""

from data_prep.corpus import CorpusCard, Utterance, existing_folder

CARD = CorpusCard("Mine", "mine", "fr", "two people, in French")


def read(data_folder, csv_file):
    folder = existing_folder(data_folder, "files such as ann_calm_1.wav")
    folds = {"ann": 1, "bob": 2}
    return [
        Utterance(p.stem, p.name, *p.stem.split("_")[1::-1], folds[p.stem[:3]])
        for p in sorted(folder.glob("*.wav"))
    ]
'''


def test_names():
    assert corpora.names() == [
        "ased",
        "audiofolder",
        "cremad",
        "csv",
        "emodb",
        "iemocap",
        "ravdess",
        "turev",
    ]


@pytest.mark.parametrize("name", corpora.names())
def test_every_corpus_is_complete(name):
    card = corpora.card(name, None)
    assert card.name and card.identifier and card.nature


def test_the_card_of_the_demo(tmp_path):
    assert corpora.card("iemocap", tmp_path).name == "IEMOCAP"
    (tmp_path / "SYNTHETIC.txt").touch()
    assert "no human spoke" in corpora.card("iemocap", tmp_path).nature


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("emo_db", "'emo_db' is unknown: did you mean emodb. choose one of "),
        (
            "IEMOCAP",
            "did you mean iemocap. choose one of ased, audiofolder, cremad, csv, emodb, iemocap",
        ),
        (
            "../x",
            "'../x' is unknown: choose one of ased, audiofolder, cremad, csv, emodb, iemocap",
        ),
        (
            None,
            "None is unknown: choose one of ased, audiofolder, cremad, csv, emodb, iemocap",
        ),
        (
            ["csv"],
            "is unknown: did you mean csv. choose one of ased, audiofolder, cremad, csv, emodb, iemocap",
        ),
    ],
)
def test_an_unknown_corpus(tmp_path, name, sentence):
    with pytest.raises(BadInput, match=sentence):
        corpora.prepare(name, tmp_path, None, tmp_path, 1)
    with pytest.raises(BadInput, match=sentence):
        corpora.card(name, tmp_path)


@pytest.mark.parametrize("name", ["emodb", "iemocap"])
def test_a_list_that_would_not_be_read(tmp_path, name):
    write_emodb(tmp_path)
    with pytest.raises(BadInput, match="csv_file is set to x.csv, but .*: le"):
        corpora.prepare(name, tmp_path, "x.csv", tmp_path, 1)


def test_a_new_corpus_is_one_file(tmp_path, monkeypatch):
    folder = tmp_path / "data_prep"
    folder.mkdir()
    (folder / "mine_prepare.py").write_text(NEW_CORPUS)
    (folder / "._mine_prepare.py").write_bytes(b"\x00 of a Mac")
    monkeypatch.setattr(corpora, "__file__", str(folder / "corpora.py"))
    monkeypatch.setattr(
        data_prep, "__path__", [*data_prep.__path__, str(folder)]
    )
    monkeypatch.delitem(sys.modules, "data_prep.mine_prepare", raising=False)
    names = [f"{s}_{k}_{n}" for s in ("ann", "bob") for k in "xy" for n in "12"]
    for seed, name in enumerate(names):
        write_wav(tmp_path / "wav" / f"{name}.wav", seed=seed)
    assert corpora.names() == ["mine"]
    assert corpora.card("mine", None).language == "fr"
    paths = corpora.prepare(
        "mine", tmp_path / "wav", None, tmp_path / "manifests", test_fold=2
    )
    entries = read_manifest(paths["test"], tmp_path / "wav")
    assert sorted(entries) == [n for n in names if n.startswith("bob")]
    assert {pathlib.Path(e["wav"]).name for e in entries.values()} == {
        f"{n}.wav" for n in entries
    }


@pytest.mark.parametrize(
    "name",
    sorted(
        p.stem for p in pathlib.Path(data_prep.__file__).parent.glob("*.py")
    ),
)
def test_the_examples_run(name):
    module = __import__(f"data_prep.{name}", fromlist=["_"])
    assert doctest.testmod(module).failed == 0
