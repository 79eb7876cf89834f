"""predict.py: tables, plots, odd files, sentences."""

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest
import soundfile
from exported_models import spoken

import predict

LABELS = ["calm", "glad", "mad"]


def run(*arguments):
    return predict.main([*map(str, arguments), "--device=cpu"])


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_same_as_training_in_any_batch(
    trained, tone_corpus, exported, tmp_path, batch_size
):
    folder = pathlib.Path(tone_corpus).parent
    output = tmp_path / "x.jsonl"
    status = run(
        exported, folder, f"--output={output}", f"--batch_size={batch_size}"
    )
    assert status == 0
    rows = {pathlib.Path(r["file"]).stem: r for r in read_jsonl(output)}
    assert len(rows) == 60
    for name, expected in trained.log_probabilities[1].items():
        row = rows[name]
        found = [row[f"p_{label}"] for label in LABELS]
        assert found == pytest.approx(expected.exp().tolist(), abs=2e-6)
        assert row["emotion"] == LABELS[int(expected.argmax())]


def test_odd_files_are_named_and_skipped(exported, tmp_path, capsys):
    folder = tmp_path / "odd"
    folder.mkdir()
    good = spoken(0.5)
    soundfile.write(folder / "good.wav", good, 16000)
    (folder / "no_bytes.wav").touch()
    soundfile.write(folder / "no_samples.wav", good[:0], 16000)
    soundfile.write(folder / "10ms.wav", good[:160], 16000)
    soundfile.write(folder / "silent.wav", 0 * good, 16000)
    broken = good.copy()
    broken[100] = np.nan
    soundfile.write(folder / "nan.wav", broken, 16000, subtype="FLOAT")
    soundfile.write(folder / "clipped.wav", np.sign(good), 16000)
    soundfile.write(folder / "25ms.wav", good[:400], 16000)
    (folder / "text.wav").write_text("not audio at all")
    (folder / "notes.txt").write_text("not even called audio")
    flac = folder / "cut.flac"
    soundfile.write(flac, spoken(3.0), 16000)
    flac.write_bytes(flac.read_bytes()[:2000])
    output = tmp_path / "x.csv"
    missing = folder / "missing.wav"
    assert run(exported, folder, missing, f"--output={output}") == 1
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    skipped = [s for s in told.err.splitlines() if s.startswith("skipped: ")]
    for name, words in {
        "no_bytes.wav": "cannot be read",
        "no_samples.wav": "cannot be read",
        "10ms.wav": "lasts 10 ms",
        "silent.wav": "is silent",
        "nan.wav": "no numbers",
        "text.wav": "cannot be read",
        "missing.wav": "no such file",
        "cut.flac": "cannot be read",
    }.items():
        assert any(name in line and words in line for line in skipped), name
    with open(output, newline="") as lines:
        rows = list(csv.DictReader(lines))
    named = {pathlib.Path(r["file"]).name: r["problem"] for r in rows}
    assert [name for name, problem in named.items() if not problem] == [
        "25ms.wav",
        "clipped.wav",
        "good.wav",
    ]
    assert len(named) == 11 and "notes.txt" not in named
    for row in rows:
        if not row["problem"]:
            chances = [float(row[f"p_{k}"]) for k in LABELS]
            assert sum(chances) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--hop=1"], "--hop needs --segments"),
        (["--segments=900"], "--segments must be"),
        (["--output=x.txt"], "must end in .csv, .jsonl"),
        (["--output=x.srt"], "emotion over time: give --segments"),
        (["--output=x.rttm", "--segments=4", "--summary"], "leave out"),
        (["--output=x.rttm", "--speakers=x"], "one name per turn"),
        (["--summary"], "averages segments"),
        (["--vad", "--speakers=x"], "choose one of them"),
        (["--vad", "--hop=1"], "no meaning with --vad"),
        (["--embeddings=x.csv"], ".npz or .parquet"),
        (["--embeddings=x.npz", "--engine=onnx"], "probabilities alone"),
        (["--labels_map=a=b"], "needs --csv_file"),
        (["--rate=8000"], "needs --live"),
        (["--live"], "takes one source"),
        (["--live", "--output=x.csv"], "leave out --output"),
        (["y.wav", "--output=x.srt", "--segments=4"], "one recording and 2"),
        (["a/x.wav", "--output=x.rttm", "--segments=4"], "two are called"),
        (["b c.wav", "--output=x.rttm", "--segments=4"], "the blank in"),
        (["--labels=calm,sad"], "no class 'sad': choose from calm, glad"),
        (["--labels=calm"], "two classes or more"),
        (["--segments=4", "--hop=1e-9"], "--hop must be"),
        (["--output=/no/such/x.csv"], "No such file or directory"),
        ([f"--output={'x' * 300}.csv"], "File name too long"),
        (["--plot=/dev/null/x"], "cannot be written"),
        (["--device=cuda:77"], "does not exist on this machine"),
        (["--device=foo"], "does not exist on this machine"),
    ],
)
def test_bad_options_are_one_sentence(exported, capsys, arguments, words):
    with pytest.raises(SystemExit) as stopped:
        predict.main([str(exported), "x.wav", *arguments])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_bad_models_are_one_sentence(exported, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for name in ("hyperparams.yaml", "head.safetensors", "label_encoder.txt"):
        copy = tmp_path / name
        shutil.copytree(exported, copy)
        (copy / name).write_bytes(b"\x00junk")
    shutil.copytree(exported, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare/encoder")
    for model in tmp_path.iterdir():
        with pytest.raises(SystemExit):
            run(model, "x.wav")
        message = capsys.readouterr().err
        assert message.startswith("error: "), message
        assert message.count("\n") == 1 and "Traceback" not in message


def test_a_folder_without_audio_is_named(exported, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(exported, tmp_path)
    assert "has no audio file in it" in capsys.readouterr().err


def test_table_and_plots(exported, tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", spoken(3), 16000)
    plots = tmp_path / "plots"
    assert run(exported, tmp_path, f"--plot={plots}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["file", "from", "to", "emotion", *LABELS]
    assert len(lines) == 3
    assert run(exported, tmp_path / "a/x.wav", "--segments=1", "--hop=0.5") == 0
    names = sorted(path.name for path in plots.iterdir())
    assert names == ["x.wav.png", "x.wav_2.png"]
    for path in plots.iterdir():
        assert path.read_bytes()[:4] == b"\x89PNG"


def test_works_where_one_stands_without_leaving_anything(
    exported, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    soundfile.write("x.wav", spoken(0.5), 16000)
    assert run(exported, "x.wav") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.wav"]


def test_a_labelled_list_is_scored(exported, recordings, tmp_path, capsys):
    path = tmp_path / "labelled.csv"
    rows = ["path,label,speaker"]
    for i, file in enumerate(list(recordings.values())[:4]):
        rows.append(f"{file},{'quiet' if i else 'other'},s{i % 2}")
    path.write_text("\n".join(rows) + "\n")
    options = [str(exported), "--csv_file", str(path), "--device", "cpu"]
    assert predict.main([*options, "--labels_map", "quiet=calm"]) == 0
    out = capsys.readouterr().out
    assert "3 recordings of 1 shared classes (calm)" in out
    assert "left out, since the model has no such class: other 1" in out
    with pytest.raises(SystemExit):
        predict.main([*options, "--labels_map", "quiet"])
    assert "is not LABEL=LABEL" in capsys.readouterr().err
    path.write_text("path,label\na.wav,\n")
    with pytest.raises(SystemExit):
        predict.main(options)
    assert "recording 1 has no label: fill in" in capsys.readouterr().err
