"""Bad input ends in one sentence and a status, without a traceback."""

import errno

import pytest

from modules.errors import BadInput, one_sentence


@pytest.mark.parametrize(
    "problem, status, words",
    [
        (BadInput("a.wav is empty: record it again"), 2, "error: a.wav is"),
        (
            OSError(errno.ENOSPC, "full", "x.ckpt"),
            2,
            "x.ckpt cannot be used (no space left on device): make room",
        ),
        (KeyboardInterrupt(), 130, "goes on where this one stopped"),
    ],
)
def test_one_sentence_and_a_status(problem, status, words, capsys):
    with pytest.raises(SystemExit) as stopped, one_sentence():
        raise problem
    message = capsys.readouterr().err
    assert stopped.value.code == status and words in message
    assert len(message.strip().splitlines()) == 1


@pytest.mark.parametrize("defect", [ZeroDivisionError, FileNotFoundError])
def test_a_defect_of_this_repository_keeps_its_traceback(defect):
    with pytest.raises(defect), one_sentence():
        raise defect
