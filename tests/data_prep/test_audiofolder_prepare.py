"""Folders of HuggingFace's `datasets`, read without it."""

import json
import os
import sys
import tracemalloc
import types

import pandas as pd
import pytest
from synthetic_corpora import write_wav

from data_prep import corpora
from data_prep.audiofolder_prepare import METADATA
from modules.errors import BadInput

ROWS = [
    {"file_name": f"{who}/{n}_{label}.wav", "label": label, "speaker": who}
    for who in ("ann", "bob", "cid")
    for n, label in enumerate(("calm", "joy"))
]


def read(folder, **options):
    return corpora.read("audiofolder", folder, number_of_folds=3, **options)


def write_metadata(folder, rows=ROWS, name="metadata.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    if name.endswith("csv"):
        frame.to_csv(folder / name, index=False)
    elif name.endswith("jsonl"):
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    else:
        frame.to_parquet(folder / name)
    return folder


def write_folder(folder, rows=ROWS, name="metadata.csv"):
    write_metadata(folder, rows, name)
    for seed, row in enumerate(rows):
        if not (folder / row["file_name"]).exists():
            write_wav(folder / row["file_name"], seed=seed)
    return folder


@pytest.mark.parametrize("name", METADATA)
def test_every_format_gives_the_same(tmp_path, name):
    rows = [row | {"age": n, "text": "ä, b"} for n, row in enumerate(ROWS)]
    utterances = read(write_folder(tmp_path, rows, name))
    assert [u.id for u in utterances] == [
        *("ann_0_calm", "ann_1_joy", "bob_0_calm", "bob_1_joy"),
        *("cid_0_calm", "cid_1_joy"),
    ]
    assert [u.label for u in utterances] == ["calm", "joy"] * 3
    assert [u.fold for u in utterances] == [1, 1, 2, 2, 3, 3]
    assert utterances[1].wav == "ann/1_joy.wav"
    assert utterances[1].extra == {"age": "1", "text": "ä, b"}


@pytest.mark.parametrize("name", METADATA)
def test_the_package_datasets_reads_the_same_rows(tmp_path, name, monkeypatch):
    datasets = pytest.importorskip("datasets")
    # It imports a codec before it looks at rows, and none is needed for these.
    codec = types.ModuleType("torchcodec")
    codec.AudioDecoder = codec.AudioEncoder = type("Codec", (), {})
    for own in ("torchcodec", "torchcodec.decoders", "torchcodec.encoders"):
        monkeypatch.setitem(sys.modules, own, codec)
    folder = tmp_path / "data"
    for split in ("train", "test"):
        rows = [
            row | {"speaker": f"{split} {row['speaker']}", "text": "ä, b"}
            for row in ROWS
        ]
        write_folder(folder / split, rows, name)
    theirs = datasets.load_dataset(
        "audiofolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache")
    )
    found = set()
    for split, rows in theirs.items():
        rows = rows.cast_column("audio", datasets.Audio(decode=False))
        for row in rows:
            facts = (row["label"], row["speaker"], row["text"])
            found.add((split, row["audio"]["path"], *facts))
    assert found == {
        (u.split, str(folder / u.wav), u.label, u.speaker, u.extra["text"])
        for u in read(folder)
    }


def test_a_column_that_is_an_index_of_pandas_is_read(tmp_path):
    write_folder(tmp_path)
    frame = pd.DataFrame(ROWS).set_index("file_name")
    (tmp_path / "metadata.csv").rename(tmp_path / "old.csv")
    frame.to_parquet(tmp_path / "metadata.parquet")
    assert len(read(tmp_path)) == len(ROWS)


def test_columns_that_are_no_texts_are_left_out_of_parquet(tmp_path):
    rows = [row | {"audio": {"bytes": b"x" * 9}, "n": [1]} for row in ROWS]
    utterances = read(write_folder(tmp_path, rows, "metadata.parquet"))
    assert utterances[0].extra == {}


@pytest.mark.parametrize("count, text", [(10**7, "a"), (2000, "a" * 10**6)])
def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path, count, text):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    codes = pyarrow.array([0] * count, "int8")
    same = pyarrow.DictionaryArray.from_arrays(codes, pyarrow.array([text]))
    table = pyarrow.table({"file_name": same, "speaker": same})
    file = tmp_path / "metadata.parquet"
    parquet.write_table(table, file, compression="zstd")
    assert file.stat().st_size < 2**20
    with pytest.raises(BadInput, match="it has .*(rows|characters)"):
        read(tmp_path)


def test_rows_with_names_of_their_own_take_no_more_than_they_have(tmp_path):
    rows = [
        row | {"file_name": f"{i}.wav", f"own{i}": i}
        for i, row in enumerate(ROWS * 2000)
    ]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "metadata.jsonl").write_text(text)
    tracemalloc.start()
    utterances = read(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 3e8
    tracemalloc.stop()
    assert utterances[0].extra == {"own0": "0"}


def test_a_row_with_more_cells_than_columns_is_refused(tmp_path):
    write_folder(tmp_path)
    with open(tmp_path / "metadata.csv", "a") as file:
        file.write("ann/a,b.wav,calm,ann\n")
    with pytest.raises(BadInput, match="has 4 cells for 3 columns"):
        read(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    for name in METADATA:
        os.mkfifo(tmp_path / name)
        with pytest.raises(BadInput, match="is not a file"):
            read(tmp_path)
        (tmp_path / name).unlink()


def test_folders_of_splits_that_are_not_used_are_named(tmp_path, caplog):
    rows = [
        row | {"file_name": f"{folder}/{row['file_name']}"}
        for row, folder in zip(ROWS, ["train"] * 2 + ["test"] * 2 + ["x"] * 2)
    ]
    utterances = read(write_folder(tmp_path, rows))
    assert {u.split for u in utterances} == {None}
    assert "named as splits (test, train)" in caplog.text


def test_other_names_of_columns(tmp_path):
    rows = [
        {
            "file_name": r["file_name"],
            "emotion": r["label"],
            "label": 7,
            "who": n,
        }
        for n, r in enumerate(ROWS)
    ]
    write_folder(tmp_path, rows, "metadata.jsonl")
    utterances = read(tmp_path, columns="label=emotion, speaker=who")
    assert [u.label for u in utterances] == ["calm", "joy"] * 3
    assert sorted(u.speaker for u in utterances) == list("012345")
    assert utterances[0].extra == {"csv_label": "7"}


def test_folders_named_by_class(tmp_path):
    rows = [
        {"file_name": f"{label}/{who}.wav", "speaker": who}
        for who in ("ann", "bob", "cid")
        for label in ("calm", "joy")
    ]
    utterances = read(write_folder(tmp_path, rows))
    assert {(u.wav, u.label) for u in utterances} == {
        (row["file_name"], row["file_name"].partition("/")[0]) for row in rows
    }


def test_split_folders_are_the_split(tmp_path):
    for split, who in (
        ("train", "ann"),
        ("validation", "bob"),
        ("test", "cid"),
    ):
        rows = [row for row in ROWS if row["speaker"] == who]
        write_folder(tmp_path / split, rows, "metadata.jsonl")
    utterances = read(tmp_path)
    assert {(u.speaker, u.split, u.fold) for u in utterances} == {
        ("ann", "train", 0),
        ("bob", "dev", 0),
        ("cid", "test", 1),
    }
    # A column decides more than a folder.
    for split, who in (
        ("train", "ann"),
        ("validation", "bob"),
        ("test", "cid"),
    ):
        rows = [
            r | {"fold": ord(who[0]) - 96} for r in ROWS if r["speaker"] == who
        ]
        write_metadata(tmp_path / split, rows, "metadata.jsonl")
    assert {(u.speaker, u.split, u.fold) for u in read(tmp_path)} == {
        ("ann", None, 1),
        ("bob", None, 2),
        ("cid", None, 3),
    }


def test_one_split_folder_is_no_split(tmp_path):
    write_folder(tmp_path / "train")
    assert {u.fold for u in read(tmp_path)} == {1, 2, 3}
    assert {u.split for u in read(tmp_path)} == {None}


def test_manifests_and_what_no_metadata_lists(tmp_path, caplog):
    folder = write_folder(tmp_path / "data")
    write_wav(folder / "ann" / "extra.wav", seed=99)
    paths = corpora.prepare(
        "audiofolder", folder, None, tmp_path / "m", 2, number_of_folds=3
    )
    entries = json.loads(paths["test"].read_text())
    assert sorted(e["wav"] for e in entries.values()) == [
        "{data_root}/bob/0_calm.wav",
        "{data_root}/bob/1_joy.wav",
    ]
    assert "1 recordings" in caplog.text and "ann/extra.wav" in caplog.text


def with_path(path):
    return [ROWS[0] | {"file_name": path}, *ROWS[1:]]


@pytest.mark.parametrize("name", METADATA)
@pytest.mark.parametrize(
    "rows, sentence",
    [
        (
            with_path("../x.wav"),
            "line ., has the file_name '../x.wav', which is ",
        ),
        (with_path("a/../../x.wav"), "not below the folder: give a path"),
        (with_path("/etc/x.wav"), "not below the folder: give a path"),
        (with_path("..\\x.wav"), "not below the folder: give a path"),
        (with_path("./bob/0_calm.wav"), "lists .* twice, in lines . of meta"),
        (with_path(""), "line . of metadata.*, has nothing in the column path"),
        (
            [ROWS[0] | {"speaker": None}, *ROWS[1:]],
            "line . of metadata.*, has nothing in the column speaker: fill",
        ),
        (
            [{"file_name": "a.wav", "label": "joy"}],
            "has no column speaker: add it to the heading, which reads 'fi",
        ),
        ([{"path": "a.wav"}], "has no column file_name, in the place of path"),
        (
            [{"file_name": "a.wav", "speaker": "ann"}],
            "no column label, and a.wav is not in a folder named by its class",
        ),
        (
            [row | {"fold": "x"} for row in ROWS],
            "line . of metadata.*, has the fold 'x': use a whole number",
        ),
    ],
)
def test_hostile_metadata(tmp_path, name, rows, sentence):
    write_metadata(tmp_path, rows, name)
    with pytest.raises(BadInput, match=sentence):
        read(tmp_path)


def test_a_recording_that_is_not_there(tmp_path):
    write_folder(tmp_path / "data")
    (tmp_path / "data/bob/0_calm.wav").unlink()
    with pytest.raises(BadInput, match="no such audio file: .*bob/0_calm.wav"):
        corpora.prepare(
            "audiofolder",
            tmp_path / "data",
            None,
            tmp_path / "m",
            1,
            number_of_folds=3,
        )


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("metadata.jsonl", b"", "is empty: it needs a row"),
        ("metadata.jsonl", b"[1, 2]\n", "cannot be read"),
        ("metadata.jsonl", b"{" * 100_000, "cannot be read"),
        ("metadata.jsonl", b"[" * 100_000, "cannot be read"),
        ("metadata.jsonl", b'{"file_name": {"a": 1}, "speaker": 1}', "nothing"),
        ("metadata.csv", b"", "is empty"),
        ("metadata.parquet", b"PAR1 no", "cannot be read"),
        ("notes.txt", b"x", "has no metadata.csv, metadata.jsonl"),
    ],
)
def test_no_metadata(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=sentence):
        read(tmp_path)


def test_a_list_or_a_column_that_it_does_not_have(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(
        BadInput, match="csv_file is set to x.csv, but an audio"
    ):
        read(tmp_path, csv_file="x.csv")
    with pytest.raises(BadInput, match="columns names 'wav', which"):
        read(tmp_path, columns="wav=file_name")
    with pytest.raises(BadInput, match="'label' is not NAME=COLUMN"):
        read(tmp_path, columns="label")
    with pytest.raises(
        BadInput, match="has no column x, in the place of label"
    ):
        read(tmp_path, columns="label=x")
