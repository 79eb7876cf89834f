"""Speech and speakers' turns: where a recording is cut."""

import numpy as np
import pytest
import soundfile
from exported_models import spoken

from modules.decoding import AudioWarning, Header
from modules.errors import BadInput
from modules.inference.recordings import Part
from modules.inference.turns import (
    check_turns,
    cut_into_speech,
    cut_into_turns,
    read_rttm,
)

RTTM = """\
;; a comment
SPEAKER a 1 2.00 1.50 <NA> <NA> Ann <NA> <NA>
SPEAKER a 1 0.50 1.00 <NA> <NA> Bob <NA> <NA>
SPEAKER a 2 3.00 0.05 <NA> <NA> Bob <NA> <NA>
SPKR-INFO a 1 <NA> <NA> <NA> unknown Ann <NA> <NA>
"""


@pytest.fixture
def rttm(tmp_path):
    path = tmp_path / "x.rttm"
    path.write_text(RTTM)
    return str(path)


def test_turns_are_parts_with_a_speaker(rttm):
    turns = read_rttm(rttm)
    check_turns(rttm, turns, ["b.wav", "x/a.wav"])
    header = Header(4 * 8000, 8000, 2)
    with pytest.warns(AudioWarning, match="1 turns of x/a.wav are left out"):
        parts = cut_into_turns(rttm, turns)("x/a.wav", header, "mean")
    assert parts == [Part(4000, 12000, "Bob"), Part(16000, 28000, "Ann")]
    with pytest.warns(AudioWarning):
        parts = cut_into_turns(rttm, turns, 1.0, 0.5)("a", header, "mean")
    assert parts[1:] == [
        Part(16000, 24000, "Ann"),
        Part(20000, 28000, "Ann"),
    ]
    with pytest.raises(BadInput, match="no turn of 100 ms or more"):
        cut_into_turns(rttm, turns)("a.wav", header, 1)


def test_bad_rttm_files_are_one_sentence(rttm, tmp_path):
    turns = read_rttm(rttm)
    with pytest.raises(BadInput, match="first recording is 'b'"):
        check_turns(rttm, turns, ["b.wav"])
    cutter = cut_into_turns(rttm, turns)
    with pytest.raises(BadInput, match="has no turn of b.wav"):
        cutter("b.wav", Header(32000, 8000, 1), "mean")
    with pytest.raises(BadInput, match="ends at 3.50 s, after the recording"):
        cutter("a.wav", Header(3 * 8000, 8000, 1), "mean")
    for content, words in [
        ("", "has no line SPEAKER"),
        ("SPEAKER a 1 x 1 <NA> <NA> A", "line 1, is no turn"),
        ("SPEAKER a 1 1 -2 <NA> <NA> A", "line 1, is no turn"),
        ("SPEAKER a 1 nan 1 <NA> <NA> A", "line 1, is no turn"),
        ("SPEAKER a 1 1 1 <NA> <NA>", "line 1, is no turn"),
    ]:
        path = tmp_path / "bad.rttm"
        path.write_text(content)
        with pytest.raises(BadInput, match=words):
            read_rttm(str(path))
    with pytest.raises(BadInput, match="cannot be read"):
        read_rttm(str(tmp_path))


def speech_and_silence(rate):
    """Return 1 s of silence, synthetic speech, 2 s of silence, speech."""
    pytest.importorskip("espeakng_loader")
    import torch

    from modules.audio import resample
    from modules.speech_synthesis import Espeak

    with Espeak() as espeak:
        speech = espeak.speak(
            "en-us", "This is a sentence.", (50, 50, 160, 100)
        )
        own = espeak.sample_rate
    speech = torch.from_numpy(speech / 32768.0).float()[:, None]
    speech = resample(speech, own)[:, 0].numpy()
    speech = np.repeat(speech, rate // 16000)
    gap = np.zeros(rate)
    parts = [gap, speech, gap, gap, speech, gap]
    return np.concatenate(parts), len(speech)


def test_vad_finds_the_speech_at_any_rate(tmp_path):
    pytest.importorskip("silero_vad")
    pytest.importorskip("onnxruntime")
    found = {}
    for rate in (16000, 48000):
        wave, length = speech_and_silence(rate)
        path = str(tmp_path / f"{rate}.wav")
        soundfile.write(path, wave, rate)
        header = Header(len(wave), rate, 1)
        parts = cut_into_speech()(path, header, "mean")
        assert len(parts) == 2
        for part, start in zip(parts, [rate, 3 * rate + length]):
            # Within a quarter of a second: the detector pads its answer.
            assert abs(part.start - start) < 0.25 * rate
            assert abs(part.stop - start - length) < 0.4 * rate
        shorter = cut_into_speech(0.5)(path, header, "mean")
        assert max(p.stop - p.start for p in shorter) <= 0.5 * rate + 1
        found[rate] = parts
    soundfile.write(path, spoken(2) * 0, 16000)
    with pytest.raises(BadInput, match="no speech that the detector finds"):
        cut_into_speech()(path, Header(32000, 16000, 1), "mean")
