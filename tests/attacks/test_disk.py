"""What a disk refuses is one sentence that names the path of the user."""

import errno
import os
import pathlib
import resource
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from modules.errors import BadInput, disk_error, one_sentence, using
from modules.files import (
    check_file,
    read_json,
    whole_file,
    write_json,
    write_rows,
    write_whole,
)
from modules.training.checkpoints import WholeCheckpointer
from modules.training.run import Run
from tests.attacks.model_and_run_folders import assert_one_sentence

CODES = {
    errno.ENOSPC: "make room",
    errno.EACCES: "permissions",
    errno.EROFS: "written to",
    errno.ENOTDIR: "folders",
    errno.ENAMETOOLONG: "shorter",
    errno.EDQUOT: "quota",
    errno.EIO: "check the disk",
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("named", [True, False])
def test_every_refusal_names_the_path_and_the_remedy(code, named, capsys):
    problem = OSError(code, os.strerror(code), *(["/out/a.json"] * named))
    with pytest.raises(SystemExit) as stopped, one_sentence(), using("/out"):
        raise problem
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and "None" not in message
    assert_one_sentence(message.strip(), "error: /out cannot be", CODES[code])


@pytest.mark.parametrize(
    "problem",
    [
        RuntimeError("PytorchStreamWriter failed writing file data/3"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        OSError("[Errno 28] No space left on device"),
    ],
)
def test_errors_of_libraries_are_understood(problem):
    assert disk_error(problem) == errno.ENOSPC
    with pytest.raises(BadInput, match="no space left"), using("/out"):
        raise problem


@pytest.mark.parametrize("problem", [RuntimeError("x"), OSError(errno.ENOENT)])
def test_other_errors_keep_their_trace(problem):
    with pytest.raises(type(problem)) as caught, using("/out"):
        raise problem
    assert not isinstance(caught.value, BadInput)


@pytest.fixture
def small_disk():
    """Let no file grow beyond 10 kB: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_file(tmp_path, small_disk):
    path = tmp_path / "results.json"
    write_json(path, {"old": 1})
    with pytest.raises(OSError) as caught:
        write_json(path, {"new": "x" * 20_000})
    assert caught.value.filename == str(path)
    assert read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_full_disk_while_rows_are_written(tmp_path, small_disk):
    with pytest.raises(OSError) as caught:
        write_rows(tmp_path / "a.csv", [{"a": "x" * 100}] * 1000)
    assert caught.value.filename == str(tmp_path / "a.csv")
    assert not os.listdir(tmp_path)


def test_a_full_disk_while_a_folder_is_written(tmp_path, small_disk):
    def write(folder):
        (folder / "a").write_bytes(bytes(20_000))

    with pytest.raises(BadInput), using(tmp_path):
        write_whole(tmp_path / "model", write)
    assert not os.listdir(tmp_path)


def test_a_full_disk_while_a_checkpoint_is_written(tmp_path, small_disk):
    model = torch.nn.Linear(100, 100)
    checkpointer = WholeCheckpointer(tmp_path / "save", {"model": model})
    with pytest.raises(BadInput) as caught:
        checkpointer.save_checkpoint(meta={"epoch": 1, "dev_WA": 0.5})
    assert_one_sentence(
        caught.value, str(tmp_path / "save"), "no checkpoint", "goes on"
    )
    assert not checkpointer.list_checkpoints()


def test_a_full_disk_while_a_head_is_written(tmp_path, small_disk):
    with pytest.raises(BadInput) as caught:
        Run(tmp_path).save_head(torch.nn.Linear(100, 100))
    assert_one_sentence(caught.value, str(tmp_path))
    assert not os.listdir(tmp_path)


def test_a_full_disk_while_weights_are_written(tmp_path, small_disk):
    with pytest.raises(BadInput), using(tmp_path):
        save_file({"a": torch.zeros(10_000)}, tmp_path / "a")


@pytest.mark.parametrize(
    "output, word",
    [
        ("{tmp}/file/run", "not a directory"),
        ("{tmp}/" + "x" * 300, "too long"),
        ("/sys/run", "/sys/run"),
        ("/dev/null/run", "not a directory"),
    ],
)
def test_train_with_an_output_folder_that_cannot_be(
    output, word, tone_corpus, encoders, tmp_path, capsys
):
    import train

    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        train.main(
            [
                "hparams/recommended.yaml",
                "--corpus=csv",
                f"--csv_file={tone_corpus}",
                f"--cache_folder={tmp_path / 'cache'}",
                f"--output_folder={output.format(tmp=tmp_path)}",
                f"--encoder_hub={encoders()}",
                "--device=cpu",
            ]
        )
    lines = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2
    assert_one_sentence(lines[-1], "error: ", word)


def test_export_into_a_place_that_cannot_be(run_folder, tmp_path, capsys):
    import export

    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "model", tmp_path / ("x" * 300)):
        with pytest.raises(SystemExit) as stopped:
            export.main([str(run_folder), str(target), "--include_encoder"])
        assert stopped.value.code == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert_one_sentence(message, "error: ")


LONG = "x" * 300
# What cannot be written to, for root too, and the words of the sentence.
PLACES = ["/sys/x", "{tmp}/file/x", f"{{tmp}}/{LONG}"]


def end_of(main, arguments, capsys):
    """Return the sentence with which a command stops."""
    with pytest.raises(SystemExit) as stopped:
        main(list(map(str, arguments)))
    assert stopped.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("option", ["--output", "--plot"])
def test_predict_with_a_place_that_cannot_be(
    place, option, exported, recordings, tmp_path, capsys
):
    import predict

    (tmp_path / "file").touch()
    place = place.format(tmp=tmp_path) + ".csv" * (option == "--output")
    wav = next(iter(recordings.values()))
    message = end_of(predict.main, [exported, wav, option, place], capsys)
    assert_one_sentence(message, f"error: {option} {place}")


@pytest.mark.parametrize("place", PLACES)
def test_cross_validation_with_a_place_that_cannot_be(
    place, table_command, tmp_path, capsys
):
    import cross_validate

    (tmp_path / "file").touch()
    place = place.format(tmp=tmp_path)
    message = end_of(cross_validate.main, table_command(place), capsys)
    assert_one_sentence(message, f"error: {place}")


@pytest.fixture
def full_disk(monkeypatch):
    """Let no file be written to its end."""

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("option", ["--output", "--plot"])
def test_predict_on_a_full_disk(
    option, exported, recordings, tmp_path, full_disk, capsys
):
    import predict

    place = tmp_path / ("x.csv" if option == "--output" else "plots")
    wav = next(iter(recordings.values()))
    message = end_of(predict.main, [exported, wav, option, place], capsys)
    assert_one_sentence(message, f"error: {place}", "make room")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_export_on_a_full_disk(trained, tmp_path, full_disk, capsys):
    import export

    place = tmp_path / "model"
    message = end_of(
        export.main, [trained.folders[1], place, "--include_encoder"], capsys
    )
    assert_one_sentence(message, f"error: {place} cannot", "make room")
    assert not os.listdir(tmp_path)


def test_a_report_on_a_full_disk(
    finished_table, table_command, full_disk, capsys
):
    import cross_validate

    arguments = [*table_command(finished_table), "--report_only"]
    message = end_of(cross_validate.main, arguments, capsys)
    assert_one_sentence(message, f"error: {finished_table}", "make room")


def test_a_killed_writer_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"old": 1})
    code = (
        "import os, signal, sys; from modules.files import whole_file\n"
        "with whole_file(sys.argv[1]) as partial:\n"
        "    partial.write_text('{')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = pathlib.Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=root)
    assert read_json(path) == {"old": 1}


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def record_replace(source, target):
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    with whole_file(tmp_path / "a") as partial:
        partial.write_text("x")
    assert events == [str(partial), "rename", str(tmp_path)]


@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_what_is_no_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "x.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 2**41)
    with pytest.raises(ValueError, match="regular file|bytes"):
        read_json(path)
    with pytest.raises(ValueError):
        check_file(path)
