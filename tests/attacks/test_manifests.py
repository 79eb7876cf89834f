"""Manifests that were damaged, or written by somebody else."""

import json

import pytest
from attacked_corpus import prepare, write_list, write_recordings

from modules.errors import BadInput
from modules.manifest import read_manifest

ENTRY = {
    "wav": "{data_root}/a.wav",
    "duration": 1.5,
    "label": "calm",
    "speaker": "ann",
    "fold": 1,
    "sha256": "0" * 64,
}


def one(**changes):
    return json.dumps({"a": ENTRY | changes})


def without(key):
    return json.dumps({"a": {k: v for k, v in ENTRY.items() if k != key}})


DAMAGED = {
    "nothing": ("", "it is not JSON"),
    "half": (one()[: len(one()) // 2], "it is not JSON"),
    "not UTF-8": (b"\xff\xfe\x00{}", "it is not JSON"),
    "zeros": (b"\x00" * 100, "it is not JSON"),
    "nested too deep": ("[" * 100_000, "it is not JSON"),
    "a number of 5000 digits": ("9" * 5000, "it is not JSON"),
    "a list": ("[]", "it is not a table of utterances"),
    "null": ("null", "it is not a table of utterances"),
    "no utterances": ("{}", "it is not a table of utterances"),
    "a text as entry": ('{"a": "b"}', "its utterance 'a' is not a table"),
    "no wav": (without("wav"), "its utterance 'a' has no wav"),
    "no label": (without("label"), "its utterance 'a' has no label"),
    "no digest": (without("sha256"), "its utterance 'a' has no sha256"),
    "a label of a number": (one(label=3), "'a' has a wrong label .3."),
    "an empty label": (one(label=""), "'a' has a wrong label"),
    "a speaker of null": (one(speaker=None), "'a' has a wrong speaker"),
    "a duration of text": (one(duration="1"), "has a wrong duration"),
    "a duration of true": (one(duration=True), "has a wrong duration"),
    "a duration of nan": (one(duration=float("nan")), "has a wrong duration"),
    "an endless duration": (one(duration=1e999), "has a wrong duration"),
    "a negative duration": (one(duration=-1), "has a wrong duration"),
}


@pytest.mark.parametrize("attack", DAMAGED)
def test_a_damaged_manifest_is_refused_in_one_sentence(tmp_path, attack):
    content, reason = DAMAGED[attack]
    path = tmp_path / "train.json"
    path.write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    sentence = f"The manifest {path} is damaged, .*{reason}.*: delete it and pr"
    with pytest.raises(BadInput, match=sentence):
        read_manifest(path, tmp_path)


def test_no_manifest(tmp_path):
    with pytest.raises(BadInput, match="x.json cannot be read .No such file"):
        read_manifest(tmp_path / "x.json", tmp_path)
    with pytest.raises(BadInput, match="cannot be read .Is a directory"):
        read_manifest(tmp_path, tmp_path)


@pytest.mark.parametrize(
    "wav, read",
    [
        ("{data_root}/x{1}.wav", "/d/x{1}.wav"),
        ("{data_root}/{data_root}/a.wav", "/d/{data_root}/a.wav"),
        ("/elsewhere/{data_root}.wav", "/elsewhere/{data_root}.wav"),
        ("{0.__class__}.wav", "{0.__class__}.wav"),
        ("{data_root}/%s$HOME~.wav", "/d/%s$HOME~.wav"),
    ],
)
def test_only_the_prefix_is_replaced(tmp_path, wav, read):
    path = tmp_path / "train.json"
    path.write_text(one(wav=wav, text="{data_root}/{x}"))
    entry = read_manifest(path, "/d")["a"]
    assert (entry["wav"], entry["text"]) == (read, "{data_root}/{x}")


@pytest.mark.parametrize("where", ["file", "read only"])
def test_manifests_that_cannot_be_written(tmp_path, where, monkeypatch):
    write_recordings(tmp_path)
    write_list(tmp_path)
    if where == "file":
        (tmp_path / "manifests").touch()
    else:

        def refuse(path, text):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("data_prep.manifest.write_text", refuse)
    with pytest.raises(
        BadInput, match="manifests cannot be written to .*/mani"
    ):
        prepare(tmp_path)
