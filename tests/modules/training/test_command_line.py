"""A command line is refused before the imports that take seconds."""

import pytest
from speechbrain.utils.run_opts import RunOptions

from modules.errors import BadInput
from modules.training.command_line import (
    RUN_OPTIONS,
    SWITCHES,
    check_command_line,
)

FILE = "hparams/recommended.yaml"


def test_run_options_are_those_of_speechbrain():
    options = RunOptions().as_dict()
    assert RUN_OPTIONS == set(options)
    assert SWITCHES == {k for k, v in options.items() if isinstance(v, bool)}


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "the first argument must be"),
        ([FILE, "--sed=3"], "unknown key --sed: did you mean --seed"),
        ([FILE, "--seed=3", "--seed", "4"], "given twice"),
        ([FILE, "--data_folder=/nowhere"], "/nowhere does not exist"),
        ([FILE, "--data_folder", "/nowhere"], "/nowhere does not exist"),
        (["no.yaml"], "cannot be read"),
    ],
)
def test_refused(arguments, words):
    with pytest.raises(BadInput, match=words):
        check_command_line(arguments)


def test_accepted(tmp_path):
    check_command_line(
        [FILE, f"--data_folder={tmp_path}", "--debug", "--debug"]
    )
    check_command_line([FILE])
