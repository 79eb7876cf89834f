"""make emodb: real speech by one command, here on synthetic tones."""

import dataclasses
import http.server
import os
import pathlib
import shutil
import subprocess
import threading
import zipfile

import pytest
from conftest import ROOT

from data_prep.archive import contents_digest
from modules.errors import BadInput
from modules.models.encoder_values import values_digests
from recipes.EMODB import real

SPEAKERS = ("03", "12", "08", "13", "09", "14", "10", "15", "11", "16")
SHARED = pathlib.Path(__file__).parents[3] / "shared"
DATA = SHARED / "data/emodb"
TINY_EN = SHARED / "models/whisper-tiny.en"


@pytest.fixture
def small(tmp_path, monkeypatch, tone_corpus, encoder_folder):
    """Return the folder of a small EmoDB; its digests are the expected ones."""
    folder = tmp_path / "emodb"
    (folder / "wav").mkdir(parents=True)
    tones = sorted(pathlib.Path(tone_corpus).parent.glob("*.wav"))
    for number, path in enumerate(tones):
        emotion = {"calm": "N", "glad": "F", "mad": "W"}[path.stem[2:-2]]
        name = f"{SPEAKERS[number % 10]}a{number:02}{emotion}a.wav"
        shutil.copyfile(path, folder / "wav" / name)
    archive = dataclasses.replace(
        real.ARCHIVE,
        recordings=len(tones),
        contents=contents_digest(folder),
    )
    monkeypatch.setattr(real, "ARCHIVE", archive)
    encoder, _ = values_digests(encoder_folder("whisper"))
    monkeypatch.setattr(real, "ENCODER_VALUES", encoder)
    return folder


def command(folder, encoder, tmp_path):
    return [
        f"--data_folder={folder}",
        f"--encoder_hub={encoder}",
        f"--output_folder={tmp_path / 'out'}",
        f"--cache_folder={tmp_path / 'cache'}",
        "--noprogressbar",
        "--device=cpu",
    ]


def test_figures_and_report(small, encoder_folder, tmp_path, capfd):
    arguments = command(small, encoder_folder("whisper"), tmp_path)
    assert real.main(arguments) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("python cross_validate.py hparams/recommended")
    assert lines[-3].startswith("WA ") and lines[-2].startswith("UA ")
    assert "95% interval over speakers" in lines[-2]
    report = pathlib.Path(lines[-1].removeprefix("report: "))
    assert report.is_file()


def test_changed_recordings_and_other_encoders(
    small, encoder_folder, tmp_path, capfd
):
    other = encoder_folder("whisper", seed=1)
    with pytest.raises(SystemExit):
        real.main(command(small, other, tmp_path))
    error = capfd.readouterr().err
    assert "is not openai/whisper-tiny.en as it was published" in error
    next(small.glob("wav/*.wav")).write_bytes(b"RIFF")
    with pytest.raises(SystemExit):
        real.main(command(small, other, tmp_path))
    assert "are not those of http://emodb" in capfd.readouterr().err
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="contains no recordings"):
        real.find_corpus(tmp_path / "empty")


def test_without_a_folder_it_is_downloaded(small, tmp_path, monkeypatch):
    web = tmp_path / "web"
    web.mkdir()
    with zipfile.ZipFile(web / "download.zip", "w") as archive:
        for path in small.glob("wav/*.wav"):
            archive.write(path, f"emodb/wav/{path.name}")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=web)

        def log_message(self, *arguments):
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/download.zip"
    own = dataclasses.replace(real.ARCHIVE, url=url)
    monkeypatch.setattr(real, "ARCHIVE", own)
    monkeypatch.setattr(real, "DATA", str(tmp_path / "new/emodb"))
    monkeypatch.setenv("no_proxy", "*")
    try:
        folder = real.find_corpus(None)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert contents_digest(folder) == contents_digest(small)
    assert real.find_corpus(None) == folder  # without the server


def test_make_passes_folders():
    """Of a command that is printed and not run."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shown = subprocess.run(
        ["make", "--dry-run", "emodb", "EMODB=a b", "ENCODER=c"],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
    ).stdout
    assert '--data_folder "a b" ' in shown and '--encoder_hub "c"' in shown


def test_the_real_encoder_and_corpus_have_the_expected_digests():
    if not DATA.is_dir() or not TINY_EN.is_dir():
        pytest.skip("EmoDB and Whisper tiny.en are not on this machine")
    assert real.find_corpus(DATA) == DATA
    real.check_encoder(TINY_EN)
