"""Which of EmoBox's corpora share speakers between train and test.

python -m recipes.EMOBOX.leaks EMOBOX/data [--output_folder results/emobox]

EMOBOX is a copy of https://github.com/emo-box/EmoBox. Its lists name no
speakers: `speakers.yaml` finds them in the names of the files. The lists with
speakers go into the output folder, so that `python -m data_prep.audit` shows
each by itself.
"""

import argparse
import json
import pathlib
import re
import sys

import yaml

from data_prep.audit import audit
from modules.errors import BadInput, one_sentence, using
from modules.files import write_json, write_rows

SPEAKERS = pathlib.Path(__file__).with_name("data") / "speakers.yaml"


def add_speakers(path: pathlib.Path, pattern: str | None) -> list[dict]:
    """Return the rows of a list of EmoBox, path and speaker.

    Arguments
    ---------
    path : pathlib.Path
        JSON lines.
    pattern : str
        Its groups, joined, are the speaker; None: no name has one.

    Raises
    ------
    BadInput
        If it is no such list, or a name does not have the pattern.
    """
    rows = []
    try:
        for line in filter(None, path.read_text(encoding="utf-8").split("\n")):
            rows.append({"path": json.loads(line)["wav"]})
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BadInput(
            f"{path} is no list of EmoBox ({problem!s:.60}): give the folder "
            "data of its repository"
        ) from problem
    for row in rows if pattern else []:
        match = re.search(pattern, row["path"])
        if match is None:
            raise BadInput(
                f"{path}: {row['path']} has no speaker in its name: correct "
                "recipes/EMOBOX/data/speakers.yaml"
            )
        row["speaker"] = "".join(match.groups())
    return rows


def count_leaks(folder: pathlib.Path, target: pathlib.Path) -> list[dict]:
    """Audit all folds of all corpora; return a row for each corpus.

    Arguments
    ---------
    folder : pathlib.Path
        ``data`` of EmoBox.
    target : pathlib.Path
        Where the lists with speakers go.

    Returns
    -------
    rows : list of dict
        corpus, folds, speakers, shared_folds (folds that share one), shared
        (speakers that are in train and test of a fold), recordings (shared);
        None where names have no speakers.
    """
    patterns = yaml.safe_load(SPEAKERS.read_text(encoding="utf-8"))
    found = []
    for corpus in sorted(path for path in folder.iterdir() if path.is_dir()):
        tests = sorted(corpus.glob(f"fold_*/{corpus.name}_test_fold_*.jsonl"))
        if not all(_train_of(test).is_file() for test in tests):
            print(f"{corpus.name}: no list of train, left out", file=sys.stderr)
        elif tests:
            pattern = patterns.get(corpus.name)
            found.append(_audit_corpus(corpus, tests, pattern, target))
    if not found:
        raise BadInput(
            f"{folder} has no lists of EmoBox: give the folder data of a copy "
            "of its repository"
        )
    return found


def _train_of(test):
    """Return the path of the training list of a test list."""
    return test.with_name(test.name.replace("_test_", "_train_"))


def _audit_corpus(corpus, tests, pattern, target):
    """Audit the folds of one corpus."""
    speakers, shared, shared_folds, recordings = set(), set(), 0, 0
    for test in tests:
        lists = []
        for source in (_train_of(test), test):
            rows = add_speakers(source, pattern)
            speakers |= {row.get("speaker") for row in rows}
            path = target / corpus.name / f"{source.stem}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_rows(path, rows)
            lists.append(path)
        overlaps = {overlap.kind: overlap for overlap in audit(*lists)}
        recordings += len(overlaps["recordings"].shared)
        if pattern:
            own = {name for name, _ in overlaps["speakers"].shared}
            shared |= own
            shared_folds += bool(own)
    known = pattern is not None
    return {
        "corpus": corpus.name,
        "folds": len(tests),
        "speakers": len(speakers) if known else None,
        "shared_folds": shared_folds if known else None,
        "shared": len(shared) if known else None,
        "recordings": recordings,
    }


def format_leaks(rows: list[dict]) -> str:
    """Return a Markdown table and a sentence.

    Example
    -------
    >>> row = {"corpus": "a", "folds": 5, "speakers": 9, "shared_folds": 5}
    >>> print(format_leaks([row | {"shared": 9, "recordings": 0}]))
    | corpus | folds | speakers | shared | folds that share | recordings shared |
    |---|---|---|---|---|---|
    | a | 5 | 9 | 9 | 5 | 0 |
    <BLANKLINE>
    1 of 1 corpora of several speakers share speakers between train and test.
    """
    keys = (
        "corpus",
        "folds",
        "speakers",
        "shared",
        "shared_folds",
        "recordings",
    )
    lines = [
        "| corpus | folds | speakers | shared | folds that share "
        "| recordings shared |",
        "|---" * len(keys) + "|",
    ]
    for row in rows:
        cells = ["-" if row[key] is None else str(row[key]) for key in keys]
        lines.append(f"| {' | '.join(cells)} |")
    several = [row for row in rows if (row["speakers"] or 0) > 1]
    sharing = sum(bool(row["shared"]) for row in several)
    sentence = (
        f"{sharing} of {len(several)} corpora of several speakers share "
        "speakers between train and test."
    )
    return "\n".join([*lines, "", sentence])


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.EMOBOX.leaks",
        description="Count the speakers that EmoBox's train and test share.",
    )
    parser.add_argument("folder", type=pathlib.Path, help="EmoBox's data")
    parser.add_argument(
        "--output_folder", type=pathlib.Path, default="results/emobox"
    )
    options = parser.parse_args(arguments)
    target = pathlib.Path(options.output_folder)
    with one_sentence(), using(target):
        if not options.folder.is_dir():
            raise BadInput(
                f"{options.folder} is no folder: give the folder data of a "
                "copy of EmoBox's repository"
            )
        rows = count_leaks(options.folder, target)
        write_json(target / "leaks.json", {"corpora": rows})
        print(format_leaks(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
