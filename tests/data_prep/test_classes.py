"""Any class set of any corpus, and one part of a corpus."""

import collections
import json

import pytest
from synthetic_corpora import write_emodb, write_iemocap, write_wav

from data_prep import corpora
from modules.errors import BadInput
from modules.labels import parse_classes


@pytest.fixture(scope="module")
def iemocap(tmp_path_factory):
    return write_iemocap(tmp_path_factory.mktemp("IEMOCAP_full_release"))


def counts(utterances):
    return dict(collections.Counter(u.label for u in utterances))


def test_another_class_set_of_iemocap(iemocap):
    utterances = corpora.read(
        "iemocap", iemocap, classes="ang,hap+exc,neu,sad,fru"
    )
    assert counts(utterances) == {
        **dict.fromkeys(("ang", "neu", "sad", "fru"), 10),
        "hap": 20,
    }
    own = {(u.label, u.extra["corpus_label"]) for u in utterances}
    assert {("hap", "hap"), ("hap", "exc"), ("fru", "fru")} <= own
    # Frustration was the speaker's own word, neutral that of the outsider.
    assert {u.extra["agreement"] for u in utterances if u.label == "neu"} == {1}


def test_the_default_is_the_protocols_class_set(iemocap):
    same = corpora.read("iemocap", iemocap, classes="neu, HAP + exc, ang,sad")
    assert counts(same) == {"neu": 10, "hap": 20, "ang": 10, "sad": 10}
    assert same == corpora.read("iemocap", iemocap)


def test_names_that_differ_in_capitals_are_one_class(iemocap):
    utterances = corpora.read(
        "iemocap", iemocap, classes="neu=Low, sad=low, ang=HIGH"
    )
    assert counts(utterances) == {"Low": 20, "HIGH": 10}


def test_a_sentence_stays_short_however_long_the_class_set_is(iemocap):
    many = ",".join(f"label{i}" for i in range(10_000))
    for classes in (many, "x" * 10**5, "ang+" * 10**4 + "ang,sad"):
        with pytest.raises(BadInput) as refused:
            corpora.read("iemocap", iemocap, classes=classes)
        assert len(str(refused.value)) < 500


def test_a_copy_that_lacks_a_label_of_the_default_is_read(tmp_path):
    write_iemocap(tmp_path)
    for path in tmp_path.rglob("*.txt"):
        path.write_text(path.read_text().replace("\texc\t", "\toth\t"))
    utterances = corpora.read("iemocap", tmp_path)
    assert counts(utterances) == {"neu": 10, "hap": 10, "ang": 10, "sad": 10}


@pytest.mark.parametrize(
    "part, kind", [("improvised", "impro"), ("scripted", "script")]
)
def test_a_part_of_iemocap(iemocap, part, kind):
    utterances = corpora.read("iemocap", iemocap, part=part)
    assert len(utterances) == 25
    assert all(f"_{kind}" in u.id for u in utterances)
    assert {u.fold for u in utterances} == {1, 2, 3, 4, 5}


def test_classes_with_names_of_ones_own(iemocap, tmp_path):
    paths = corpora.prepare(
        "iemocap",
        iemocap,
        None,
        tmp_path,
        test_fold=1,
        classes="hap+exc=positive,ang+sad+fru=negative",
    )
    entries = json.loads(paths["test"].read_text())
    found = collections.Counter(e["label"] for e in entries.values())
    assert found == {"positive": 4, "negative": 6}


def test_every_corpus_has_it(tmp_path):
    write_emodb(tmp_path)
    utterances = corpora.read("emodb", tmp_path, classes="anger+disgust,fear")
    assert counts(utterances) == {"anger": 20, "fear": 10}
    assert utterances[0].extra["corpus_label"] == "fear"


def test_folds_are_dealt_by_the_classes_that_are_used(tmp_path):
    """The only two speakers who are glad are in two folds."""
    rows = ["path,label,speaker"]
    glad = ("ann", "bob")
    for seed, who in enumerate(("ann", "bob", "cid", "dan", "eve", "fay")):
        for n in range(6):
            label = "glad" if who in glad and n < 2 else "calm"
            label = "busy" if n > 3 and who not in glad else label
            write_wav(tmp_path / f"{who}{n}.wav", seed=10 * seed + n)
            rows.append(f"{who}{n}.wav,{label},{who}")
    path = tmp_path / "my.csv"
    path.write_text("\n".join(rows))
    utterances = corpora.read("csv", None, path, 2, classes="glad,busy")
    folds = {u.speaker: u.fold for u in utterances}
    assert folds["ann"] != folds["bob"] and len(folds) == 6


def test_a_test_fold_that_lacks_a_class_is_named(tmp_path, caplog):
    write_emodb(tmp_path)
    for path in (tmp_path / "wav").glob("*F*.wav"):
        if path.name[:2] in ("03", "12"):
            path.unlink()
    arguments = ["emodb", tmp_path, None, tmp_path / "m", 2]
    corpora.prepare(*arguments, classes="anger,happiness")
    assert "fold 1 without happiness" in caplog.text
    caplog.clear()
    corpora.prepare(*arguments, classes="anger,fear")
    assert "without" not in caplog.text


LABELS = "ang 10, exc 10, fru 10, hap 10, neu 10, sad 10, sur 10, xxx 10"


@pytest.mark.parametrize(
    "classes, reason",
    [
        ("ang,,neu", "the class '' lacks a name"),
        ("ang,hap+", "the class 'hap\\+' lacks a name"),
        ("ang,hap=", "the class 'hap=' lacks a name"),
        (",", "the class '' lacks a name"),
        ("ang,angr", "no utterance has the label 'angr': did you mean ang\\?"),
        ("ang,joy", "no utterance has the label 'joy'"),
        ("ang,fea", "no utterance has the label 'fea'"),
        ("ang,hap+ang", "the label 'ang' is named twice"),
        ("ang,Ang,neu", "the label 'Ang' is named twice"),
        ("ang", "this is one class"),
        ("ang+hap+neu", "this is one class"),
        ("ang=x,hap=x", "this is one class"),
    ],
)
def test_a_wrong_class_set_counts_the_labels(iemocap, classes, reason):
    with pytest.raises(BadInput, match=f"{reason}.* choose from {LABELS}"):
        corpora.read("iemocap", iemocap, classes=classes)


def test_a_wrong_part(iemocap, tmp_path):
    with pytest.raises(BadInput, match="choose one of improvised, scripted"):
        corpora.read("iemocap", iemocap, part="improvisd")
    write_emodb(tmp_path)
    with pytest.raises(BadInput, match="emodb does not have: leave it out"):
        corpora.read("emodb", tmp_path, part="scripted")
    root = tmp_path / "scripted"
    write_iemocap(root)
    for path in root.rglob("*impro*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(
        BadInput, match="No utterance of iemocap is in the part"
    ):
        corpora.read("iemocap", root, part="improvised")


def test_the_card_names_classes_and_part():
    nature = corpora.card("iemocap", None, "ang, hap+exc", "scripted").nature
    assert nature.endswith("the part scripted; classes ang, hap+exc")
    plain = corpora.card("iemocap", None)
    assert "class" not in plain.nature and "part" not in plain.nature


def test_both_directions_of_writing_it_are_one():
    expected = {"ang": "ang", "hap": "hap", "exc": "hap"}
    assert parse_classes("ang,hap+exc") == expected
    assert parse_classes("ang, hap, exc=hap") == expected
