"""predict.py: lists, resumed jobs, speakers, embeddings, formats."""

import csv
import json

import numpy as np
import pytest
import soundfile
from exported_models import spoken, write_six_recordings

import predict
from modules.inference import bulk, job

LABELS = ["calm", "glad", "mad"]


def run(*arguments):
    return predict.main([*map(str, arguments), "--device=cpu"])


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path):
    return write_six_recordings(tmp_path / "in")


class Killed(BaseException):
    """In the place of a signal."""


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_killed_job_goes_on(exported, folder, monkeypatch, suffix, capsys):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    whole, output = [folder.parent / f"{n}{suffix}" for n in ("whole", "x")]
    assert run(exported, folder, f"--output={whole}") == 1
    monkeypatch.setattr(bulk, "MOST_FILES", 2)
    classify, calls = job.predict, []

    def count(model, files, *more):
        calls.append(files)
        if len(calls) == 2:
            raise Killed
        return classify(model, files, *more)

    monkeypatch.setattr(job, "predict", count)
    with pytest.raises(Killed):
        run(exported, folder, f"--output={output}")
    assert not output.exists()
    with pytest.raises(SystemExit):  # other settings
        run(exported, folder, f"--output={output}", "--segments=0.2")
    assert "is half written" in capsys.readouterr().err
    assert run(exported, folder, f"--output={output}") == 1
    assert "4.wav is silent" in capsys.readouterr().err
    assert [len(files) for files in calls] == [2, 2, 2, 2]
    assert calls[2] == calls[1] != calls[0]  # the first two are not repeated
    assert output.read_bytes() == whole.read_bytes()
    names = {path.name for path in folder.parent.iterdir()}
    assert names == {"in", whole.name, output.name}


def test_the_columns_of_a_list_are_kept(exported, folder, capsys):
    path, output = folder / "list.csv", folder / "x.csv"
    rows = ["path,id,start", "1.wav,007,=a", "0.wav,8,b", "4.wav,9,c"]
    path.write_text("\n".join(rows) + "\n")
    options = [f"--csv_file={path}", f"--output={output}"]
    assert run(exported, *options) == 1
    assert "WA" not in capsys.readouterr().out  # there is nothing to score
    with open(output, newline="") as lines:
        found = list(csv.DictReader(lines))
    assert [(r["path"], r["id"], r["list_start"]) for r in found] == [
        ("1.wav", "007", "'=a"),
        ("0.wav", "8", "b"),
        ("4.wav", "9", "c"),
    ]
    assert found[0]["file"] == str(folder / "1.wav")
    assert found[2]["problem"].endswith("is silent: give a recording of speech")
    with pytest.raises(SystemExit):
        run(exported, *options, "--labels_map=a=b")
    assert "--labels_map is for scores" in capsys.readouterr().err


def test_who_felt_what(exported, folder, capsys):
    rttm, output = folder / "x.rttm", folder / "x.jsonl"
    wave = np.concatenate([spoken(1.0), spoken(1.0, seed=3)])
    soundfile.write(folder / "talk.wav", wave, 16000, subtype="FLOAT")
    rttm.write_text(
        "SPEAKER talk 1 0.0 0.5 <NA> <NA> Ann <NA> <NA>\n"
        "SPEAKER talk 1 1.0 1.0 <NA> <NA> Bob <NA> <NA>\n"
        "SPEAKER talk 1 0.5 0.5 <NA> <NA> Ann <NA> <NA>\n"
    )
    options = [folder / "talk.wav", f"--speakers={rttm}", f"--output={output}"]
    assert run(exported, *options) == 0
    rows = read_jsonl(output)
    assert [(r["speaker"], r["start"], r["end"]) for r in rows] == [
        ("Ann", 0.0, 0.5),
        ("Ann", 0.5, 1.0),
        ("Bob", 1.0, 2.0),
    ]
    assert capsys.readouterr().out.splitlines()[0].split()[1] == "speaker"
    assert run(exported, *options, "--summary") == 0
    ann, bob = read_jsonl(output)
    assert (ann["speaker"], ann["start"], ann["end"]) == ("Ann", 0.0, 1.0)
    mean = (rows[0]["p_calm"] + rows[1]["p_calm"]) / 2
    assert ann["p_calm"] == pytest.approx(mean, abs=2e-6)
    assert bob == rows[2]
    # A turn is answered as the same seconds in a file of their own.
    soundfile.write(folder / "bob.wav", wave[16000:], 16000, subtype="FLOAT")
    alone = folder / "bob.jsonl"
    assert run(exported, folder / "bob.wav", f"--output={alone}") == 0
    (bob_alone,) = read_jsonl(alone)
    assert bob["p_mad"] == pytest.approx(bob_alone["p_mad"], abs=2e-6)


def test_embeddings_give_the_probabilities(exported, folder):
    """The classifier on the written embeddings: the written probabilities."""
    import torch

    from modules.inference.loading import load_model

    output, embeddings = folder / "x.jsonl", folder / "e.npz"
    options = [f"--output={output}", f"--embeddings={embeddings}"]
    assert run(exported, folder / "0.wav", folder / "1.wav", *options) == 0
    found = dict(np.load(embeddings))
    rows = read_jsonl(output)
    assert list(found["file"]) == [row["file"] for row in rows]
    model, _ = load_model(exported)
    scores = model.classify(torch.from_numpy(found["embedding"])).exp()
    wanted = [[row[f"p_{label}"] for label in LABELS] for row in rows]
    np.testing.assert_allclose(scores.numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "suffix", [".TextGrid", ".eaf", ".rttm", ".srt", ".audformat"]
)
def test_emotion_over_time_is_written(exported, folder, suffix):
    if suffix == ".audformat":
        pytest.importorskip("audformat")
    output = folder / f"x{suffix.lower()}"
    wave = spoken(1.0)
    soundfile.write(folder / "talk.wav", wave, 16000)
    options = ["--segments=0.4", f"--output={output}", "--labels=glad,mad"]
    assert run(exported, folder / "talk.wav", *options) == 0
    if suffix == ".audformat":
        output = output / "db.emotion.csv"
    text = output.read_text()
    if suffix == ".audformat":
        text = text.partition("\n")[2]  # without the heading
    assert "calm" not in text
    assert text.count("glad") + text.count("mad") == 3


def test_labels_restrict_and_renormalise(exported, folder):
    every, some = folder / "every.jsonl", folder / "some.jsonl"
    assert run(exported, folder / "0.wav", f"--output={every}") == 0
    options = ["--labels=mad,calm", f"--output={some}"]
    assert run(exported, folder / "0.wav", *options) == 0
    (own,), (whole,) = read_jsonl(some), read_jsonl(every)
    assert [k for k in own if k.startswith("p_")] == ["p_calm", "p_mad"]
    total = whole["p_calm"] + whole["p_mad"]
    assert own["p_mad"] == pytest.approx(whole["p_mad"] / total, abs=2e-6)


@pytest.fixture
def speakers(folder):
    """Return a list of the recordings; 4.wav is silent."""
    rows = ["path,speaker,sex,take,label"]
    for number in range(6):
        who = "ab"[number % 2]
        rows.append(f"{number}.wav,{who},{who},{number},calm")
    wave = spoken(1.2, seed=9)  # three times as long as the others
    soundfile.write(folder / "2.wav", wave, 16000)
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return folder / "list.csv"


@pytest.mark.parametrize("segments", [[], ["--segments=0.15"]])
def test_a_row_per_speaker_of_a_list(exported, speakers, capsys, segments):
    whole, output = speakers.parent / "all.jsonl", speakers.parent / "x.jsonl"
    options = [exported, f"--csv_file={speakers}", *segments]
    run(*options, f"--output={whole}")
    capsys.readouterr()
    by = "--summary_by=speaker"
    assert run(*options, f"--output={output}", by) == 1
    shown = capsys.readouterr().out
    assert shown.split()[:3] == ["speaker", "seconds", "emotion"]
    assert ("WA" in shown) == (not segments), "recordings are scored as before"
    rows = [row for row in read_jsonl(whole) if not row.get("problem")]
    *found, failed = read_jsonl(output)
    assert failed["speaker"] == "a" and "4.wav is silent" in failed["problem"]
    assert [row["speaker"] for row in found] == ["a", "b"]
    for own, row in zip(([0, 2], [1, 3, 5]), found):
        parts = [r for r in rows if int(r["take"]) in own]
        seconds = np.array([r["end"] - r["start"] for r in parts])
        assert row["seconds"] == pytest.approx(seconds.sum(), abs=2e-3)
        assert row["recordings"] == len(own) and row["sex"] == row["speaker"]
        assert "take" not in row and "file" not in row
        for label in LABELS:
            values = [r[f"p_{label}"] for r in parts]
            expected = np.average(values, weights=seconds)
            assert row[f"p_{label}"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("column", ["emotion", "p_calm", "recordings", "file"])
def test_a_column_that_the_output_has_is_renamed(exported, folder, column):
    path, output = folder / "list.csv", folder / "x.jsonl"
    path.write_text(f"path,{column},seconds\n0.wav,mad,7\n1.wav,mad,7\n")
    options = [f"--csv_file={path}", f"--output={output}"]
    assert run(exported, *options, f"--summary_by={column}") == 0
    (row,) = read_jsonl(output)
    name = column if column == "file" else f"list_{column}"
    assert row[name] == "mad" and row["list_seconds"] == "7"
    assert row["recordings"] == 2 and row["emotion"] in LABELS
    assert isinstance(row["p_calm"], float) and 0 < row["seconds"] < 7


def test_columns_of_the_list_are_not_filled_with_ours(exported, folder):
    path, output = folder / "list.csv", folder / "x.jsonl"
    path.write_text("path,speaker,file,start\n0.wav,a,A,x\n1.wav,a,B,y\n")
    options = [f"--csv_file={path}", f"--output={output}"]
    assert run(exported, *options, "--summary_by=speaker") == 0
    (row,) = read_jsonl(output)
    assert row["speaker"] == "a" and not {"file", "start"} & set(row)


def test_a_folder_in_a_list_is_refused(exported, folder, capsys):
    path = folder / "list.csv"
    path.write_text(f"path,label\n{folder},calm\n0.wav,calm\n")
    with pytest.raises(SystemExit):
        run(exported, f"--csv_file={path}")
    assert "is a folder: list its recordings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, words",
    [
        (["--summary_by=", "--segments=1"], "no such column"),
        (["--summary_by=spkr"], "no such column: choose one of path, speaker"),
        (["--summary_by=note"], "has no note for"),
        (
            ["--summary_by=speaker", "--segments=1", "--output=x.srt"],
            "not per speaker",
        ),
        (["--summary_by=speaker", "--summary", "--segments=1"], "choose one"),
    ],
)
def test_a_summary_that_cannot_be_made(
    exported, folder, capsys, options, words
):
    path = folder / "list.csv"
    path.write_text("path,speaker,note\n0.wav,a,\n1.wav,b,x\n")
    with pytest.raises(SystemExit):
        run(exported, f"--csv_file={path}", *options)
    assert words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(exported, folder, "--summary_by=speaker")
    assert "needs --csv_file" in capsys.readouterr().err
