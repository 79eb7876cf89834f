"""Lists that are wrong in every way that spreadsheets and people know."""

import os

import pytest
from attacked_corpus import (
    HEADING,
    ROWS,
    change,
    entries,
    prepare,
    write_list,
    write_recordings,
)

from data_prep.checks import check_corpus
from data_prep.corpus import Utterance
from modules.errors import BadInput

HEAD = b"path,label,speaker\n"
REST = "".join(",".join(row) + "\n" for row in ROWS[1:]).encode()


def column(name, cells):
    """Return rows and heading with a further column."""
    rows = [(*row, cell) for row, cell in zip(ROWS, cells)]
    return {"rows": rows, "heading": (*HEADING, name)}


SPLIT = ["train"] * 8 + ["dev"] * 4 + ["test"] * 4

ATTACKS = {
    "an empty file": ({"text": b""}, "my.csv is empty: it needs a line with"),
    "blanks only": ({"text": b"\n \n,,\n"}, "my.csv is empty: it needs"),
    "a heading only": ({"text": HEAD}, "my.csv is empty: it needs"),
    "no heading": (
        {"text": REST},
        "no column path, label, speaker: add it to the heading, which reads "
        "'ann_calm_2.wav, calm, ann'",
    ),
    "a column twice": (
        {
            "heading": ("path", "label", "speaker", "Label"),
            "rows": [r + ("x",) for r in ROWS],
        },
        "has two columns label: rename one",
    ),
    "two columns with one key": (
        {
            "heading": (*HEADING, "duration", "csv_duration"),
            "rows": [(*r, "1", "2") for r in ROWS],
        },
        "has two columns csv_duration: rename one",
    ),
    "binary bytes": (
        {"text": bytes(range(256)) * 4},
        "my.csv is (not a CSV file|empty)|no column path",
    ),
    "an unclosed quote": (
        {"text": HEAD + b'ann_calm_1.wav,"calm,ann\n' + REST},
        "is not a CSV file .unexpected end of data, line .*: close every quote",
    ),
    "an unclosed quote in a remark": (
        {"text": HEAD.replace(b"\n", b",x\n") + b'a.wav,calm,ann,"oh\n' + REST},
        "is not a CSV file .unexpected end of data, line .*: close every quote",
    ),
    "a cell of a megabyte": (
        {"text": HEAD + b"a.wav," + b"x" * 10**6 + b",ann\n"},
        "is not a CSV file .field larger than field limit",
    ),
    "a NUL in a path": (
        {"rows": change(0, "path", "ann\0.wav")},
        "line 2, has the path .*, which has a line break, control character|"
        "is not a CSV file .line contains NUL",
    ),
    "a line break in a label": (
        {"rows": change(0, "label", "ca\nlm")},
        r"line 3, has the label 'ca\\nlm', which has a line break",
    ),
    "an escape sequence in a speaker": (
        {"rows": change(2, "speaker", "\x1b[31mann")},
        r"line 4, has the speaker '\\x1b\[31mann', which has a line break, con",
    ),
    "a cell too many": (
        {"rows": [(*ROWS[0], "x"), *ROWS[1:]]},
        "line 2, has 4 cells for 3 columns: put text with the delimiter ','",
    ),
    "a recording twice": (
        {"rows": [*ROWS, ("./ann_calm_1.wav", "calm", "ann")]},
        "lists ./ann_calm_1.wav twice, in lines 2 and 18: delete one",
    ),
    "a recording that is not there": (
        {"rows": change(0, "path", "nobody.wav")},
        "no such audio file: .*/nobody.wav; put it there or take its utt",
    ),
    "a path that is a folder": (
        {"rows": change(0, "path", ".")},
        "cannot be read: .*; give WAV",
    ),
    "a path that is too long": (
        {"rows": change(0, "path", "a/" * 3000)},
        "no such audio file: ",
    ),
    "a fold of words": (
        column("fold", ["one"] * 16),
        "line 2, has the fold 'one': use a whole number from 1",
    ),
    "a fold of 5000 digits": (
        column("fold", ["9" * 5000] * 16),
        "line 2, has the fold '9+: use a whole number from 1",
    ),
    "a speaker in two folds": (
        column("fold", [1, 2] * 8),
        "line 3, puts the speaker ann into fold 2, who is in fold 1 in line 2",
    ),
    "a split of another name": (
        column("split", ["eval"] * 16),
        "line 2, has the split 'eval': use train, dev or test, or rename",
    ),
    "an empty split": (
        column("split", ["train", "", *SPLIT[2:]]),
        "line 3, has nothing in the column split: fill it in",
    ),
    "a split without test": (
        column("split", ["train"] * 16),
        "The column split has no row with test: mark the rows to test on",
    ),
    "a split without train": (
        column("split", ["test"] * 16),
        "The column split has no row with train: mark the rows to train on",
    ),
    "a speaker in train and test": (
        column("split", ["train", "test"] * 8),
        "A speaker is in two folds, or in the test set and in train or dev .*ann",
    ),
    "a fold and a split": (
        {
            "heading": (*HEADING, "fold", "Split"),
            "rows": [(*row, 1, "train") for row in ROWS],
        },
        "has a column fold and a column split: delete one of them",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_wrong_list_is_refused_in_one_sentence(tmp_path, attack):
    options, sentence = ATTACKS[attack]
    write_recordings(tmp_path)
    write_list(tmp_path, **options)
    with pytest.raises(BadInput, match=sentence) as problem:
        prepare(tmp_path)
    assert "\n" not in str(problem.value) and len(str(problem.value)) < 20_000
    assert not (tmp_path / "manifests").exists()


def test_a_pipe_as_list(tmp_path):
    write_recordings(tmp_path)
    os.mkfifo(tmp_path / "my.csv")
    with pytest.raises(
        BadInput, match="my.csv is not a file: correct the path"
    ):
        prepare(tmp_path)


def test_a_pipe_as_recording(tmp_path):
    write_recordings(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    write_list(tmp_path, change(0, "path", "pipe.wav"))
    with pytest.raises(BadInput, match="cannot be read: .*/pipe.wav"):
        prepare(tmp_path)


def test_utf_16_of_a_spreadsheet(tmp_path):
    write_recordings(tmp_path)
    text = write_list(tmp_path).read_text()
    write_list(tmp_path, text=text.replace(",", "\t").encode("utf-16"))
    assert len(entries(prepare(tmp_path))) == 16


def test_folds_of_a_spreadsheet(tmp_path):
    write_recordings(tmp_path)
    write_list(tmp_path, **column("fold", ["1.0"] * 8 + ["02"] * 8))
    speakers = {e["speaker"] for e in prepare(tmp_path)["test"].values()}
    assert speakers == {"ann", "bob"}


@pytest.mark.parametrize("names", ["train dev test", "Training VALID Testing"])
def test_a_split_is_honoured(tmp_path, names):
    write_recordings(tmp_path)
    cells = dict(zip(("train", "dev", "test"), names.split()))
    write_list(tmp_path, **column("split", [cells[name] for name in SPLIT]))
    manifests = prepare(tmp_path, number_of_folds=1)
    assert {
        name: {e["speaker"] for e in split.values()}
        for name, split in manifests.items()
    } == {"train": {"ann", "bob"}, "dev": {"cid"}, "test": {"dan"}}
    with pytest.raises(BadInput, match="a column split .* set test_fold to 1"):
        prepare(tmp_path, test_fold=2)


def test_a_split_without_dev(tmp_path):
    write_recordings(tmp_path)
    write_list(tmp_path, **column("split", ["train"] * 12 + ["test"] * 4))
    manifests = prepare(tmp_path, dev_split="speaker")
    assert {e["speaker"] for e in manifests["test"].values()} == {"dan"}
    dev = {e["speaker"] for e in manifests["dev"].values()}
    assert len(dev) == 1
    assert not dev & {e["speaker"] for e in manifests["train"].values()}


def test_dev_of_whole_speakers_against_the_column_split(tmp_path):
    write_recordings(tmp_path)
    cells = ["train", "dev"] * 6 + ["test"] * 4
    write_list(tmp_path, **column("split", cells))
    assert len(prepare(tmp_path)["dev"]) == 6
    with pytest.raises(BadInput, match="dev_split is speaker, but the column"):
        prepare(tmp_path, dev_split="speaker")


def test_a_file_name_that_is_not_utf_8(tmp_path):
    write_recordings(tmp_path)
    broken = os.fsdecode(b"\xff.wav")
    os.rename(tmp_path / ROWS[0][0], tmp_path / broken)
    utterances = [
        Utterance(path, path, label, speaker, 1 + (speaker == "dan"))
        for path, label, speaker in change(0, "path", broken)
    ]
    with pytest.raises(BadInput, match=r"not UTF-8 \(.udcff.wav\): rename"):
        check_corpus(utterances, tmp_path)
