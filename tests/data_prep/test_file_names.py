"""What the names of a corpus's files mean."""

import pytest
from synthetic_corpora import write_wav

from data_prep import corpora
from data_prep.file_names import FileNames
from modules.errors import BadInput

NAMES = FileNames(
    corpus="Mine",
    example="ann/j1.wav",
    pattern=r"(?P<speaker>[a-z]+)/(?P<label>[a-z])(?P<take>\d)",
    codes={"label": {"j": "joy", "c": "calm"}, "take": ("1", "2")},
)


def test_names_of_their_own_and_others(tmp_path, caplog):
    for name in ("ann/j1", "bob/c2", "bob/notes"):
        write_wav(tmp_path / f"{name}.wav")
    write_wav(tmp_path / "bob" / "._j1.wav")
    write_wav(tmp_path / "cid" / "j2.WAV", format="WAV")
    found = NAMES.read(tmp_path)
    assert [(u.id, u.label, u.speaker, u.extra) for u in found] == [
        ("c2", "calm", "bob", {"take": "2"}),
        ("j1", "joy", "ann", {"take": "1"}),
        ("j2", "joy", "cid", {"take": "2"}),
    ]
    assert {u.fold for u in found} == {None}
    assert "1 files" in caplog.text and "left out: notes.wav" in caplog.text


def test_a_code_that_the_corpus_does_not_have(tmp_path):
    write_wav(tmp_path / "ann" / "j3.wav")
    with pytest.raises(BadInput, match="j3.wav has the take 3, which Mine doe"):
        NAMES.read(tmp_path)


@pytest.mark.parametrize(
    "corpus, name, sentence",
    [
        ("emodb", "wav/99a01Fa.wav", "has the speaker 99, which EmoDB does"),
        ("emodb", "wav/03a01Xa.wav", "has the label X, which EmoDB does not"),
        ("cremad", "AudioWAV/1099_DFA_ANG_XX.wav", "has the speaker 1099"),
        ("cremad", "AudioWAV/1001_DFA_JOY_XX.wav", "has the label JOY, which"),
        ("ravdess", "Actor_25/03-01-01-01-01-01-25.wav", "has the speaker 25"),
        ("turev", "Angry/1111_kz_acik.wav", "has the speaker 1111, which Tu"),
        ("ased", "05Angry/z5-03-01-02-50.wav", "has the label z, which ASED"),
    ],
)
def test_codes_of_every_corpus(tmp_path, corpus, name, sentence):
    write_wav(tmp_path / name)
    with pytest.raises(BadInput, match=sentence):
        corpora.read(corpus, tmp_path)
