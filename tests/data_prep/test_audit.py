"""Two lists of any origin, and what they share."""

import json
import os
import subprocess
import sys

import pytest
from synthetic_corpora import write_wav

from data_prep.audit import audit, main
from data_prep.lists import read_list
from modules.errors import BadInput

TEXTS = [
    "Der Lappen liegt auf dem Eisschrank.",
    "Heute abend k\u00f6nnte ich es ihm sagen.",
    "Das schwarze Blatt Papier befindet sich da oben neben dem Holzst\u00fcck.",
]


def write_csv(path, *rows, heading="path,speaker,text"):
    path.write_text("\n".join([heading, *map(",".join, rows)]) + "\n", "utf-8")
    return path


def shared(*arguments):
    return {o.kind: o.shared for o in audit(*arguments) if o.shared}


def test_nothing_is_shared(tmp_path, capsys):
    train = write_csv(tmp_path / "train.csv", ("a.wav", "ann", TEXTS[0]))
    test = write_csv(tmp_path / "test.csv", ("b.wav", "bob", TEXTS[1]))
    assert main([str(train), str(test)]) == 0
    assert capsys.readouterr().out == (
        "                  in train.csv in test.csv     shared\n"
        "speakers                     1           1          0\n"
        "recordings                   1           1          0\n"
        "texts                        1           1          0\n"
        "\n"
        "Nothing is shared.\n"
    )


@pytest.mark.parametrize("name", ["3.0", "03", "3", "\uff13"])
def test_a_speaker_of_two_spellings(tmp_path, capsys, name):
    train = write_csv(tmp_path / "train.csv", ("a.wav", "3", ""))
    test = write_csv(tmp_path / "test.csv", ("b.wav", name, ""))
    assert shared(train, test) == {"speakers": [("3", name)]}
    assert main([str(train), str(test)]) == 1
    out = capsys.readouterr().out
    assert "Shared speakers: 3" in out
    assert "Not compared, because a list has none: texts." in out


@pytest.mark.parametrize("kind", ["copy", "hard link", "other header"])
def test_a_recording_of_two_names(tmp_path, kind):
    content = write_wav(tmp_path / "a.wav").read_bytes()
    (tmp_path / "x").mkdir()
    if kind == "hard link":
        os.link(tmp_path / "a.wav", tmp_path / "x/b.wav")
    else:
        end = b"LIST\x04\0\0\0INFO" if kind == "other header" else b""
        (tmp_path / "x/b.wav").write_bytes(content + end)
    train = write_csv(tmp_path / "train.csv", ("a.wav",), heading="path")
    test = tmp_path / "x/test.jsonl"
    test.write_text(json.dumps({"audio_filepath": "b.wav"}) + "\n")
    assert shared(train, test) == {"recordings": [("a.wav", "b.wav")]}


def test_one_name_for_two_recordings(tmp_path):
    for seed, folder in enumerate("xy"):
        write_wav(tmp_path / folder / "1.wav", seed=seed)
        write_csv(tmp_path / folder / "my.csv", ("1.wav",), heading="path")
    lists = [tmp_path / folder / "my.csv" for folder in "xy"]
    assert shared(*lists) == {}
    (tmp_path / "y/1.wav").unlink()
    # Now only the names can be compared.
    assert shared(*lists) == {"recordings": [("1.wav", "1.wav")]}


def test_names_are_compared_as_far_as_they_tell_apart(tmp_path):
    rows = [(f"{speaker}/{take}.wav",) for speaker in "ab" for take in "12"]
    train = write_csv(tmp_path / "train.csv", *rows[:3], heading="wav")
    test = write_csv(tmp_path / "test.csv", *rows[2:], heading="wav")
    assert shared(train, test) == {"recordings": [("b/1.wav", "b/1.wav")]}


def test_a_manifest_and_a_list(tmp_path):
    write_wav(tmp_path / "data/a.wav")
    entry = {"wav": "{data_root}/a.wav", "speaker": "ann", "duration": 1}
    train = tmp_path / "train.json"
    train.write_text(json.dumps({"a": entry}))
    test = write_csv(tmp_path / "test.csv", ("a.wav", "Ann", ""))
    assert shared(train, test, tmp_path / "data") == {
        "speakers": [("ann", "Ann")],
        "recordings": [("a.wav", "a.wav")],
    }


def test_the_digest_of_a_manifest(tmp_path):
    lists = []
    for name in "ab":
        lists.append(tmp_path / f"{name}.json")
        entry = {"wav": f"{name}.wav", "sha256": "5" * 64}
        lists[-1].write_text(json.dumps({name: entry}))
    assert shared(*lists) == {"recordings": [("a.wav", "b.wav")]}


def test_texts_that_are_nearly_equal(tmp_path):
    train = write_csv(tmp_path / "a.csv", *[("", "", text) for text in TEXTS])
    other = (
        "das schwarze Blatt Papier befindet sich oben neben dem Holzst\u00fcck"
    )
    rows = [
        ("", "", TEXTS[0].upper()),
        ("", "", other),
        ("", "", "Heute nicht."),
    ]
    test = write_csv(tmp_path / "b.csv", *rows)
    assert shared(train, test) == {
        "texts": sorted([(TEXTS[0], rows[0][2]), (TEXTS[2], other)])
    }


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("", "x.json is empty: it needs"),
        ("a,b\n1,2\n", "x.json has no recordings, speakers or texts to comp"),
        ("{}", "has no recordings, speakers or texts to compare: name its"),
        ("[1]", "x.json is not a manifest, its utterance 1 is '1': give a"),
        ('{"a": 1}\n{"b": ', "neither JSON nor JSON lines .see its line 2."),
        ("[" * 10**5, "neither JSON nor JSON lines .see its line 1."),
    ],
)
def test_what_is_no_list(tmp_path, content, sentence):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=sentence):
        audit(path, path)


def test_lists_that_cannot_be_compared(tmp_path):
    train = write_csv(tmp_path / "a.csv", ("ann",), heading="speaker")
    test = write_csv(tmp_path / "b.csv", ("a.wav",), heading="path")
    with pytest.raises(
        BadInput, match="nothing in common that can be compared"
    ):
        audit(train, test)


def test_other_names_of_keys(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        json.dumps({"audio_filepath": "a.wav", "spk_id": 3, "words": "ja"})
        + "\n\n"
        + json.dumps({"SIG": "b.wav", "Spk": None, "text": ["no"]})
    )
    first, second = read_list(path)
    assert (first.path, first.speaker, first.text) == ("a.wav", "3", "ja")
    assert (second.path, second.speaker, second.text) == ("b.wav", "", "")


def test_the_command(tmp_path, capsys):
    path = write_csv(tmp_path / "a.csv", ("a\u00e9.wav", "\u00e9", TEXTS[1]))
    result = subprocess.run(
        [sys.executable, "-m", "data_prep.audit", path, path],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert result.returncode == 1 and "Shared speakers: \\xe9." in result.stdout
    with pytest.raises(SystemExit) as end:
        main([str(path), "nowhere.csv"])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: nowhere.csv cannot be read (No such")
