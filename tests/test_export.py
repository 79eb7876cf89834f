"""Exported models say what the training code says, anywhere."""

import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import types

import pytest
import soundfile
import torch
from conftest import ROOT
from huggingface_hub import ModelCard
from huggingface_hub.errors import HFValidationError
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.inference.interfaces import foreign_class

import export
from modules.audio import read_waveform
from modules.encoder import FrozenEncoder

CPU = {"device": "cpu"}


def load_foreign(folder, **kwargs):
    return foreign_class(
        source=str(folder),
        pymodule_file="custom_interface.py",
        classname="EmotionClassifier",
        run_opts=CPU,
        **kwargs,
    )


@pytest.fixture(autouse=True)
def own_modules():
    """Take back what foreign_class does to the process."""
    path, module = list(sys.path), sys.modules.get("custom_interface")
    yield
    sys.path[:] = path
    if module is not None:
        sys.modules["custom_interface"] = module


@pytest.fixture(scope="module")
def recordings(trained):
    """Return utterance -> path of the test fold."""
    entries = json.loads(
        (trained.folders[1] / "manifests/test.json").read_text()
    )
    root = json.loads((trained.folders[1] / "settings.json").read_text())
    return {
        utterance: entry["wav"].replace("{data_root}", root["data_folder"])
        for utterance, entry in entries.items()
    }


@pytest.fixture(params=["EncoderClassifier", "foreign_class"])
def model(request, exported):
    if request.param == "foreign_class":
        return load_foreign(exported)
    return EncoderClassifier.from_hparams(source=str(exported), run_opts=CPU)


def snapshot(folder):
    """Return name -> modification time, without Python's own cache."""
    return {
        str(path.relative_to(folder)): path.lstat().st_mtime_ns
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if "__pycache__" not in path.parts and path.is_file()
    }


def test_same_as_training_alone_batched_and_padded(model, trained, recordings):
    expected = trained.log_probabilities[1]
    assert len(expected) == 12 and set(expected) == set(recordings)
    names = list(expected)
    wanted = torch.stack([expected[name] for name in names])

    def check(found):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)

    files = [model.classify_file(recordings[name]) for name in names]
    check(torch.cat([out_prob for out_prob, *_ in files]))
    for out_prob, score, index, label in files:
        assert score == out_prob.max() and index == out_prob.argmax()
        assert label == [["calm", "glad", "mad"][int(index)]]

    waves = [read_waveform(recordings[name]) for name in names]
    check(torch.cat([model.classify_batch(wave[None])[0] for wave in waves]))
    for padding in (0, 12345):
        longest = max(map(len, waves)) + padding
        batch = torch.zeros(len(waves), longest)
        for row, wave in zip(batch, waves):
            row[: len(wave)] = wave
            row[len(wave) :] = 7.0  # nobody may look at it
        lengths = torch.tensor([len(wave) / longest for wave in waves])
        check(model.classify_batch(batch, lengths)[0])
        embeddings = model.encode_batch(batch, lengths)
        check(model.mods.classifier(embeddings))
        check(model.classify_batch(batch[..., None], lengths)[0])


def test_what_is_in_the_folder(exported):
    assert set(snapshot(exported)) >= {
        "README.md",
        "hyperparams.yaml",
        "head.safetensors",
        "label_encoder.txt",
        "custom_interface.py",
        "encoder/config.json",
        "encoder/preprocessor_config.json",
        "encoder/model.safetensors",
    }
    for path in exported.rglob("*"):
        if path.suffix in (".md", ".yaml", ".py", ".txt"):
            assert str(ROOT.parent) not in path.read_text(), "a machine's path"


def test_the_generated_file_imports_nothing_of_ours(exported):
    source = (exported / "custom_interface.py").read_text()
    for name in ("modules", "bad_input", "custom_interface", "export"):
        assert f"from {name}" not in source and f"import {name}" not in source
    for text in ("class FrozenEncoder", "class EmotionHead", "class BadInput"):
        assert source.count(text) == 1
    compile(source, "custom_interface.py", "exec")


FRESH = """
import os, pickle, sys
assert not any(os.path.exists(os.path.join(p, "modules")) for p in sys.path)
from speechbrain.inference.interfaces import foreign_class

def load():
    return foreign_class(
        source=sys.argv[1],
        pymodule_file="custom_interface.py",
        classname="EmotionClassifier",
    )

if __name__ == "__main__":
    model = load()
    print(model.classify_file(sys.argv[2])[0].tolist())
    import torch
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        print(pool.submit(model.classify_file, sys.argv[2]).result()[3])
    print(torch.cuda.is_initialized())
"""


def test_fresh_process_empty_folder_offline_read_only(
    exported, trained, recordings, tmp_path
):
    """And a spawned worker process, which unpickles the model."""
    folder, here = tmp_path / "model", tmp_path / "here"
    shutil.copytree(
        exported, folder, ignore=shutil.ignore_patterns("__pycache__")
    )
    here.mkdir()
    (tmp_path / "fresh.py").write_text(FRESH)
    name, wav = next(iter(recordings.items()))
    before = snapshot(folder)
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "HF_"))
    }
    run = subprocess.run(
        [sys.executable, "../fresh.py", str(folder), wav],
        cwd=here,
        env=environment
        | {
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(tmp_path / "hf"),
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
    )
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    assert run.returncode == 0, run.stderr
    first, label, cuda = run.stdout.splitlines()
    expected = trained.log_probabilities[1][name]
    assert json.loads(first)[0] == pytest.approx(expected.tolist(), abs=1e-5)
    assert eval(label)[0] in ("calm", "glad", "mad") and cuda == "False"
    assert not list(here.iterdir()), "stray files"
    assert not (tmp_path / "hf").exists()
    assert snapshot(folder) == before


def test_nothing_is_written_where_one_works(
    exported, recordings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = snapshot(exported)
    wav = next(iter(recordings.values()))
    shutil.copy(wav, tmp_path / "speech.wav")
    for model in (
        EncoderClassifier.from_hparams(source=str(exported), run_opts=CPU),
        load_foreign(exported),
    ):
        model.classify_file("speech.wav")
        assert os.listdir(tmp_path) == ["speech.wav"]
        assert snapshot(exported) == before


def test_savedir_works_too(exported, recordings, tmp_path):
    wav = next(iter(recordings.values()))
    expected = load_foreign(exported).classify_file(wav)[0]
    for _ in range(2):
        model = load_foreign(exported, savedir=str(tmp_path / "saved"))
        assert model.classify_file(wav)[0].equal(expected)


def test_pickle(model, recordings):
    wav = next(iter(recordings.values()))
    copy = pickle.loads(pickle.dumps(model))
    assert copy.classify_file(wav)[0].equal(model.classify_file(wav)[0])


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


def test_the_cards_header_is_the_hubs(exported, trained):
    card = ModelCard.load(exported / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "speechbrain"
    assert data["pipeline_tag"] == "audio-classification"
    assert {"license", "tags", "datasets", "metrics"} <= set(data)
    results = json.loads((trained.folders[1] / "results.json").read_text())
    values = {r.metric_type: r.metric_value for r in card.data.eval_results}
    assert values["accuracy"] == pytest.approx(results["WA"], abs=1e-4)
    for words in (
        "What executes code",
        "Limits and ethical notes",
        "How to use",
        "@inproceedings",
        f"{results['UA']:.1%}",
    ):
        assert words in card.text


def test_the_demos_corpus_is_not_called_iemocap(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folders[1], run)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/SYNTHETIC.txt").touch()
    settings = json.loads((run / "settings.json").read_text())
    settings["data_folder"] = str(tmp_path / "data")
    (run / "settings.json").write_text(json.dumps(settings))
    assert export.Run(run).corpus == "synthetic"


def test_example_is_speech_that_the_model_hears(exported):
    pytest.importorskip("espeakng_loader")
    wav = exported / "example.wav"
    assert soundfile.info(wav).duration > 0.5
    model = load_foreign(exported)
    assert model.classify_file(wav)[0].exp().sum() == pytest.approx(1)


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


def test_another_encoder_is_refused(trained, encoder_folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folders[1], run)
    path = run / "settings.json"
    settings = json.loads(path.read_text())
    other = encoder_folder(seed=1)
    path.write_text(json.dumps(settings | {"encoder_hub": other}))
    with pytest.raises(export.BadInput, match="not the one"):
        export.build([export.Run(run)], True, None, None, "x")


def test_a_hub_encoder_is_pinned(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--a--b/snapshots" / commit
    folder.mkdir(parents=True)
    assert export.pinned_revision(folder, "a/b", None) == commit
    assert export.pinned_revision(folder, "a/b", "main") == commit
    assert export.pinned_revision(tmp_path, str(tmp_path), None) is None


def test_a_hub_encoder_is_referred_to(
    trained, recordings, tmp_path, monkeypatch
):
    """The folder then has no encoder; it is found by name and revision."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    run = tmp_path / "run"
    shutil.copytree(trained.folders[1], run)
    settings = json.loads((run / "settings.json").read_text())
    local = settings["encoder_hub"]
    cached = tmp_path / "hf/models--a--b/snapshots" / commit
    shutil.copytree(local, cached)
    (cached.parents[1] / "refs").mkdir()
    (cached.parents[1] / "refs/main").write_text(commit)
    settings["encoder_hub"] = "a/b"
    (run / "settings.json").write_text(json.dumps(settings))
    asked = []

    def download(name, revision=None, **kwargs):
        asked.append((name, revision))
        return str(cached)

    monkeypatch.setattr("modules.encoder.snapshot_download", download)
    export.main([str(run), str(tmp_path / "x")])
    assert not (tmp_path / "x/encoder").exists()
    assert commit in (tmp_path / "x/README.md").read_text()
    model = EncoderClassifier.from_hparams(
        source=str(tmp_path / "x"), run_opts=CPU
    )
    assert asked[-1] == ("a/b", commit)
    name, wav = next(iter(recordings.items()))
    torch.testing.assert_close(
        model.classify_file(wav)[0][0],
        trained.log_probabilities[1][name],
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("family", ["wavlm", "whisper"])
def test_pytorch_weights_become_safetensors(family, encoder_folder, tmp_path):
    from safetensors.torch import load_file

    source = pathlib.Path(encoder_folder(family))
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(source, old)
    weights = load_file(old / "model.safetensors")
    (old / "model.safetensors").unlink()
    torch.save(weights, old / "pytorch_model.bin")
    new.mkdir()
    export.write_files(new, export.encoder_contents(old))
    assert not list(new.glob("*.bin"))
    wavs = torch.randn(1, 8000)
    states = [FrozenEncoder(folder)(wavs)[0] for folder in (source, new)]
    assert states[0].equal(states[1])


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


def test_only_folds_of_one_system_go_together(trained, tmp_path):
    for fold in (1, 2):
        shutil.copytree(trained.folders[fold], tmp_path / f"fold_{fold}")
    path = tmp_path / "fold_2/settings.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"normalize_layers": False}))
    with pytest.raises(export.BadInput, match="one system"):
        export.read_runs(tmp_path / "fold_1", [1, 2])


def test_names_may_not_clash(tmp_path, monkeypatch):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text('"""Doc."""\n\n\ndef same():\n    pass\n')
    monkeypatch.setattr(export, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match="both define same"):
        export.self_contained_source(("a.py", "b.py"))


@pytest.mark.parametrize(
    "write, words",
    [
        (lambda p: p.write_bytes(b""), "cannot be read"),
        (lambda p: soundfile.write(p, torch.zeros(160), 16000), "10 ms"),
        (lambda p: soundfile.write(p, torch.zeros(16000), 16000), "silent"),
    ],
)
def test_classify_file_tells_what_is_wrong(exported, tmp_path, write, words):
    model = load_foreign(exported)
    write(tmp_path / "x.wav")
    with pytest.raises(ValueError, match=words):
        model.classify_file(str(tmp_path / "x.wav"))


def test_silence_and_clipping_get_finite_answers(exported):
    model = EncoderClassifier.from_hparams(source=str(exported), run_opts=CPU)
    clipped = torch.sign(torch.randn(1, 8000))
    for wavs in (torch.zeros(1, 8000), clipped, 1e-8 * clipped):
        assert model.classify_batch(wavs)[0].isfinite().all()


def test_a_long_file_is_heard_in_windows(exported, tmp_path, monkeypatch):
    model = load_foreign(exported)
    module = types.SimpleNamespace(**vars(sys.modules["custom_interface"]))
    wav = 0.1 * torch.randn(16000 * 62)
    soundfile.write(tmp_path / "x.wav", wav, 16000, subtype="FLOAT")
    windows = module.split_evenly(len(wav), 16000)
    assert [stop - start for start, stop in windows] == [496000] * 2
    parts = [model.classify_batch(wav[None, a:b])[0] for a, b in windows]
    mean = torch.cat(parts).exp().mean(dim=0)
    found = model.classify_file(str(tmp_path / "x.wav"))[0][0].exp()
    torch.testing.assert_close(found, mean, atol=1e-5, rtol=0)
