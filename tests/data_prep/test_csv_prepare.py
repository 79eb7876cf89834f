"""One's own corpus: folds of whole speakers, and every slip in a list."""

import json
import random

import pytest
from synthetic_corpora import write_wav

from data_prep import corpora
from data_prep.corpora import prepare
from modules.errors import BadInput


def read(data_folder, csv_file, number_of_folds=5, **options):
    """Read a list as every run does."""
    return corpora.read(
        "csv", data_folder, csv_file, number_of_folds, **options
    )


ROWS = [
    ("a/1.wav", "calm", "ann"),
    ("a/2.wav", "cross", "ann"),
    ("b/1.wav", "calm", "bob"),
    ("b/2.wav", "glad", "bob"),
    ("c/1.wav", "calm", "cid"),
]


def write_list(folder, rows=ROWS, heading="path,label,speaker", **options):
    delimiter = options.get("delimiter", ",")
    lines = [heading.replace(",", delimiter)]
    lines += [delimiter.join(row) for row in rows]
    path = folder / "my.csv"
    path.write_bytes(
        "\n".join(lines).encode(options.get("encoding", "utf-8")) + b"\n"
    )
    return path


def test_read(tmp_path):
    utterances = read(tmp_path, write_list(tmp_path), 3)
    assert [u.id for u in utterances] == ["a_1", "a_2", "b_1", "b_2", "c_1"]
    assert [u.wav for u in utterances] == [row[0] for row in ROWS]
    assert [u.label for u in utterances] == [row[1] for row in ROWS]
    assert [u.fold for u in utterances] == [1, 1, 2, 2, 3]
    assert utterances[0].extra == {}


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ";"},
        {"delimiter": "\t"},
        {"encoding": "utf-8-sig"},
        {"encoding": "latin-1"},
        {"heading": "Path, Label ,SPEAKER"},
        {"rows": [*ROWS[::-1], ("", "", "")]},
        {"rows": [(row[0].replace("/", "\\"), *row[1:]) for row in ROWS]},
    ],
)
def test_other_ways_to_write_it(tmp_path, options):
    expected = read(tmp_path, write_list(tmp_path), 3)
    assert read(tmp_path, write_list(tmp_path, **options), 3) == expected


def test_given_folds_and_other_columns(tmp_path):
    rows = [
        (*row, str(ord(row[2][0]) - 96), "3", "{x}, y".join('""'))
        for row in ROWS
    ]
    path = write_list(tmp_path, rows, "path,label,speaker,fold,duration,remark")
    utterances = read(tmp_path, path, 5)
    assert [u.fold for u in utterances] == [1, 1, 2, 2, 3]
    # "duration" has a meaning of its own in a manifest.
    assert utterances[0].extra == {"csv_duration": "3", "remark": "{x}, y"}


def test_ids_are_unique(tmp_path):
    rows = [
        ("a/b.wav", "x", "1"),
        ("a_b.wav", "x", "2"),
        ("a/b.flac", "x", "3"),
        (f"{tmp_path}/c/d.wav", "x", "4"),
    ]
    for order in (rows, rows[::-1]):
        utterances = read(tmp_path, write_list(tmp_path, order), 2)
        assert {u.id: u.wav for u in utterances} == {
            "a_b": "a/b.flac",
            "a_b_2": "a/b.wav",
            "a_b_3": "a_b.wav",
            "c_d": f"{tmp_path}/c/d.wav",
        }


@pytest.mark.parametrize("given_folder", [True, False, None])
def test_prepare(tmp_path, given_folder):
    for seed, row in enumerate(ROWS):
        write_wav(tmp_path / row[0], seed=seed)
    outside = write_wav(tmp_path.parent / f"{tmp_path.name}_x.wav", seed=9)
    rows = [*ROWS, (str(outside), "calm", "cid")]
    random.Random(1).shuffle(rows)
    data_folder = {True: tmp_path, False: "", None: None}[given_folder]
    paths = prepare(
        "csv",
        data_folder,
        write_list(tmp_path, rows),
        tmp_path / "manifests",
        test_fold=3,
        number_of_folds=3,
    )
    data = {n: json.loads(p.read_text()) for n, p in paths.items()}
    assert {n: len(d) for n, d in data.items()} == {
        "train": 3,
        "dev": 1,
        "test": 2,
    }
    root = "{data_root}" if given_folder else str(tmp_path)
    wavs = sorted(e["wav"] for d in data.values() for e in d.values())
    assert wavs == sorted([f"{root}/{row[0]}" for row in ROWS] + [str(outside)])


def change(number, *row):
    return [*ROWS[:number], row, *ROWS[number + 1 :]]


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"rows": []}, "my.csv is empty: it needs"),
        ({"rows": [], "heading": ""}, "my.csv is empty: it needs"),
        ({"heading": "file,label,who"}, "no column path, speaker: add it"),
        ({"heading": "path,label,label"}, "no column speaker"),
        (
            {"heading": "path,label,speaker,label"},
            "two columns label: rename one",
        ),
        ({"rows": change(1, "a/2.wav", "", "ann")}, "line 3, .* column label"),
        ({"rows": change(2, "", "calm", "bob")}, "line 4, .* column path"),
        ({"rows": change(2, "b/1.wav", "calm")}, "line 4, .* column speaker"),
        (
            {"rows": change(2, "b/1.wav", "calm", "bob", "!")},
            "line 4, has 4 cells for 3 columns: put .* into quotes",
        ),
        (
            {"rows": change(4, "./a/1.wav", "calm", "cid")},
            "lists ./a/1.wav twice, in lines 2 and 6: delete one",
        ),
        (
            {"rows": ROWS[:4]},
            "2 speakers cannot .* 3 folds: set number_of_folds to 2, or",
        ),
    ],
)
def test_slips(tmp_path, options, sentence):
    with pytest.raises(BadInput, match=sentence):
        read(tmp_path, write_list(tmp_path, **options), 3)


@pytest.mark.parametrize(
    "folds, sentence",
    [
        ("1 2 3 3 4", "line 3, puts the speaker ann into fold 2, .* fold 1"),
        ("1 1 2 2 x", "line 6, has the fold 'x': use a whole number"),
        ("0 0 2 2 3", "line 2, has the fold '0': use a whole number"),
    ],
)
def test_wrong_folds(tmp_path, folds, sentence):
    rows = [(*row, fold) for row, fold in zip(ROWS, folds.split())]
    path = write_list(tmp_path, rows, "path,label,speaker,fold")
    with pytest.raises(BadInput, match=sentence):
        read(tmp_path, path, 3)


def test_an_empty_fold_cell(tmp_path):
    rows = [(*row, "") for row in ROWS]
    path = write_list(tmp_path, rows, "path,label,speaker,fold")
    with pytest.raises(BadInput, match="line 2, .* column fold: fill it in"):
        read(tmp_path, path, 3)


def test_wrong_places(tmp_path):
    with pytest.raises(BadInput, match="no.csv cannot be read"):
        read(None, tmp_path / "no.csv", 3)
    with pytest.raises(BadInput, match="csv_file is not set"):
        read(tmp_path, "", 3)
    with pytest.raises(BadInput, match="nowhere does not exist"):
        read(tmp_path / "nowhere", write_list(tmp_path), 3)
    with pytest.raises(BadInput, match="number_of_folds is 1"):
        read(tmp_path, write_list(tmp_path), 1)
    with pytest.raises(BadInput, match=f"no such audio file: {tmp_path}/a/1.w"):
        prepare(
            "csv",
            None,
            write_list(tmp_path),
            tmp_path,
            1,
            number_of_folds=3,
        )


def test_several_corpora(tmp_path):
    """Speakers of two corpora differ, and each corpus is spread over folds."""
    rows = [
        (f"{corpus}{speaker}{label}.wav", label, speaker, corpus)
        for corpus in ("x", "y")
        for speaker in ("03", "04", "05", "06")
        for label in ("calm", "glad")
    ]
    rows[-1] = (*rows[-1][:3], "y ")
    heading = "path,label,speaker,Corpus"
    utterances = read(tmp_path, write_list(tmp_path, rows, heading), 2)
    assert {u.speaker for u in utterances} == {
        f"{corpus}/0{i}" for corpus in "xy" for i in range(3, 7)
    }
    assert {u.extra["corpus"] for u in utterances} == {"x", "y"}
    places = {(u.fold, u.extra["corpus"], u.label) for u in utterances}
    assert len(places) == 8
    one = [(*row[:3], "x") for row in rows]
    utterances = read(tmp_path, write_list(tmp_path, one, heading), 2)
    assert {u.speaker for u in utterances} == {"03", "04", "05", "06"}


def test_an_empty_corpus_cell(tmp_path):
    rows = [(*row, "x") for row in ROWS[:-1]] + [(*ROWS[-1], "")]
    path = write_list(tmp_path, rows, "path,label,speaker,corpus")
    with pytest.raises(BadInput, match="line 6, has nothing in the column cor"):
        read(tmp_path, path)
