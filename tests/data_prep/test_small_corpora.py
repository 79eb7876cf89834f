"""TurEV-DB and ASED: what their names mean."""

import pytest
from synthetic_corpora import write_wav

from data_prep import ased_prepare, corpora, turev_prepare
from modules.errors import BadInput


def test_turev(tmp_path):
    inside = tmp_path / "Sound Source"
    for name in ("Calm/1234_sk_acik", "Sad/1157_hl_acik", "Sad/7895_hl_kedi"):
        write_wav(inside / f"{name}.wav")
    by_id = {u.id: u for u in turev_prepare.read(tmp_path)}
    calm, sad = by_id["1234_sk_acik"], by_id["1157_hl_acik"]
    assert (calm.label, calm.speaker, calm.fold) == ("calm", "1234", 2)
    assert calm.wav == "Sound Source/Calm/1234_sk_acik.wav"
    assert (sad.label, sad.fold, sad.extra) == ("sad", 1, {"sentence": "acik"})
    assert by_id["7895_hl_kedi"].fold == 6


def test_ased(tmp_path):
    for speaker in ("07", "08"):
        for name in ("01Neutral/n1-01-01-01", "04Sad/S4-06-02-01"):
            write_wav(tmp_path / f"{name}-{speaker}.wav")
    # One file has another gender than the others of its speaker.
    write_wav(tmp_path / "04Sad/s4-07-01-02-08.wav")
    utterances = corpora.read("ased", tmp_path, number_of_folds=2)
    by_id = {u.id: u for u in utterances}
    sad = by_id["s4-06-02-01-07"]
    assert (sad.label, sad.speaker) == ("sad", "07")
    assert sad.extra == {"gender": "female"}
    assert {u.fold for u in utterances if u.speaker == "08"} != {sad.fold}
    assert len({u.fold for u in utterances if u.speaker == "08"}) == 1


@pytest.mark.parametrize(
    "read, sentence",
    [
        (
            turev_prepare.read,
            "is not TurEV-DB, it has no file .*, but x.wav: set",
        ),
        (ased_prepare.read, "is not ASED, it has no file .*, but x.wav: set"),
    ],
)
def test_another_folder(tmp_path, read, sentence):
    write_wav(tmp_path / "x.wav")
    with pytest.raises(BadInput, match=sentence):
        read(tmp_path)
