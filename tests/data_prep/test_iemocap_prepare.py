"""IEMOCAP: the protocol's counts, real copies' oddities, broken copies."""

import collections
import json
import re
import shutil

import pytest
from synthetic_corpora import (
    COUNTS,
    write_dialogue,
    write_full_iemocap,
    write_iemocap,
)

from data_prep import corpora
from data_prep.corpora import prepare
from data_prep.corpus import Utterance
from data_prep.iemocap_prepare import CLASSES, facts
from modules.errors import BadInput
from modules.labels import parse_classes


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_iemocap(tmp_path_factory.mktemp("IEMOCAP_full_release"))


@pytest.fixture
def tree(tmp_path):
    """A tree of its own, to be damaged."""
    return write_iemocap(tmp_path / "IEMOCAP_full_release")


def read(tree, **options):
    """Read it as every run does."""
    return corpora.read("iemocap", tree, **options)


def labels(tree, session=2, dialogue="Ses02F_impro05a"):
    return tree / f"Session{session}/dialog/EmoEvaluation/{dialogue}.txt"


def test_the_protocols_counts(tmp_path_factory):
    tree = write_full_iemocap(tmp_path_factory.mktemp("full"))
    counts = collections.defaultdict(dict)
    utterances = read(tree)
    for u in utterances:
        counts[u.fold][u.label] = counts[u.fold].get(u.label, 0) + 1
    assert counts == COUNTS
    assert [sum(COUNTS[n].values()) for n in COUNTS] == [
        *(1085, 1023, 1151, 1031, 1241)
    ]
    assert len(utterances) == 5531

    paths = prepare("iemocap", tree, None, tree / "manifests", test_fold=5)
    sizes = {n: len(json.loads(p.read_text())) for n, p in paths.items()}
    assert sizes == {"train": 3432, "dev": 858, "test": 1241}


def test_an_utterance(small):
    utterances = {u.id: u for u in read(small)}
    u = utterances["Ses01F_impro05a_F001"]
    assert u.wav == (
        "Session1/sentences/wav/Ses01F_impro05a/Ses01F_impro05a_F001.wav"
    )
    assert (u.label, u.speaker, u.fold) == ("hap", "Ses01F", 1)
    assert u.extra == {
        "session": 1,
        "gender": "female",
        "dialogue": "Ses01F_impro05a",
        "corpus_label": "exc",
        "agreement": 0.0,
        "start": 2.5,
        "end": 2.9,
        "valence": 2.5,
        "activation": 3.0,
        "dominance": 3.5,
        "annotators": {
            "C-E2": ["Neutral"],
            "C-F1": ["Neutral", "Frustration"],
            "A-E3": {"val": 3.0, "act": 2.0, "dom": 2.0},
            # Real copies have ratings that were left out.
            "A-F1": {"val": 3.0, "act": 2.0},
        },
    }


def test_agreement_is_the_share_of_outside_annotators_of_the_class():
    said = {
        "C-E1": ["Happiness"],
        "C-E2": ["Frustration", "Excited"],  # the protocol's hap holds both
        "C-E4": ["Sadness"],
        "C-F1": ["Happiness"],  # the speaker's own word
        "A-E3": {"val": 3.0},
    }
    one = Utterance("u", "u.wav", "exc", "Ses01F", 1, {"annotators": said})
    classes = parse_classes(CLASSES)
    agreement = {"agreement": pytest.approx(2 / 3, abs=1e-6)}
    assert facts(one, classes) == agreement
    one = Utterance("u", "u.wav", "exc", "Ses01F", 1, {"annotators": {}})
    assert facts(one, classes) == {}


def test_speakers(small):
    utterances = read(small)
    assert [u.id for u in utterances] == sorted(u.id for u in utterances)
    assert {u.speaker for u in utterances} == {
        f"Ses0{n}{letter}" for n in range(1, 6) for letter in "FM"
    }
    for u in utterances:
        letter = re.search(r"_([FM])[^_]*$", u.id)[1]
        assert u.speaker == u.id[:5] + letter
        assert u.extra["gender"] == {"F": "female", "M": "male"}[letter]
    assert sum(u.id.endswith("_MXX0") for u in utterances) == 10


def test_the_folder_above_is_fine_too(tree, tmp_path):
    below = read(tree)
    above = read(tmp_path)
    assert [u.id for u in above] == [u.id for u in below]
    assert above[0].wav == f"IEMOCAP_full_release/{below[0].wav}"
    paths = prepare("iemocap", tmp_path, None, tmp_path / "manifests", 1)
    entry = next(iter(json.loads(paths["test"].read_text()).values()))
    assert entry["wav"].startswith("{data_root}/IEMOCAP_full_release/Session1/")


def test_oddities_of_real_copies(tree, small):
    path = labels(tree)
    (path.parent / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\xff")
    (path.parent / ".DS_Store").write_bytes(b"\x00\xff")
    for name in ("Attribute", "Categorical", "Self-evaluation"):
        (path.parent / name).mkdir()
        (path.parent / name / "Ses02F_impro05a_e1.txt").write_text("[1 - 2]")
    wav = tree / "Session2/sentences/wav"
    (wav / "Ses02F_impro05a/._Ses02F_impro05a_F000.wav").write_bytes(b"\x00")
    (wav / "._Ses02F_impro05a").write_bytes(b"\x00")
    lines = path.read_text().replace("curious", "\xe9t\xe9, \x85 na\xefve")
    path.write_bytes(lines.replace("\n", "\r\n").encode("latin-1"))
    assert read(tree) == read(small)


def test_every_speaker_dev(small, tmp_path):
    paths = prepare(
        "iemocap",
        small,
        None,
        tmp_path,
        test_fold=3,
        dev_split="speaker",
        seed=2,
    )
    speakers = {
        name: {entry["speaker"] for entry in json.loads(p.read_text()).values()}
        for name, p in paths.items()
    }
    assert speakers["test"] == {"Ses03F", "Ses03M"}
    assert len(speakers["dev"]) + len(speakers["train"]) == 8


def test_not_iemocap(tmp_path):
    with pytest.raises(BadInput, match="nowhere does not exist: set data_fold"):
        read(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is empty: set data_folder"):
        read(tmp_path)
    with pytest.raises(BadInput, match="data_folder is not set"):
        read("")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BadInput, match="is not IEMOCAP, .*: set data_folder"):
        read(tmp_path)
    with pytest.raises(BadInput, match="notes.txt is a file, not a folder"):
        read(tmp_path / "notes.txt")


@pytest.mark.parametrize("part", ["", "dialog/EmoEvaluation", "sentences/wav"])
def test_a_session_is_missing(tree, part):
    shutil.rmtree(tree / "Session4" / part)
    with pytest.raises(BadInput, match="Session 4 of IEMOCAP is missing"):
        read(tree)


def test_a_session_has_no_label_files(tree):
    for path in (tree / "Session4/dialog/EmoEvaluation").iterdir():
        path.unlink()
    with pytest.raises(BadInput, match="Session 4 of IEMOCAP has no label"):
        read(tree)


def test_a_label_file_cut_anywhere(tree, caplog):
    path = labels(tree)
    content = path.read_bytes()
    last_utterance = content.rindex(b"[7.5000")
    for size in [*range(0, len(content), 11), last_utterance]:
        caplog.clear()
        path.write_bytes(content[:size])
        try:
            read(tree)
        except BadInput as problem:
            assert f"The label file {path} is cut short" in str(problem)
            assert "copy the file again" in str(problem)
            continue
        # What ends with a whole annotator's line may be a whole file: then
        # the audio tells, unless no utterance is lost.
        assert content[:size].strip().endswith(b")")
        assert size > last_utterance or "may be cut short" in caplog.text


@pytest.mark.parametrize(
    "end",
    [
        "",
        "[7.5000 - 7.9",
        "FXX0\t",
        "5000]\n",
        "C-E2:\tNeu",
        "C-F1",
        "A-E3:\tval",
    ],
)
def test_a_label_file_cut_in_its_last_utterance(tree, end):
    path = labels(tree)
    content = path.read_text()
    size = content.rindex(end) + len(end) if end else 0
    path.write_text(content[:size])
    with pytest.raises(BadInput, match=f"{path} is cut short"):
        read(tree)


def test_a_damaged_line(tree):
    path = labels(tree)
    path.write_text(path.read_text().replace("\tsad\t", "\t\t"))
    with pytest.raises(BadInput, match=f"{path} is cut short or damaged at"):
        read(tree)


def test_a_label_that_iemocap_does_not_have(tree):
    path = labels(tree)
    path.write_text(path.read_text().replace("\tang\t", "\tagn\t"))
    sentence = f"{path} gives Ses02F_impro05a_MXX0 the label 'agn', which IEMO"
    with pytest.raises(BadInput, match=sentence):
        read(tree)


def test_a_label_file_of_another_session(tree):
    shutil.move(labels(tree), tree / "Session3/dialog/EmoEvaluation")
    with pytest.raises(BadInput, match="Session3.*damaged at .*Ses02F"):
        read(tree)


def test_an_utterance_without_audio(tree, tmp_path):
    wav = tree / "Session2/sentences/wav/Ses02F_impro05a"
    (wav / "Ses02F_impro05a_F002.wav").unlink()
    # Its label is not used.
    prepare("iemocap", tree, None, tmp_path / "manifests", 1)
    path = wav / "Ses02F_impro05a_F000.wav"
    path.unlink()
    with pytest.raises(BadInput, match="There is no such audio file: .*F000.w"):
        prepare("iemocap", tree, None, tmp_path / "manifests", 1)


def test_an_utterance_in_two_label_files(tree, tmp_path):
    path = labels(tree)
    shutil.copy(path, path.with_name("Ses02F_impro05a copy.txt"))
    with pytest.raises(BadInput, match="same id .*and 2 more"):
        prepare("iemocap", tree, None, tmp_path / "manifests", 1)


def test_a_dialogue_of_one_utterance(tree):
    write_dialogue(tree, 1, "Ses01M_impro08b", [("M000", "sad")], end="\r\n")
    assert "Ses01M_impro08b_M000" in {u.id for u in read(tree)}
