"""Every seed, and every input that fuzzing once found, ends as it should."""

import pytest

from modules.errors import BadInput
from tests.fuzz.targets import SEEDS, TARGETS

INPUTS = sorted(path for path in SEEDS.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_an_answer_or_one_sentence(path):
    try:
        TARGETS[path.parent.name](path.read_bytes())
    except BadInput as problem:
        assert len(str(problem).splitlines()) == 1


def test_every_target_has_seeds():
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
