"""EmoDB: the real corpus where it is at hand, a small one anywhere."""

import collections
import json
import pathlib

import pytest
from synthetic_corpora import write_emodb, write_wav

from data_prep.corpora import prepare
from data_prep.emodb_prepare import read
from modules.errors import BadInput

EMODB = pathlib.Path(__file__).parents[3] / "shared" / "data" / "emodb"
needs_emodb = pytest.mark.skipif(
    not EMODB.is_dir(), reason="needs EmoDB in ../shared/data/emodb"
)
FOLDS = {
    1: {"03", "12"},
    2: {"08", "13"},
    3: {"09", "14"},
    4: {"10", "15"},
    5: {"11", "16"},
}


def speakers_of_folds(utterances):
    folds = collections.defaultdict(set)
    for utterance in utterances:
        folds[utterance.fold].add(utterance.speaker)
    return folds


@needs_emodb
def test_the_real_corpus(tmp_path):
    utterances = read(EMODB)
    assert len(utterances) == 535
    assert collections.Counter(u.label for u in utterances) == {
        "anger": 127,
        "boredom": 81,
        "disgust": 46,
        "fear": 69,
        "happiness": 71,
        "neutral": 79,
        "sadness": 62,
    }
    assert speakers_of_folds(utterances) == FOLDS
    assert all("recognised" in u.extra for u in utterances)
    assert utterances[0].extra["recognised"] == 0.9
    assert utterances[0].extra["naturalness"] == 0.75
    paths = prepare("emodb", EMODB, None, tmp_path, test_fold=1)
    data = {n: json.loads(p.read_text()) for n, p in paths.items()}
    assert sum(map(len, data.values())) == 535
    assert {e["speaker"] for e in data["test"].values()} == {"03", "12"}
    durations = [e["duration"] for d in data.values() for e in d.values()]
    assert 1.2 < min(durations) and max(durations) < 9.0


def test_a_small_corpus(tmp_path):
    utterances = read(write_emodb(tmp_path))
    assert len(utterances) == 70
    assert speakers_of_folds(utterances) == FOLDS
    first = utterances[0]
    assert (first.id, first.wav) == ("03a01Aa", "wav/03a01Aa.wav")
    assert (first.label, first.speaker) == ("fear", "03")
    assert first.extra == {
        "gender": "male",
        "sentence": "a01",
        "take": "a",
        "recognised": 0.65,
        "naturalness": 0.075,
    }
    genders = {u.speaker for u in utterances if u.extra["gender"] == "female"}
    assert genders == {"08", "09", "13", "14", "16"}
    assert (
        len(prepare("emodb", tmp_path, None, tmp_path / "m", 5, "speaker", 3))
        == 3
    )


def test_the_wav_folder_itself(tmp_path):
    above = read(write_emodb(tmp_path))
    below = read(tmp_path / "wav")
    assert below[0].wav == "03a01Aa.wav"
    assert [u.extra for u in below] == [u.extra for u in above]


def test_without_listeners(tmp_path):
    utterances = read(write_emodb(tmp_path, listeners=False))
    assert "recognised" not in utterances[0].extra


def test_other_files(tmp_path, caplog):
    write_emodb(tmp_path)
    (tmp_path / "wav" / "._03a01Aa.wav").write_bytes(b"\x00")
    write_wav(tmp_path / "wav" / "trial.wav")
    for path in (tmp_path / "wav").glob("09*.wav"):
        path.unlink()
    assert len(read(tmp_path)) == 63
    assert "not named like EmoDB's and are left out: trial.wav" in caplog.text
    assert "has no recording of 09" in caplog.text


def test_not_emodb(tmp_path):
    with pytest.raises(BadInput, match="nowhere does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is empty"):
        read(tmp_path)
    write_wav(tmp_path / "wav" / "x.wav")
    with pytest.raises(BadInput, match="is not EmoDB, .*: set data_folder"):
        read(tmp_path)
