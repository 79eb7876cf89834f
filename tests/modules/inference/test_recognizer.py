"""Recordings of any kind in memory: the answers of the file."""

import concurrent.futures
import io

import numpy as np
import pytest
import soundfile
import torch
from exported_models import spoken

from modules.errors import BadInput
from modules.inference.predictor import predict
from modules.inference.recognizer import Recognizer


@pytest.fixture(scope="module")
def recognizer(exported):
    return Recognizer(str(exported), device="cpu")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Return a stereo recording at 44.1 kHz, 16 bits."""
    path = tmp_path_factory.mktemp("recording") / "x.wav"
    pair = np.stack([spoken(1.5, 44100), spoken(1.5, 44100, seed=1)], axis=1)
    soundfile.write(path, pair, 44100, subtype="PCM_16")
    return path


def chances(answer):
    return list(answer.probabilities.values())


def test_every_kind_gives_the_answer_of_the_file(recognizer, recording):
    ((row,), _) = predict(recognizer.model, [str(recording)])
    expected = row.log_probabilities.exp().tolist()
    found = [recognizer(str(recording)), recognizer(recording)]
    found.append(recognizer(recording.read_bytes()))
    found.append(recognizer(io.BytesIO(recording.read_bytes())))
    with open(recording, "rb") as file:
        found.append(recognizer(file))
    found += recognizer([recording, memoryview(recording.read_bytes())])
    for answer in found:
        assert chances(answer) == pytest.approx(expected, abs=1e-6)
        assert answer.emotion == recognizer.labels[int(np.argmax(expected))]
        assert answer.problem is None


@pytest.mark.parametrize("kind", ["int16", "int32", "uint8", "float64"])
def test_arrays_and_tensors_of_any_type(recognizer, tmp_path, kind):
    subtype = {"int16": "PCM_16", "int32": "PCM_32", "uint8": "PCM_U8"}
    path = tmp_path / "x.wav"
    soundfile.write(path, spoken(1.0), 16000, subtype.get(kind, "DOUBLE"))
    if kind == "uint8":
        samples = np.round(soundfile.read(path)[0] * 128 + 128).astype(kind)
    else:
        samples = soundfile.read(path, dtype=kind)[0]
    expected = chances(recognizer(path))
    for own in (samples, torch.from_numpy(samples)):
        found = chances(recognizer(own, rate=16000))
        assert found == pytest.approx(expected, abs=1e-6)


def test_lengths_in_samples_and_as_shares(recognizer):
    waves = [torch.from_numpy(spoken(s)).float() for s in (1.0, 0.5, 0.25)]
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    alone = [chances(recognizer(wave, rate=16000)) for wave in waves]
    for lengths in (
        [16000, 8000, 4000],
        torch.tensor([1.0, 0.5, 0.25]),
        np.array([16000, 8000, 4000]),
    ):
        found = recognizer(padded, rate=16000, lengths=lengths)
        for answer, expected in zip(found, alone):
            assert chances(answer) == pytest.approx(expected, abs=1e-6)
        model = recognizer.model
        with torch.inference_mode():
            scores = model(padded, torch.as_tensor(lengths))
        np.testing.assert_allclose(scores.exp(), alone, atol=1e-5)
    for lengths in ([0.5, 8000, 4000], [0, 1, 1], [99999] * 3, [-1, 1, 1]):
        with pytest.raises(BadInput, match="neither all shares"):
            recognizer(padded, rate=16000, lengths=lengths)
    with pytest.raises(BadInput, match="2 lengths do not fit 3"):
        recognizer(padded, rate=16000, lengths=[1.0, 0.5])
    with pytest.raises(BadInput, match="lengths belong to padded"):
        recognizer(waves, rate=16000, lengths=[1.0, 0.5])


def test_more_than_a_minute(recognizer, tmp_path):
    wave = spoken(70).astype("float32")
    path = tmp_path / "long.wav"
    soundfile.write(path, wave, 16000, subtype="FLOAT")
    expected = chances(recognizer(path))
    for own in (path.read_bytes(), wave):
        found = chances(recognizer(own, rate=16000))
        assert found == pytest.approx(expected, abs=1e-6)


def test_labels_restrict_the_answer(exported, recognizer, recording):
    own = Recognizer(str(exported), "cpu", labels=["mad", "calm"])
    assert own.labels == ["calm", "mad"]
    every = recognizer(recording).probabilities
    kept = {label: every[label] for label in own.labels}
    total = sum(kept.values())
    expected = {label: p / total for label, p in kept.items()}
    assert own(recording).probabilities == pytest.approx(expected, abs=1e-6)


def test_bad_recordings(recognizer, tmp_path):
    good = spoken(0.5)
    for bad, rate, words in [
        (good, None, "has no rate"),
        (good, 16000.0, "rate of the recording is 16000.0"),
        (good, 100, "rate of the recording is 100"),
        (good[:100], 16000, "lasts 6 ms"),
        (good * 0, 16000, "is silent"),
        (good * 30000, 16000, "divide them"),
        (good * np.nan, 16000, "no numbers"),
        (good > 0, 16000, "samples of type bool"),
        (good.reshape(2, 2, -1), 16000, r"is \(2, 2, 2000\)"),
        (3, 16000, "is int"),
        (b"junk", None, "cannot be read"),
        (tmp_path / "no.wav", None, "no such file"),
    ]:
        with pytest.raises(BadInput, match=words):
            recognizer(bad, rate=rate)
    first, second = recognizer([good * 0, good], rate=16000)
    assert first.problem.startswith("recording 1 is silent")
    assert first.emotion is None and second.emotion in recognizer.labels


def test_threads_share_a_recognizer(recognizer):
    """Each gets its own answers, whatever the others do meanwhile."""
    waves = [spoken(0.3 + 0.1 * i, seed=i) for i in range(6)]
    alone = [recognizer(wave, rate=16000) for wave in waves]
    assert len({answer.probabilities["calm"] for answer in alone}) == 6

    def work(number):
        order = np.random.default_rng(number).permutation(len(waves))
        return [(i, recognizer(waves[i], rate=16000)) for i in order]

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for found in threads.map(work, range(16)):
            for i, answer in found:
                expected = chances(alone[i])
                assert chances(answer) == pytest.approx(expected, abs=1e-6)
