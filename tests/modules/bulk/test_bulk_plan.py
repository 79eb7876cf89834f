"""Lists become parts: nothing lost, nothing twice, of like duration."""

import json
import os
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies

from modules.bulk import plan as plans
from modules.bulk.lists import read_rows
from modules.bulk.plan import open_plan
from modules.errors import BadInput


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def make(folder, source, model="m", hours=10 / 3600, **settings):
    folder.mkdir(exist_ok=True)
    return open_plan(folder, source, model, settings, hours)


@pytest.mark.parametrize(
    "text",
    [
        "a.wav\ns3://b/c.wav\n\n/d.wav\n",
        "path\na.wav\ns3://b/c.wav\n/d.wav\n",
        "\ufeffid;Path\n1;a.wav\n2;s3://b/c.wav\n3;/d.wav\n",
        "path,text\r\na.wav,\r\n./s3://b/c.wav,\r\n//d.wav,x\r\n",
        'duration,path\n,"a.wav"\n,s3://b/c.wav\n,/d.wav\n',
    ],
)
def test_kinds_of_lists(tmp_path, text):
    text = text.replace("./s3", "s3")
    found = list(read_rows(write(tmp_path / "x", text)))
    third = "//d.wav" if "//d" in text else "/d.wav"
    files = [f"{tmp_path}/a.wav", "s3://b/c.wav", third]
    assert found == [(file, None) for file in files]


def test_a_folder_is_read_in_the_order_of_predict(tmp_path):
    from modules.inference.recordings import find_files

    for name in (
        "b/a.wav",
        "b.wav",
        "b/c/d.flac",
        "a-b.wav",
        "x.txt",
        ".h.wav",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    found = [file for file, _ in read_rows(str(tmp_path))]
    assert found == find_files([str(tmp_path)])[0] and len(found) == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path\na.wav\na.wav\n", "a.wav is listed twice"),
        ("path\na.wav\n./a.wav\n", "a.wav is listed twice"),
        ("path,duration\na.wav,x\n", "duration of recording 1 is 'x'"),
        ("path,duration\na.wav,-1\n", "duration of recording 1 is '-1'"),
        ("path,duration\na.wav,nan\n", "duration of recording 1 is 'nan'"),
        ("duration,path\n1\n", "line 2 has fewer cells"),
        ("duration,path\n1,\n", "recording 1 has no path"),
        ("path\n", "lists no recording"),
        ("", "lists no recording"),
        ("\n\n", "lists no recording"),
        ("RIFF\0\0", "is no list"),
        ("x" * 70_000, "is no list"),
        ("nosuch://a.wav\n", "fsspec does not read nosuch"),
    ],
)
def test_bad_lists_are_one_sentence(tmp_path, text, sentence):
    with pytest.raises(BadInput, match=sentence):
        make(tmp_path / "out", write(tmp_path / "x.csv", text))
    assert not (tmp_path / "out" / plans.PLAN).exists()
    assert os.listdir(tmp_path / "out") == []


def test_what_is_no_list_is_one_sentence(tmp_path):
    for source, sentence in [
        (tmp_path / "missing", "no such list or folder"),
        ("s3://bucket/folder", "write a list of the recordings there"),
        ("/dev/null", "is no list"),
    ]:
        with pytest.raises(BadInput, match=sentence):
            list(read_rows(str(source)))


@given(
    strategies.lists(strategies.floats(0, 30), min_size=1, max_size=60),
    strategies.floats(1, 40),
)
def test_parts_are_the_list_in_order_and_of_like_duration(
    tmp_path_factory, seconds, most
):
    folder = tmp_path_factory.mktemp("plan")
    rows = "".join(f"{i},{s!r}\n" for i, s in enumerate(seconds))
    source = write(folder / "x.csv", "path,duration\n" + rows)
    plan = make(folder / "out", source, hours=most / 3600)
    parts = [plan.files(number) for number in range(len(plan))]
    assert sum(parts, []) == [f"{folder}/{i}" for i in range(len(seconds))]
    left = iter(seconds)
    sums = [sum(next(left) for _ in part) for part in parts]
    for part, total in zip(parts, sums):
        assert len(part) == 1 or total <= most + 1e-9
    for first, second in zip(parts, parts[1:]):
        begin = int(second[0].rpartition("/")[2])
        total = sums[parts.index(first)]
        assert total + seconds[begin] > most - 1e-9, "the part was full"


def test_durations_by_header_then_by_size(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    (tmp_path / "b.xyz").write_bytes(bytes(64_000))
    os.mkfifo(tmp_path / "pipe.wav")
    source = write(tmp_path / "x", "a.wav\nb.xyz\npipe.wav\nmissing.wav\n")
    found = [plans._measure(row) for row in read_rows(source)]
    assert found == [1.0, 2.0, 0.0, 0.0]
    assert plans._measure(("s3://a", None)) == 60


def test_another_list_model_or_settings_is_refused(tmp_path):
    source = write(tmp_path / "x.csv", "path\na.wav\nb.wav\n")
    out = tmp_path / "out"
    first = make(out, source, hop=1)
    assert make(out, source, hop=1).digest == first.digest
    for change, sentence in [
        ({"model": "n"}, "answers of another model"),
        ({"hop": 2}, r"other settings \(hop\)"),
        ({"hop": 1, "hours": 2.0}, r"other settings \(part_hours\)"),
    ]:
        with pytest.raises(BadInput, match=sentence):
            make(out, source, **change)
    write(tmp_path / "x.csv", "path\na.wav\nc.wav\n")
    with pytest.raises(BadInput, match="answers of another list"):
        make(out, source, hop=1)


def test_equal_hashes_alone_are_no_row_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "hash", lambda line: len(line), raising=False)
    source = write(tmp_path / "x.csv", "path\na.wav\nb.wav\nc.wav\n")
    assert len(make(tmp_path / "out", source).files(0)) >= 1
    source = write(tmp_path / "y.csv", "path\na.wav\nb.wav\na.wav\n")
    with pytest.raises(BadInput, match="a.wav is listed twice"):
        make(tmp_path / "other", source)


def test_memory_does_not_grow_with_the_list_but_for_the_hashes(tmp_path):
    peaks = []
    for rows in (20_000, 100_000):
        text = "".join(f"{i:030}.wav,5\n" for i in range(rows))
        source = write(tmp_path / f"{rows}", "path,duration\n" + text)
        del text
        tracemalloc.start()
        make(tmp_path / f"out-{rows}", source, hours=0.1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 8 bytes, and as many where the array grows or is compared.
    assert peaks[1] - peaks[0] < 80_000 * 30


def test_bytes_that_are_no_utf8_are_kept(tmp_path):
    (tmp_path / "x").write_bytes(b"b\xe9.wav\n")
    plan = make(tmp_path / "out", str(tmp_path / "x"))
    assert plan.files(0) == [f"{tmp_path}/b\udce9.wav"]
    assert json.loads(plan.lines(0))[1] is None
