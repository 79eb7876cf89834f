"""export.py: whole folders or none, ensembles, the Hub, sentences."""

import pathlib

import pytest
import torch
from exported_models import load_foreign
from huggingface_hub.errors import HFValidationError

import export


def test_ensemble_is_the_mean_of_probabilities(trained, recordings, tmp_path):
    export.main(
        [
            str(trained.folders[1]),
            str(tmp_path / "both"),
            "--folds",
            "1",
            "2",
            "--include_encoder",
        ]
    )
    second = tmp_path / "second"
    export.main([str(trained.folders[2]), str(second), "--include_encoder"])
    both = load_foreign(tmp_path / "both")
    alone = [trained.log_probabilities[1], {}]
    other = load_foreign(second)
    for name, wav in recordings.items():
        alone[1][name] = other.classify_file(wav)[0][0]
        mean = (alone[0][name].exp() + alone[1][name].exp()) / 2
        found = both.classify_file(wav)[0][0]
        torch.testing.assert_close(found.exp(), mean, atol=1e-5, rtol=0)
    card = (tmp_path / "both/README.md").read_text()
    assert "| mean |" in card and "no test set" in " ".join(card.split())


def test_dry_run_writes_nothing(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "HfApi", None)
    export.main(
        [
            str(trained.folders[1]),
            str(tmp_path / "x"),
            "--include_encoder",
            "--push=me/x",
            "--dry_run",
        ]
    )
    out = capsys.readouterr().out
    assert "encoder/model.safetensors" in out and "me/x" in out
    assert not list(tmp_path.iterdir())


def test_push(trained, tmp_path, monkeypatch):
    calls = []

    class Api:
        def create_repo(self, repository, **kwargs):
            calls.append((repository, kwargs))

        def upload_folder(self, **kwargs):
            calls.append(kwargs)
            return "url"

    monkeypatch.setattr(export, "HfApi", Api)
    command = [str(trained.folders[1]), str(tmp_path / "x")]
    export.main([*command, "--include_encoder", "--push=me/x"])
    assert calls[0] == ("me/x", {"private": True, "exist_ok": True})
    assert calls[1]["repo_id"] == "me/x"

    class Refusing:
        def create_repo(self, repository, **kwargs):
            raise HFValidationError

    monkeypatch.setattr(export, "HfApi", Refusing)
    with pytest.raises(export.BadInput, match="hf auth login"):
        export.push(tmp_path / "x", "me/x")


def test_whole_or_nothing(trained, tmp_path, monkeypatch):
    def broken(folder, files):
        (folder / "README.md").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_files", broken)
    with pytest.raises(SystemExit):
        export.main(
            [str(trained.folders[1]), str(tmp_path / "x"), "--include_encoder"]
        )
    assert not list(tmp_path.iterdir())


def test_bad_exports_are_one_sentence(trained, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "nothing").mkdir()
    run = str(trained.folders[1])
    new = str(tmp_path / "new")
    for arguments, words in (
        ([str(tmp_path / "nothing"), new], "no finished run"),
        ([run, new], "--include_encoder"),
        ([run, str(tmp_path / "full"), "--include_encoder"], "holds something"),
        ([run, new, "--include_encoder", "--folds", "1", "5"], "fold_5"),
    ):
        with pytest.raises(SystemExit) as stopped:
            export.main(arguments)
        assert stopped.value.code == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1, message
    assert not pathlib.Path(new).exists()
