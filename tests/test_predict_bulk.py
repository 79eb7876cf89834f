"""predict.py --launcher: the answers of predict.py, part by part."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest
from conftest import ROOT
from exported_models import write_six_recordings

import predict

pytest.importorskip("pyarrow")


@pytest.fixture
def folder(tmp_path):
    return write_six_recordings(tmp_path / "in")


def run(*arguments):
    return predict.main([*map(str, arguments), "--device=cpu"])


def read(paths):
    from pyarrow import concat_tables
    from pyarrow.parquet import read_table

    tables = [read_table(path).replace_schema_metadata() for path in paths]
    return concat_tables(tables).to_pylist()


BULK = ["--launcher=local", "--part_hours=0.0002", "--segments=0.2"]


def test_the_answers_are_those_of_predict(exported, folder, tmp_path, capsys):
    whole, out = tmp_path / "whole.parquet", tmp_path / "out"
    assert run(exported, folder, f"--output={whole}", BULK[-1]) == 1
    capsys.readouterr()
    assert run(exported, folder, f"--output={out}", "--workers=2", *BULK) == 1
    found = capsys.readouterr()
    assert "6 recordings, 11 rows, 1 without an answer" in found.out
    paths = sorted(out.glob("part-*.parquet"))
    assert len(paths) == 3
    one, parts = [
        sorted(rows, key=lambda row: (row["file"], str(row["start"])))
        for rows in (read([whole]), read(paths))
    ]
    for ours, theirs in zip(parts, one):
        # Another number of threads changes the last digit.
        numbers = [key for key in ours if key.startswith("p_")]
        for key in numbers if ours["problem"] is None else ():
            assert ours.pop(key) == pytest.approx(theirs.pop(key), abs=2e-6)
        assert ours == theirs
    assert len(parts) == len(one) == 11
    assert not (out / ".work").exists()
    # A part that is damaged is done again, nothing else.
    before = [path.read_bytes() for path in paths]
    stamps = [path.stat().st_mtime_ns for path in paths]
    paths[1].write_bytes(before[1][:-1])
    assert run(exported, folder, f"--output={out}", *BULK) == 1
    assert [path.read_bytes() for path in paths] == before
    assert [path.stat().st_mtime_ns == s for path, s in zip(paths, stamps)] == [
        True,
        False,
        True,
    ]
    with pytest.raises(SystemExit):
        run(exported, folder, f"--output={out}", *BULK[:2], "--segments=0.1")
    assert "other settings (segments)" in capsys.readouterr().err


def test_addresses(exported, folder, tmp_path):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.write(folder / "1.wav", "1.wav")
    address = f"zip://1.wav::{archive}"
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,duration\n{address},0.3\nzip://2.wav::{archive},1")
    out = tmp_path / "out"
    options = [f"--output={out}", "--launcher=local"]
    assert run(exported, listed, *options) == 1
    answer, failure = read([out / "part-00000.parquet"])
    assert answer["file"] == address and answer["problem"] is None
    assert failure["problem"].startswith("no such file: zip://2.wav::")
    same = tmp_path / "same.parquet"
    run(exported, folder / "1.wav", f"--output={same}")
    assert read([same])[0] | {"file": address} == answer


def test_a_worker_that_is_killed_and_ctrl_c(exported, folder, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "predict.py", exported, str(folder), *BULK]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    driver = subprocess.Popen(
        [*command, f"--output={out}", "--device=cpu"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's job in the background ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    jobs = out / ".work/jobs"
    while not (ids := list(jobs.glob("*.id"))):
        assert driver.poll() is None
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    assert "the same command goes on" in driver.communicate()[1]
    assert driver.returncode == 130
    number = int(ids[0].read_text()) if ids[0].exists() else None
    assert number is None or not os.path.exists(f"/proc/{number}")
    assert json.loads((out / "plan.json").read_text())["recordings"] == 6
    assert run(exported, folder, f"--output={out}", *BULK) == 1
    assert len(list(out.glob("part-*.parquet"))) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--workers=2"], "--workers needs --launcher"),
        (["--launcher=local"], "--launcher needs --output"),
        (["--launcher=local", "--output=x", "--adapt"], "leave out --adapt"),
        (["--launcher=local", "--output=x", "b"], "one list or one folder"),
        (
            ["--launcher=local", "--output=x", "--launcher_options=a=b"],
            "--launcher_options needs --launcher slurm or ray",
        ),
        (["--launcher=local", "--output=a"], "is a file"),
        (["--launcher=local", "--output=full"], "contains something else"),
        (["--launcher=local", "--output=x"], "no such list or folder"),
    ],
)
def test_what_is_refused(options, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    listed = "missing" if sentence.startswith("no such") else "a"
    with pytest.raises(SystemExit) as ended:
        run("model", listed, *options[::-1])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
