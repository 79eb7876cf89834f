"""Laws of the split, and every fault that a manifest can have."""

import collections
import dataclasses
import hashlib
import logging
import random

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from speechbrain.dataio.dataio import load_data_json
from synthetic_corpora import write_wav

from data_prep.checks import check_corpus, check_splits
from data_prep.corpus import Utterance, first_few, read_text
from data_prep.manifest import write_manifests
from data_prep.split import split
from modules.errors import BadInput
from modules.manifest import read_manifest


def make(sizes, labels="ab"):
    """Make utterances; sizes = (fold, number of utterances) per speaker."""
    return [
        Utterance(
            f"s{speaker}_{number}",
            f"s{speaker}_{number}.wav",
            labels[number % len(labels)],
            f"s{speaker}",
            fold,
        )
        for speaker, (fold, size) in enumerate(sizes)
        for number in range(size)
    ]


corpora = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 12)), min_size=2, max_size=12
).map(make)


@given(
    utterances=corpora,
    dev_split=st.sampled_from(["random", "speaker"]),
    seed=st.integers(0, 2**32),
    shuffle=st.randoms(use_true_random=False),
)
def test_split_laws(utterances, dev_split, seed, shuffle):
    fold = utterances[0].fold
    assume(sum(u.fold != fold for u in utterances) >= 2)
    try:
        parts = split(utterances, fold, dev_split, seed)
    except BadInput as problem:
        assert dev_split == "speaker" and "use dev_split random" in str(problem)
        assume(False)
    ids = {name: {u.id for u in part} for name, part in parts.items()}
    speakers = {n: {u.speaker for u in part} for n, part in parts.items()}
    assert all(parts.values())
    assert sum(map(len, ids.values())) == len(utterances)
    assert set().union(*ids.values()) == {u.id for u in utterances}
    assert {u.fold for u in parts["test"]} == {fold}
    assert not speakers["test"] & (speakers["train"] | speakers["dev"])
    rest = len(utterances) - len(parts["test"])
    if dev_split == "speaker":
        assert not speakers["dev"] & speakers["train"]
        assert {u.label for u in parts["dev"]} <= {
            u.label for u in parts["train"]
        }
    else:
        assert len(parts["dev"]) == max(round(0.2 * rest), 1)

    shuffled = list(utterances)
    shuffle.shuffle(shuffled)
    assert split(shuffled, fold, dev_split, seed) == parts


def test_another_seed_is_another_dev():
    utterances = make([(fold, 20) for fold in (1, 1, 2, 2, 3, 3)])
    devs = {
        tuple(u.id for u in split(utterances, 1, "random", seed)["dev"])
        for seed in range(5)
    }
    assert len(devs) == 5


def test_dev_speakers_are_near_a_fifth():
    # As in IEMOCAP: eight speakers, of whom two are nearer than one.
    utterances = make([(fold, 100) for fold in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5)])
    for seed in range(5):
        dev = split(utterances, 1, "speaker", seed)["dev"]
        assert len({u.speaker for u in dev}) == 2
    # A speaker who alone is half of the corpus is not taken for a fifth.
    utterances = make([(1, 10), (2, 50), (2, 10), (2, 10), (2, 30)])
    for seed in range(5):
        dev = split(utterances, 1, "speaker", seed)["dev"]
        assert len(dev) in (10, 20, 30)


def test_dev_speakers_have_the_classes_of_the_whole():
    # Each speaker has one class; a random fifth of them lacks most classes.
    utterances = make([(1 + number % 2, 12) for number in range(60)])
    utterances = [
        dataclasses.replace(u, label="wxyz"[int(u.speaker[1:]) // 2 % 4])
        for u in utterances
    ]
    for seed in range(5):
        parts = split(utterances, 1, "speaker", seed)
        assert {u.label for u in parts["dev"]} == set("wxyz")
        assert 50 <= len(parts["dev"]) <= 90


def test_another_seed_is_another_dev_by_speakers():
    utterances = make([(fold, 100) for fold in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5)])
    devs = {
        tuple(
            sorted(
                {u.speaker for u in split(utterances, 1, "speaker", i)["dev"]}
            )
        )
        for i in range(8)
    }
    assert len(devs) > 3


def test_split_refuses():
    utterances = make([(1, 4), (2, 4), (3, 4)])
    with pytest.raises(BadInput, match="test_fold 6 .* one of 1, 2, 3"):
        split(utterances, 6, "random", 1)
    with pytest.raises(BadInput, match="'half' .* one of random, speaker"):
        split(utterances, 1, "half", 1)
    with pytest.raises(BadInput, match="too few for train and dev"):
        split(make([(1, 4)]), 1, "random", 1)
    with pytest.raises(BadInput, match="use dev_split random"):
        split(make([(1, 4), (2, 4)]), 1, "speaker", 1)


@pytest.fixture
def corpus(tmp_path):
    """Two utterances of each of three speakers, in three folds."""
    utterances = make([(1, 2), (2, 2), (3, 2)])
    for seed, utterance in enumerate(utterances):
        write_wav(tmp_path / utterance.wav, seed=seed)
    return utterances


def write(utterances, folder, **options):
    options = {"test_fold": 1, "dev_split": "random", "seed": 1, **options}
    return write_manifests(utterances, folder, folder / "manifests", **options)


def test_manifests_are_speechbrains(corpus, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    paths = write(corpus, tmp_path)
    assert list(paths) == ["train", "dev", "test"]
    assert all(p == tmp_path / f"manifests/{n}.json" for n, p in paths.items())
    assert sorted(p.name for p in (tmp_path / "manifests").iterdir()) == [
        "dev.json",
        "test.json",
        "train.json",
    ]
    assert '"{data_root}/s0_1.wav"' in paths["test"].read_text("utf-8")
    data = {}
    for path in paths.values():
        entries = read_manifest(path, tmp_path)
        assert list(entries) == sorted(entries)
        assert entries == load_data_json(path, {"data_root": str(tmp_path)})
        data.update(entries)
    assert len(data) == 6
    content = (tmp_path / "s1_0.wav").read_bytes()
    assert data["s1_0"] == {
        "wav": f"{tmp_path}/s1_0.wav",
        "duration": 0.1,
        "label": "a",
        "speaker": "s1",
        "fold": 2,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert "Test fold 1: train 3 (" in caplog.text


@pytest.mark.parametrize("folder", ["plain", "{0}", "{data_root}", "{"])
def test_braces_mean_nothing(tmp_path, folder):
    root = tmp_path / folder
    utterances = make([(1, 2), (2, 4)])
    absolute = write_wav(tmp_path / "elsewhere" / "{x}.wav", seed=9)
    utterances[0] = dataclasses.replace(
        utterances[0],
        wav=str(absolute),
        label="{joy}",
        extra={"notes": ["{a}", {"b": "}"}], "wav": "not this", "n": 1.5},
    )
    utterances[1] = dataclasses.replace(utterances[1], wav="x{1}.wav")
    for seed, utterance in enumerate(utterances[1:]):
        write_wav(root / utterance.wav, seed=seed)
    data = read_manifest(write(utterances, root)["test"], root)
    assert data["s0_0"]["wav"] == str(absolute)
    assert data["s0_0"]["label"] == "{joy}"
    assert data["s0_0"]["notes"] == ["{a}", {"b": "}"}]
    assert data["s0_0"]["n"] == 1.5
    assert data["s0_1"]["wav"] == f"{root}/x{{1}}.wav"


def test_a_manifest_without_data_folder(corpus, tmp_path):
    path = write(corpus, tmp_path)["test"]
    assert read_manifest(path, None)["s0_0"]["wav"] == "./s0_0.wav"


def test_manifests_do_not_depend_on_order(corpus, tmp_path):
    before = {n: p.read_bytes() for n, p in write(corpus, tmp_path).items()}
    random.Random(3).shuffle(corpus)
    assert before == {
        n: p.read_bytes() for n, p in write(corpus, tmp_path).items()
    }


def test_a_manifest_is_never_half_written(corpus, tmp_path, monkeypatch):
    before = {n: p.read_bytes() for n, p in write(corpus, tmp_path).items()}

    def full_disk(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_prep.manifest.write_text", full_disk)
    with pytest.raises(BadInput, match="No space left .*: make room"):
        write(corpus, tmp_path, test_fold=2)
    folder = tmp_path / "manifests"
    assert {p.stem: p.read_bytes() for p in folder.iterdir()} == before


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_bytes(b"this is not audio, whatever its name says")


def folder(path):
    path.unlink()
    path.mkdir()


def short(path):
    write_wav(path, samples=np.ones(399) / 2)


def short_at_44_1_khz(path):
    write_wav(path, samples=np.ones(1102) / 2, rate=44100)


def no_samples(path):
    write_wav(path, samples=np.zeros(0))


def nan(path):
    samples = np.ones(1600)
    samples[7] = np.nan
    write_wav(path, samples=samples, subtype="FLOAT")


def infinite(path):
    write_wav(path, samples=np.full(1600, np.inf), subtype="FLOAT")


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda path: path.unlink(), "no such audio file: {}; put it there"),
        (empty, "0 bytes: {}; copy it again"),
        (text, "cannot be read: {}; give WAV"),
        (folder, "cannot be read: {}; give WAV"),
        (short, r"shorter than one frame .*25 ms.*: {}; take"),
        (short_at_44_1_khz, "shorter than one frame .*: {}; take"),
        (no_samples, "cannot be read: {}; give WAV"),
        (nan, "NaN or infinite samples: {}; export it again"),
        (infinite, "NaN or infinite samples: {}; export it again"),
    ],
)
def test_unusable_audio(corpus, tmp_path, damage, sentence):
    path = tmp_path / corpus[3].wav
    damage(path)
    with pytest.raises(BadInput, match=sentence.format(path)) as problem:
        write(corpus, tmp_path)
    assert str(problem.value).count(".wav") == 1
    assert not (tmp_path / "manifests").exists()


def test_one_frame_is_enough(corpus, tmp_path):
    write_wav(tmp_path / corpus[3].wav, samples=np.ones(400) / 2)
    write(corpus, tmp_path)


def test_all_problems_are_reported_at_once(corpus, tmp_path):
    for utterance in corpus[:5]:
        empty(tmp_path / utterance.wav)
    (tmp_path / corpus[5].wav).unlink()
    with pytest.raises(BadInput) as problem:
        write(corpus, tmp_path)
    message = str(problem.value)
    assert "0 bytes" in message and "and 2 more;" in message
    assert f"no such audio file: {tmp_path / corpus[5].wav};" in message


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"id": "s0_0"}, r"same id \(s0_0\)"),
        ({"wav": "./s0_0.wav"}, r"same recording .*\(s0_0.wav, .*./s0_0.wav, "),
        ({"label": " "}, "s2_1 has the label ' ', which is empty: fill it in"),
        ({"speaker": "s0"}, r"speaker is in two folds, .* \(s0\): give"),
    ],
)
def test_wrong_entries(corpus, tmp_path, change, sentence):
    corpus[5] = dataclasses.replace(corpus[5], **change)
    with pytest.raises(BadInput, match=sentence):
        write(corpus, tmp_path)


def test_a_link_is_the_same_recording(corpus, tmp_path):
    (tmp_path / corpus[5].wav).unlink()
    (tmp_path / corpus[5].wav).symlink_to(tmp_path / corpus[0].wav)
    with pytest.raises(BadInput, match="same recording .*s0_0.* and s2_1"):
        write(corpus, tmp_path)


def test_a_copy_is_left_out(corpus, tmp_path, caplog):
    corpus[3] = dataclasses.replace(corpus[3], label="a")
    content = (tmp_path / corpus[2].wav).read_bytes()
    (tmp_path / corpus[3].wav).write_bytes(content + b"trailing")
    paths = write(corpus, tmp_path)
    data = [u for p in paths.values() for u in read_manifest(p, tmp_path)]
    assert sorted(data) == ["s0_0", "s0_1", "s1_0", "s2_0", "s2_1"]
    assert (
        "1 of 6 files are copies of another file with the same label and "
        "speaker and are left out: s1_1.wav of s1_0.wav."
    ) in caplog.text


def test_other_audio_is_usable(corpus, tmp_path, caplog):
    write_wav(tmp_path / corpus[0].wav, rate=44100, channels=2)
    write_wav(tmp_path / corpus[1].wav, rate=8000)
    write_wav(tmp_path / corpus[2].wav, samples=np.zeros(1600))
    _, audio = check_corpus(corpus, tmp_path)
    assert audio["s0_0"].duration == audio["s0_1"].duration == 0.1
    assert (
        "2 of 6 files are not 16 kHz mono (first: s0_0.wav, 44100 Hz, 2 "
        "channels): they are resampled and mixed down when read."
    ) in caplog.text
    assert "1 of 6 files are silent" in caplog.text
    assert "kept: s1_0.wav." in caplog.text


def test_a_label_that_train_never_saw(corpus, tmp_path, caplog):
    corpus[0] = dataclasses.replace(corpus[0], label="joy")
    check_splits(split(corpus, 1, "random", 1))
    assert "No utterance of train has the label joy" in caplog.text


def test_each_file_is_read_once(corpus, tmp_path, monkeypatch):
    import builtins

    opened = collections.Counter()
    real = builtins.open

    def counting(file, *arguments, **options):
        opened[str(file)] += 1
        return real(file, *arguments, **options)

    monkeypatch.setattr(builtins, "open", counting)
    write(corpus, tmp_path)
    assert {opened[str(tmp_path / u.wav)] for u in corpus} == {1}


def test_first_few():
    assert first_few([]) == ""
    assert first_few("abc") == "a, b, c"
    assert first_few("abcde") == "a, b, c and 2 more"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_read_text(tmp_path, encoding):
    path = tmp_path / "x.txt"
    path.write_bytes("für\r\nalle\rgut\n".encode(encoding))
    assert read_text(path) == "für\nalle\ngut\n"
    with pytest.raises(BadInput, match="nowhere.txt cannot be read"):
        read_text(tmp_path / "nowhere.txt")
