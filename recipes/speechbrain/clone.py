"""A clone of SpeechBrain: read, branch, edit by anchors, commit."""

import pathlib
import subprocess

from modules.errors import BadInput

# A file that every version of SpeechBrain has.
_VERSION_FILE = "speechbrain/version.txt"


class Clone:
    """A clean clone of SpeechBrain's develop.

    Arguments
    ---------
    folder : str or pathlib.Path
        The folder that `git clone` made.

    Raises
    ------
    BadInput
        If the folder is no clone of SpeechBrain or has changes.
    """

    def __init__(self, folder: str | pathlib.Path):
        self.folder = pathlib.Path(folder).resolve()
        remedy = "clone https://github.com/speechbrain/speechbrain first"
        if not (self.folder / _VERSION_FILE).is_file():
            raise BadInput(
                f"{folder} is not a clone of SpeechBrain, it has no "
                f"{_VERSION_FILE}: {remedy}"
            )
        if not (self.folder / ".git").exists():
            raise BadInput(f"{folder} is not a git repository: {remedy}")
        changes = self.git("status", "--porcelain").splitlines()
        if changes:
            raise BadInput(
                f"the clone {folder} has {len(changes)} change(s), the first "
                f"is '{changes[0].strip()}': commit or stash them first"
            )
        self.start = self.git("rev-parse", "HEAD")
        name = self.git("branch", "--show-current")
        self.back = [
            "switch",
            "--force",
            *([name] if name else ["--detach", self.start]),
        ]
        self.new_branch = None

    @property
    def version(self) -> str:
        """The version that the clone states."""
        return self.read(_VERSION_FILE).strip()

    def git(self, *arguments: str) -> str:
        """Run git in the clone and return its output.

        Raises
        ------
        BadInput
            If git fails.
        """
        result = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            capture_output=True,
            text=True,
        )
        if result.returncode:
            reason = (result.stderr or result.stdout).strip().split("\n")[0]
            raise BadInput(
                f"git {arguments[0]} failed in {self.folder} ({reason}): put "
                "that right and start the same command again"
            )
        return result.stdout.strip("\n")

    def branch(self, name: str):
        """Make a branch and switch to it.

        Raises
        ------
        BadInput
            If the clone has such a branch, or git has no name to commit with.
        """
        if self.git("branch", "--list", name):
            raise BadInput(
                f"the clone {self.folder} has a branch {name} already: "
                f"delete it with 'git branch -D {name}' first"
            )
        # Before minutes of checks, not after them.
        self.git("var", "GIT_COMMITTER_IDENT")
        self.git("switch", "--create", name)
        self.new_branch = name

    def restore(self):
        """Put the clone back as it was before `branch`."""
        if self.new_branch is None:
            return
        self.git("reset", "--quiet", "--hard", self.start)
        self.git("clean", "--quiet", "--force", "-d")
        self.git(*self.back)
        self.git("branch", "--quiet", "-D", self.new_branch)

    def read(self, path: str) -> str:
        """Return the text of a file.

        Raises
        ------
        BadInput
            If the clone has no such file.
        """
        try:
            return (self.folder / path).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise BadInput(
                f"this version of SpeechBrain has no file {path}: adapt "
                "recipes/speechbrain to it"
            ) from None

    def write(self, path: str, text: str):
        """Write a file, which may be new."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def append(self, path: str, text: str):
        """Append to a file, which must exist."""
        self.write(path, self.read(path) + text)

    def replace(self, path: str, anchor: str, text: str):
        """Replace a short text, which the file must have exactly once.

        Raises
        ------
        BadInput
            If the anchor is not there once: SpeechBrain has changed.
        """
        content = self.read(path)
        check_anchor(content, anchor, path)
        self.write(path, content.replace(anchor, text))

    def insert_before(self, path: str, anchor: str, text: str):
        """Insert text before an anchor; see `replace`."""
        self.replace(path, anchor, text + anchor)

    def insert_after(self, path: str, anchor: str, text: str):
        """Insert text after an anchor; see `replace`."""
        self.replace(path, anchor, anchor + text)

    def replace_between(self, path: str, first: str, last: str, text: str):
        """Replace everything from one anchor up to another one.

        The second anchor stays. See `replace` for what is refused.
        """
        content = self.read(path)
        check_anchor(content, first, path)
        before, rest = content.split(first)
        check_anchor(rest, last, path)
        self.write(path, before + text + rest[rest.index(last) :])

    def commit(self, message: str):
        """Commit all changes."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message", message)


def check_anchor(content: str, anchor: str, path: str):
    """Refuse an anchor that is not in a text exactly once.

    Raises
    ------
    BadInput
        With the anchor's text.
    """
    count = content.count(anchor)
    if count != 1:
        raise BadInput(
            f"this version of SpeechBrain has {anchor.strip()!r} {count} times "
            f"in {path}, not once: adapt recipes/speechbrain to it"
        )
