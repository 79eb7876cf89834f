"""predict.py: the same answers as in training, odd files, tables, pictures."""

import contextlib
import csv
import json
import pathlib
import shutil
import types

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings, strategies as st

import predict

LABELS = ["calm", "glad", "mad"]


def spoken(seconds=2.0, rate=16000, seed=0):
    """Return something with energy up to 3 kHz, [samples]."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(
        rng.uniform(0.02, 0.1) * np.sin(2 * np.pi * f * time + f)
        for f in (120, 240, 480, 950, 1800, 2900)
    )
    return wave * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))


@pytest.fixture(scope="module")
def loaded(exported):
    return predict.load_model(exported)


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


def test_log_probabilities_are_those_of_training(loaded, trained, tone_corpus):
    model, labels = loaded
    assert labels == LABELS
    expected = trained.log_probabilities[1]
    folder = pathlib.Path(tone_corpus).parent
    files = [str(folder / f"{name}.wav") for name in expected]
    rows, problems = predict.predict(model, files, batch_size=4)
    assert not problems and [row[0] for row in rows] == files
    for row, name in zip(rows, expected):
        torch.testing.assert_close(row[3], expected[name], atol=1e-5, rtol=0)


def test_nothing_of_the_folder_is_executed(exported, tmp_path, loaded):
    """HyperPyYAML would: a stranger's file may say anything."""
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    trap = tmp_path / "trap"
    with open(folder / "hyperparams.yaml", "a") as out:
        out.write(f"\ntrap: !apply:pathlib.Path.mkdir\n    - {trap}\n")
        out.write(f"other: !!python/object/apply:os.mkdir [{trap}]\n")
    (folder / "custom_interface.py").write_text("raise SystemExit(7)\n")
    with contextlib.suppress(predict.BadInput):
        predict.load_model(folder)
    assert not trap.exists()


def test_a_folder_may_not_name_files_elsewhere(exported, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    path = folder / "hyperparams.yaml"
    text = path.read_text()
    path.write_text(text.replace("- config.json", "- ../../config.json"))
    with pytest.raises(predict.BadInput, match="outside"):
        predict.load_model(folder)


# Largest difference of a probability from that of the 16 kHz fp32 original.
# Lossy formats and resampling change the waveform a little.
MARGIN = 0.02


def test_formats_rates_and_channels_agree(loaded, tmp_path):
    def write(name, rate=16000, channels=1, **options):
        wave = spoken(rate=rate)
        wave = np.stack([wave] * channels, axis=1)
        soundfile.write(tmp_path / name, wave, rate, **options)
        return str(tmp_path / name)

    files = [
        write("original.wav", subtype="FLOAT"),
        write("pcm16.wav", subtype="PCM_16"),
        write("8k.wav", 8000, subtype="FLOAT"),
        write("44k.wav", 44100, subtype="FLOAT"),
        write("48k_stereo.wav", 48000, 2),
        write("24bit.wav", subtype="PCM_24"),
        write("x.flac"),
        write("x.ogg", 44100, 2),
        write("x.mp3", 44100, 2),
    ]
    model, _ = loaded
    rows, problems = predict.predict(model, files)
    assert not problems
    chances = torch.stack([row[3].exp() for row in rows])
    differences = (chances - chances[0]).abs().amax(dim=1)
    assert differences.max() < MARGIN, dict(zip(files, differences.tolist()))


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
        "no_samples.wav": "lasts 0 ms",
        "10ms.wav": "lasts 10 ms",
        "silent.wav": "is silent",
        "nan.wav": "no numbers",
        "text.wav": "cannot be read",
        "missing.wav": "cannot be read",
        "cut.flac": "",
    }.items():
        assert any(name in line and words in line for line in skipped), name
    with open(output, newline="") as lines:
        rows = list(csv.DictReader(lines))
    heard = [pathlib.Path(row["file"]).name for row in rows]
    assert heard == ["25ms.wav", "clipped.wav", "good.wav"]
    for row in rows:
        assert sum(float(row[f"p_{k}"]) for k in LABELS) == pytest.approx(
            1, abs=1e-5
        )


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--hop=1"], "--hop needs --segments"),
        (["--segments=900"], "--segments must be"),
        (["--output=x.txt"], ".csv or .jsonl"),
        (["--output=/no/such/x.csv"], "there is no folder"),
        (["--device=cuda:77"], "is not to be had"),
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


def test_a_folder_without_audio_is_told(exported, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(exported, tmp_path)
    assert "holds no audio file" in capsys.readouterr().err


def test_segments_over_time(loaded, tmp_path):
    path = str(tmp_path / "x.wav")
    wave = spoken(7.3)
    soundfile.write(path, wave, 16000, subtype="FLOAT")
    model, _ = loaded
    rows, _ = predict.predict(model, [path], segment=4, hop=1, batch_size=3)
    assert [(row[1], round(row[2], 3)) for row in rows] == [
        (0.0, 4.0),
        (1.0, 5.0),
        (2.0, 6.0),
        (3.0, 7.0),
        (3.3, 7.3),
    ]
    for _, start, end, found in rows:
        part = wave[round(start * 16000) : round(end * 16000)]
        with torch.inference_mode():
            alone = model(torch.from_numpy(part).float()[None])[0]
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)


@settings(max_examples=50, deadline=None)
@given(
    samples=st.integers(400, 10**7),
    rate=st.sampled_from([8000, 16000, 44100]),
    segment=st.none() | st.floats(0.1, 60),
    hop=st.floats(0.5, 60),
)
def test_a_cut_covers_the_recording(samples, rate, segment, hop):
    windows = predict.cut(samples, rate, segment, hop)
    assert windows[0][0] == 0 and windows[-1][1] == samples
    longest = predict.LONGEST_SECONDS if segment is None else segment
    for start, stop in windows:
        assert 0 < stop - start <= longest * rate + 1
    assert len(set(windows)) == len(windows)
    if segment is None:
        for before, after in zip(windows, windows[1:]):
            assert before[1] == after[0]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(400, 16000 * 60), max_size=40),
    st.integers(1, 9),
    st.sampled_from([0, 30]),
)
def test_batches_are_bounded_and_whole(lengths, batch_size, least):
    pieces = [
        predict.Piece(str(i), 0, length, 16000, True)
        for i, length in enumerate(lengths)
    ]
    batches = predict.make_batches(pieces, batch_size, least)
    assert sorted(p.file for b in batches for p in b) == sorted(
        p.file for p in pieces
    )
    for batch in batches:
        assert len(batch) <= batch_size
        longest = max(least, *(piece.seconds for piece in batch))
        assert len(batch) == 1 or len(batch) * longest <= 60


def test_an_hour_never_lies_in_memory(tmp_path):
    """Whatever the length: a minute at a time reaches the encoder."""
    path = str(tmp_path / "hour.wav")
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_U8") as out:
        minute = spoken(60, 8000)
        for _ in range(60):
            out.write(minute)
    seen = []

    class Stub(torch.nn.Module):
        encoder = types.SimpleNamespace(is_whisper=False)

        def forward(self, wavs, lengths):
            seen.append(wavs.numel())
            logits = torch.zeros(len(wavs), 3)
            logits[:, len(seen) % 3] = 1
            return logits.log_softmax(dim=1)

    rows, problems = predict.predict(Stub(), [path])
    assert len(seen) == 60 and max(seen) <= 60 * 16000 and not problems
    assert rows[0][2] == 3600
    torch.testing.assert_close(rows[0][3].exp(), torch.full((3,), 1 / 3))


def test_a_long_file_gives_the_mean_of_its_windows(loaded, tmp_path):
    path = str(tmp_path / "x.wav")
    wave = spoken(62)
    soundfile.write(path, wave, 16000, subtype="FLOAT")
    model, _ = loaded
    rows, _ = predict.predict(model, [path])
    halves = torch.from_numpy(wave).float().view(2, -1)
    with torch.inference_mode():
        mean = model(halves).exp().mean(dim=0)
    torch.testing.assert_close(rows[0][3].exp(), mean, atol=1e-5, rtol=0)


def test_table_and_pictures(exported, tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", spoken(3), 16000)
    pictures = tmp_path / "pictures"
    assert run(exported, tmp_path, f"--plot={pictures}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["file", "from", "to", "emotion", *LABELS]
    assert len(lines) == 3
    assert run(exported, tmp_path / "a/x.wav", "--segments=1", "--hop=0.5") == 0
    names = sorted(path.name for path in pictures.iterdir())
    assert names == ["x.wav.png", "x.wav_2.png"]
    for path in pictures.iterdir():
        assert path.read_bytes()[:4] == b"\x89PNG"


def test_works_where_one_stands_without_leaving_anything(
    exported, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    soundfile.write("x.wav", spoken(0.5), 16000)
    assert run(exported, "x.wav") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.wav"]
