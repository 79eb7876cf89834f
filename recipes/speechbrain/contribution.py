"""The contribution: a pooling, a recipe, an option, a test, a row."""

from recipes.speechbrain.clone import Clone
from recipes.speechbrain.pooling_block import pooling_block
from recipes.speechbrain.snippets import definitions, text

BRANCH = "correlation-pooling"
TITLE = "IEMOCAP: attentive correlation pooling on frozen encoders"

POOLING = "speechbrain/nnet/pooling.py"
UNIT_TEST = "tests/unittests/test_pooling.py"
RECIPE = "recipes/IEMOCAP/emotion_recognition"
SCRIPT = f"{RECIPE}/train_with_correlation.py"
YAML = f"{RECIPE}/hparams/train_with_correlation.yaml"
# SpeechBrain keeps two equal copies.
PREPARES = (
    "recipes/IEMOCAP/iemocap_prepare.py",
    f"{RECIPE}/iemocap_prepare.py",
)
README = "recipes/IEMOCAP/README.md"
ROWS = "tests/recipes/IEMOCAP.csv"

OPTION = """    test_session : int
        Session of the test set, from 1 to 5; the validation set is a random
        fifth of the other four. If given, split_ratio, different_speakers and
        test_spk_id are not used.
"""
BRANCHING = """    if test_session is not None:
        data_split = split_session(speaker_dict, test_session, seed)
    elif different_speakers:
"""


def write_contribution(clone: Clone):
    """Write the contribution into a clone.

    Arguments
    ---------
    clone : Clone
        On the branch that gets it.

    Raises
    ------
    BadInput
        If an anchor is not there: SpeechBrain has changed.
    """
    clone.append(POOLING, pooling_block())
    clone.append(UNIT_TEST, "\n\n" + definitions("templates/test_pooling.py"))
    clone.write(SCRIPT, text("templates/train_with_correlation.py"))
    clone.write(YAML, text("templates/train_with_correlation.yml"))
    for path in PREPARES:
        add_test_session(clone, path)
    clone.insert_before(
        README, "# Training Time\n", text("templates/readme_section.md")
    )
    clone.append(ROWS, text("templates/recipe_row.csv"))


def add_test_session(clone: Clone, path: str):
    """Add the option `test_session` to a copy of iemocap_prepare.py."""
    clone.replace(
        path, "    seed=12,\n):", "    seed=12,\n    test_session=None,\n):"
    )
    clone.insert_after(path, "        Seed for reproducibility\n", OPTION)
    clone.replace(path, "    if different_speakers:\n", BRANCHING)
    clone.insert_before(
        path,
        "def split_sets(",
        definitions("templates/split_session.py") + "\n\n",
    )


def what_is_empty() -> list[str]:
    """Return what somebody has to fill in before the merge."""
    return [
        "Result_url: folder with the logs of five sessions, in the row of "
        f"{ROWS} and in {README}",
        "HF_repo: pretrained model, in the same places",
        f"figures: test accuracy, GPU and time in {README}, performance in "
        f"{ROWS}; they need IEMOCAP and its licence",
        f"Authors: in {SCRIPT} and {POOLING}",
    ]
