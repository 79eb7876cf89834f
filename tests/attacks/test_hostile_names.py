"""Hostile names, terminals and places: saved first, printed as far as can be."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import ROOT
from exported_models import load_foreign, spoken
from hostile_files import write_with_ffmpeg

import predict
from modules.inference import formats

LABELS = ["calm", "glad", "mad"]


def run(*arguments):
    return predict.main([*map(str, arguments), "--device=cpu"])


@pytest.fixture
def hostile_folder(tmp_path):
    """Return a folder of recordings with names that attack, and one good."""
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["good", "=cmd|'calc'!A1", "@x", "-x", "'=x", "a\x1b[2Jb", "c\nd"]
    names += ["\N{RIGHT-TO-LEFT OVERRIDE}vaw", "é", os.fsdecode(b"\xe9")]
    names += ["$a_{b", "x" * 240]
    for name in names:
        soundfile.write(tmp_path / "x.wav", spoken(0.2), 16000)
        (tmp_path / "x.wav").rename(folder / f"{name}.wav")
    (folder / "x.raw").write_bytes(b"no header" * 99)
    os.mkfifo(folder / "pipe.wav")
    return folder


def names_of(folder):
    return sorted(str(path) for path in folder.iterdir())


def test_every_input_has_a_row_or_a_reason(exported, hostile_folder, tmp_path):
    output = tmp_path / "x.jsonl"
    assert run(exported, hostile_folder, f"--output={output}") == 1
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert sorted(row["file"] for row in rows) == names_of(hostile_folder)
    failed = [r["file"] for r in rows if "problem" in r]
    assert sorted(map(os.path.basename, failed)) == ["pipe.wav", "x.raw"]


def test_no_spreadsheet_executes_a_cell(
    exported, hostile_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(hostile_folder)
    output = tmp_path / "x.csv"
    files = sorted(os.listdir())
    # With -- argparse takes what begins with - for a file.
    options = [str(exported), f"--output={output}", "--device=cpu", "--"]
    assert predict.main([*options, *files]) == 1
    with open(output, newline="", encoding="utf-8") as lines:
        cells = [row["file"] for row in csv.DictReader(lines)]
    assert not [c for c in cells if c.startswith(("=", "+", "-", "@", "\t"))]
    # As the documentation describes: one apostrophe less.
    back = [cell[cell.startswith("'") :] for cell in cells]
    known = [name for name in files if name != os.fsdecode(b"\xe9.wav")]
    assert set(known) <= set(back) and len(back) == len(files)


def test_control_characters_are_not_printed(exported, hostile_folder, capsys):
    assert run(exported, hostile_folder, hostile_folder / "\x1b[31m.wav") == 1
    printed = capsys.readouterr()
    assert "a\\x1b[2Jb.wav" in printed.out and "c\\nd.wav" in printed.out
    assert "\\u202evaw.wav" in printed.out
    assert len(printed.out.splitlines()) == 13
    skipped = [s for s in printed.err.splitlines() if s.startswith("skipped")]
    assert len(skipped) == 3
    assert "\x1b[" not in printed.out + "".join(skipped)


def test_control_characters_of_a_model_are_not_printed(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / "no\x1b[2J", "x.wav")
    assert "\x1b[2J" not in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_cannot_print_a_name(
    exported, hostile_folder, tmp_path, monkeypatch, encoding
):
    output = tmp_path / "x.csv"
    screen = io.BytesIO()
    for stream in ("stdout", "stderr"):
        terminal = io.TextIOWrapper(screen, encoding=encoding)
        monkeypatch.setattr(sys, stream, terminal)
    assert run(exported, hostile_folder, f"--output={output}") == 1
    assert b"good.wav" in screen.getvalue() and b"\\udce9" in screen.getvalue()
    assert len(output.read_bytes()) > 500


def test_a_closed_pipe_costs_nothing(exported, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "x.wav", spoken(0.2), 16000)
    output = tmp_path / "x.csv"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert run(exported, tmp_path / "x.wav", f"--output={output}") == 0
    assert "x.wav" in output.read_text()


def test_a_disk_that_fills_up_still_prints(
    exported, tmp_path, monkeypatch, capsys
):
    soundfile.write(tmp_path / "x.wav", spoken(0.2), 16000)

    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(formats, "write_text", full)
    with pytest.raises(SystemExit) as stopped:
        run(exported, tmp_path / "x.wav", f"--output={tmp_path / 'x.csv'}")
    printed = capsys.readouterr()
    assert stopped.value.code == 2
    assert "x.wav" in printed.out and "no space left" in printed.err


def test_plots_of_hostile_names(exported, hostile_folder, tmp_path):
    plots = tmp_path / "plots"
    assert run(exported, hostile_folder, f"--plot={plots}") == 1
    assert len(list(plots.iterdir())) == len(names_of(hostile_folder)) - 2


def test_an_inverted_channel_is_refused_and_each_is_answered(
    exported, tmp_path, capsys
):
    wave = spoken(0.5)
    path, plots = tmp_path / "x.wav", tmp_path / "plots"
    soundfile.write(path, np.stack([wave, -wave], axis=1), 16000)
    assert run(exported, path) == 1
    assert "--channel left" in capsys.readouterr().err
    output = tmp_path / "x.csv"
    arguments = ["--channel=each", f"--output={output}", f"--plot={plots}"]
    assert run(exported, path, *arguments) == 0
    with open(output, newline="") as lines:
        channels = [row["channel"] for row in csv.DictReader(lines)]
    assert channels == ["left", "right"]
    assert sorted(p.name for p in plots.iterdir()) == [
        "x.wav_left.png",
        "x.wav_right.png",
    ]


def test_channels_that_largely_cancel_are_a_warning(exported, tmp_path, capsys):
    wave = spoken(0.5)
    pair = np.stack([wave, -0.7 * wave], axis=1)
    soundfile.write(tmp_path / "x.wav", pair, 16000)
    assert run(exported, tmp_path / "x.wav") == 0
    warned = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("warning: ")
    ]
    assert len(warned) == 1 and "3.0% of their power" in warned[0]


def test_an_exported_model_reads_and_refuses_as_predict_does(
    exported, tmp_path
):
    model = load_foreign(exported)
    wave = spoken(1, 16000)
    soundfile.write(tmp_path / "x.wav", wave, 16000, subtype="FLOAT")
    write_with_ffmpeg(tmp_path / "x.mov", wave, 16000, "alac")
    wanted = model.classify_file(str(tmp_path / "x.wav"))[0].exp()
    found = model.classify_file(str(tmp_path / "x.mov"))[0].exp()
    assert (found - wanted).abs().max() < 1e-3
    (tmp_path / "text.m4a").write_text("no recording")
    with pytest.raises(ValueError, match="cannot be read"):
        model.classify_file(str(tmp_path / "text.m4a"))


IMPORTS = """
import sys
import predict
try:
    predict.main(sys.argv[1:])
except SystemExit:
    pass
print(*[name for name in sys.modules if "." not in name])
"""


@pytest.mark.parametrize(
    "arguments, unused",
    [
        (["--help"], ["torch", "numpy", "soundfile", "matplotlib"]),
        (["m", "x.wav", "--output=x.txt"], ["torch", "numpy", "matplotlib"]),
        (["m", "x.wav", "--hop=1e-9"], ["matplotlib", "pandas", "sklearn"]),
    ],
)
def test_what_is_not_needed_is_not_imported(arguments, unused):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = done.stdout.splitlines()[-1].split()
    assert "argparse" in loaded
    assert not set(unused) & set(loaded)
