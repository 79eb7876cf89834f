"""The synthetic corpus looks like IEMOCAP and is made whole or not at all."""

import collections
import hashlib
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from data_prep import corpora
from demo import synthetic_corpus
from demo.synthetic_corpus import (
    IGNORED,
    MARKER,
    PARAMETERS,
    SAMPLE_RATE,
    SENTENCES,
    VOICES,
    Espeak,
    make_corpus,
)
from modules.errors import BadInput

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return a corpus of two utterances per class and speaker."""
    return make_corpus(tmp_path_factory.mktemp("demo") / "iemocap", 2)


def fingerprint(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def label_files(corpus):
    return [
        path
        for path in sorted(corpus.glob("Session?/dialog/EmoEvaluation/*.txt"))
        if not path.name.startswith(".")
    ]


def read_iemocap(folder):
    return corpora.read("iemocap", folder)


def test_recipe_reads_it(corpus):
    utterances = read_iemocap(corpus)
    assert len(utterances) == 5 * 2 * 4 * 2
    per_class = collections.Counter((u.speaker, u.label) for u in utterances)
    assert set(per_class.values()) == {2}
    assert {u.speaker for u in utterances} == set(VOICES)
    own_labels = {u.extra["corpus_label"] for u in utterances}
    assert own_labels == {"neu", "hap", "exc", "ang", "sad"}
    for utterance in utterances:
        kinds = {who[:3] for who in utterance.extra["annotators"]}
        own = "C-" + utterance.speaker[-1]
        assert kinds == {"C-E", "A-E", own}


def test_lines_have_the_exact_format(corpus):
    patterns = (
        r"% .*",
        r"",
        r"\[\d+\.\d{4} - \d+\.\d{4}\]\tSes0\d[FM]_\w+_[FM]\d{3}\t[a-z]{3}"
        r"\t\[\d\.\d{4}, \d\.\d{4}, \d\.\d{4}\]",
        r"C-[EFM]\d:\t\w+;( \w+;)?\t\(\)",
        r"A-E\d:\tval \d; act \d; dom  \d;\t\(\)",
    )
    used = collections.Counter()
    for path in label_files(corpus):
        for line in path.read_text(encoding="utf-8").split("\n"):
            matches = [p for p in patterns if re.fullmatch(p, line)]
            assert len(matches) == 1, line
            used.update(matches)
    assert set(used) == set(patterns)


def test_what_a_recipe_must_survive_is_there(corpus):
    text = "".join(p.read_text(encoding="utf-8") for p in label_files(corpus))
    for label in IGNORED:
        assert f"\t{label}\t" in text
    for session in range(1, 6):
        folder = corpus / f"Session{session}/dialog/EmoEvaluation"
        fork = folder / f"._Ses0{session}F_impro01.txt"
        with pytest.raises(UnicodeDecodeError):
            fork.read_text(encoding="utf-8")
        for name in ("Attribute", "Categorical", "Self-evaluation"):
            assert list((folder / name).glob("*.txt"))
        names = {path.stem for path in label_files(corpus)}
        assert f"Ses0{session}F_impro05a" in names
        assert f"Ses0{session}M_script01_1b" in names


def test_audio(corpus):
    wavs = sorted(corpus.rglob("*.wav"))
    assert len(wavs) == 5 * (2 * 4 * 2 + len(IGNORED))
    for path in wavs:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (SAMPLE_RATE, 1)
        assert info.subtype == "PCM_16"
        assert 0.5 < info.duration < 4.5
        samples, _ = soundfile.read(path)
        assert np.abs(samples).max() < 1
        assert samples.std() > 0.005


def test_emotions_differ_in_loudness_and_length_but_overlap(corpus):
    loudness = collections.defaultdict(list)
    for utterance in read_iemocap(corpus):
        samples, _ = soundfile.read(corpus / utterance.wav)
        decibels = 20 * np.log10(samples.std())
        loudness[utterance.label].append(decibels)
    means = {label: np.mean(values) for label, values in loudness.items()}
    assert sorted(means, key=means.get) == ["sad", "neu", "hap", "ang"]
    assert max(loudness["neu"]) > min(loudness["hap"])


def test_a_higher_pitch_and_a_faster_rate_are_heard():
    def pitch_and_length(pitch, rate):
        values = dict(zip(PARAMETERS, (pitch, 0, rate, 60))).values()
        with Espeak() as espeak:
            samples = espeak.speak("en-us+m1", SENTENCES[-1], values)
            step = espeak.sample_rate
        samples = samples.astype(float)
        spectrum = np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2
        correlation = np.fft.irfft(spectrum)
        shortest, longest = step // 300, step // 50
        lag = shortest + correlation[shortest:longest].argmax()
        return step / lag, len(samples)

    low, slow = pitch_and_length(20, 120)
    high, fast = pitch_and_length(75, 215)
    assert high > 1.3 * low
    assert fast < 0.7 * slow


def test_ten_voices():
    audio = set()
    for voice in VOICES.values():
        with Espeak() as espeak:
            samples = espeak.speak(voice, SENTENCES[0], (50, 50, 160, 60))
        audio.add(samples.tobytes())
    assert len(audio) == 10


def test_same_seed_same_bytes(corpus, tmp_path):
    # The first is made by another process, the second after other speech.
    command = "from demo.synthetic_corpus import make_corpus as m;m('{}', 1)"
    subprocess.run(
        [sys.executable, "-c", command.format(tmp_path / "a")],
        cwd=ROOT,
        check=True,
    )
    a = fingerprint(tmp_path / "a")
    assert a == fingerprint(make_corpus(tmp_path / "b", 1))
    other = fingerprint(make_corpus(tmp_path / "c", 1, seed=1))
    assert a != other


def test_second_call_does_nothing(corpus, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
    monkeypatch.delattr(synthetic_corpus, "Espeak")
    assert make_corpus(corpus, 2) == corpus
    assert before == {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
    assert "ynthetic speech" in (corpus / MARKER).read_text(encoding="utf-8")


def test_never_overwrites(corpus, tmp_path):
    before = fingerprint(corpus)
    with pytest.raises(BadInput, match="other settings"):
        make_corpus(corpus, 2, seed=1)
    assert fingerprint(corpus) == before
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(BadInput, match="something else"):
        make_corpus(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_interrupted_making_leaves_nothing(tmp_path, monkeypatch):
    spoken = []

    def interrupted(self, voice, sentence, values):
        spoken.append(sentence)
        if len(spoken) > 5:
            raise KeyboardInterrupt
        return np.zeros(20000, np.int16)

    with monkeypatch.context() as patch:
        patch.setattr(Espeak, "speak", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_corpus(tmp_path / "iemocap", 1)
    assert list(tmp_path.iterdir()) == []
    assert len(read_iemocap(make_corpus(tmp_path / "iemocap", 1))) == 40


def test_killed_making_leaves_nothing_that_looks_finished(tmp_path):
    folder = tmp_path / "iemocap"
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.synthetic_corpus", folder],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not list(tmp_path.rglob("*.wav")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert not folder.exists()
    assert not list(tmp_path.rglob(MARKER))
    assert len(read_iemocap(make_corpus(folder, 1))) == 40
