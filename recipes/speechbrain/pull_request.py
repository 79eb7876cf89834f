"""The text of a pull request, in SpeechBrain's template."""

import pathlib
import re

from modules.errors import BadInput
from recipes.speechbrain.clone import Clone, check_anchor
from recipes.speechbrain.snippets import text

TEMPLATE = ".github/pull_request_template.md"
_HEADING = "## What does this PR do?\n"
_ISSUE = "Fixes #<issue_number>\n"


def pull_request_text(clone: Clone, name: str, title: str) -> str:
    """Fill in the template of the clone.

    The boxes of its checklists stay empty: who opens the pull request ticks
    them.

    Arguments
    ---------
    clone : Clone
        Has the template.
    name : str
        Of our text, in `texts`.
    title : str
        The first line.

    Returns
    -------
    str
        Title and text, in Markdown.

    Raises
    ------
    BadInput
        If the template has changed.
    """
    template = clone.read(TEMPLATE)
    for anchor in (_HEADING, _ISSUE):
        check_anchor(template, anchor, TEMPLATE)
    # Hints for the writer.
    template = re.sub(r"<!--.*?-->\n*", "", template, flags=re.DOTALL)
    template = template.replace(_ISSUE, "")
    summary = text(f"texts/{name}.md").strip()
    filled = template.replace(_HEADING, f"{_HEADING}\n{summary}\n")
    return f"{title}\n\n{re.sub(chr(10) + '{3,}', chr(10) * 2, filled)}"


def write_pull_request(clone: Clone, name: str, title: str) -> pathlib.Path:
    """Write the text where it is no change of the clone: into .git.

    Returns
    -------
    pathlib.Path
        The file.
    """
    folder = clone.folder / clone.git("rev-parse", "--git-dir")
    path = folder / f"pull_request_{name}.md"
    try:
        path.write_text(pull_request_text(clone, name, title), encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written ({error.strerror}): make room or "
            "correct its permissions"
        ) from error
    return path
