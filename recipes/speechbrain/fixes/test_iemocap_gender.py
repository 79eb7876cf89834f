"""Who speaks is read from the last part of an IEMOCAP utterance's name.

SpeechBrain gets this as a file of its own tests.
"""

import importlib.util
import os

import pytest

UTTERANCES = {
    "Ses01F_impro01_F000": "F",
    "Ses01F_impro01_M000": "M",
    "Ses05M_impro05a_F003": "F",
    "Ses05M_impro05a_M003": "M",
    "Ses01F_script01_1_F000": "F",
    "Ses01F_script01_1_M000": "M",
    "Ses05M_script01_1b_F010": "F",
    "Ses05M_script01_1b_M010": "M",
}


@pytest.mark.parametrize("folder", ["", "emotion_recognition"])
def test_speaker_of_an_utterance(folder, tmp_path):
    path = os.path.join("recipes", "IEMOCAP", folder, "iemocap_prepare.py")
    spec = importlib.util.spec_from_file_location("iemocap_prepare", path)
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)

    labels = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
    labels.mkdir(parents=True)
    for name in UTTERANCES:
        dialogue = name.rpartition("_")[0]
        line = f"[0.1000 - 1.2000]\t{name}\tneu\t[2.5000, 2.5000, 2.5000]\n"
        with open(
            labels / f"{dialogue}.txt", "a", encoding="utf-8"
        ) as label_file:
            label_file.write(line)

    utterances = prepare.load_session(str(tmp_path / "Session1"))
    found = {
        os.path.basename(path)[: -len(".wav")]: gender
        for path, _, gender in utterances
    }
    assert found == UTTERANCES
