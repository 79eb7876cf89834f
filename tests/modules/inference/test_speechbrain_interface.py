"""Laws 1, 2 and 9: exported models equal the trained ones, anywhere."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import types

import pytest
import soundfile
import torch
from exported_models import CPU, load_foreign, snapshot
from speechbrain.inference.classifiers import EncoderClassifier

from modules.audio import read_waveform
from modules.inference.speechbrain_interface import EmotionClassifier


@pytest.fixture(params=[EncoderClassifier, EmotionClassifier, None])
def model(request, exported):
    """Load by SpeechBrain's class, by ours, and without this repository."""
    if request.param is None:
        return load_foreign(exported)
    return request.param.from_hparams(source=str(exported), run_opts=CPU)


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
            row[len(wave) :] = 7.0  # may not reach a result
        lengths = torch.tensor([len(wave) / longest for wave in waves])
        check(model.classify_batch(batch, lengths)[0])
        embeddings = model.encode_batch(batch, lengths)
        check(model.mods.classifier(embeddings))
        check(model.classify_batch(batch[..., None], lengths)[0])


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


@pytest.mark.slow
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
        if not key.startswith(("PYTHON", "HF_", "COVERAGE"))
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


def test_nothing_is_written_to_the_working_directory(
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


def test_savedir(exported, recordings, tmp_path):
    wav = next(iter(recordings.values()))
    expected = load_foreign(exported).classify_file(wav)[0]
    for _ in range(2):
        model = load_foreign(exported, savedir=str(tmp_path / "saved"))
        assert model.classify_file(wav)[0].equal(expected)


def test_pickle(model, recordings):
    wav = next(iter(recordings.values()))
    copy = pickle.loads(pickle.dumps(model))
    assert copy.classify_file(wav)[0].equal(model.classify_file(wav)[0])


@pytest.mark.parametrize(
    "write, words",
    [
        (lambda p: p.write_bytes(b""), "cannot be read"),
        (lambda p: soundfile.write(p, torch.zeros(160), 16000), "10 ms"),
        (lambda p: soundfile.write(p, torch.zeros(16000), 16000), "silent"),
    ],
)
def test_a_bad_recording_is_refused_in_a_sentence(
    exported, tmp_path, write, words
):
    model = load_foreign(exported)
    write(tmp_path / "x.wav")
    with pytest.raises(ValueError, match=words):
        model.classify_file(str(tmp_path / "x.wav"))


def test_silence_and_clipping_get_finite_answers(exported):
    model = EncoderClassifier.from_hparams(source=str(exported), run_opts=CPU)
    clipped = torch.sign(torch.randn(1, 8000))
    for wavs in (torch.zeros(1, 8000), clipped, 1e-8 * clipped):
        assert model.classify_batch(wavs)[0].isfinite().all()


def test_a_long_recording_is_classified_in_windows(
    exported, tmp_path, monkeypatch
):
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


@pytest.mark.parametrize(
    "name", ["missing.wav", "a/missing.wav", "/no/missing.wav", "a b.wav", ""]
)
def test_a_missing_file_is_not_looked_for_on_the_hub(
    exported, name, monkeypatch
):
    model = load_foreign(exported)

    def no_network(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr("speechbrain.utils.fetching.fetch", no_network)
    monkeypatch.setattr("speechbrain.inference.interfaces.fetch", no_network)
    for read in (model.classify_file, model.load_audio):
        with pytest.raises(ValueError, match="does not exist: give"):
            read(name)


def test_a_file_that_the_hub_does_not_have_is_a_sentence(exported, monkeypatch):
    model = load_foreign(exported)

    def nowhere(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("speechbrain.inference.interfaces.fetch", nowhere)
    with pytest.raises(ValueError, match="neither a file here nor"):
        model.classify_file("user/repository/file.wav")
