"""The numbers of a study as JSON, CSV and Markdown."""

import collections
import pathlib

from modules.files import write_json, write_rows, write_text

_MEASURES = ("WA", "UA", "ECE", "neutral_recall", "mean_confidence")
_HEADS = ("WA", "UA", "ECE", "neutral found", "mean confidence")


def write_tables(folder: pathlib.Path, corpora: list, rows: list[dict]) -> str:
    """Write results.json, results.csv and results.md; return the last.

    Arguments
    ---------
    folder : pathlib.Path
        Output folder of the study.
    corpora : list of recipes.CROSS.shared_classes.Corpus
        What was read, and how much was left out.
    rows : list of dict
        A test each: system, trained, tested, adapted, utterances, classes and
        the measures, from 0 to 1.
    """
    facts = {corpus.name: describe_corpus(corpus) for corpus in corpora}
    write_json(folder / "results.json", {"corpora": facts, "rows": rows})
    write_rows(folder / "results.csv", rows)
    text = "\n".join([*_corpus_lines(facts), "", *format_rows(rows)])
    write_text(folder / "results.md", f"{text}\n")
    return text


def describe_corpus(corpus) -> dict:
    """Count the utterances of a corpus by class."""
    entries = corpus.entries.values()
    classes = collections.Counter(entry["label"] for entry in entries)
    return {
        "utterances": len(entries),
        "speakers": len({entry["speaker"] for entry in entries}),
        "classes": dict(sorted(classes.items())),
        "left_out": corpus.left_out,
    }


def _corpus_lines(facts):
    """Return a table of the corpora."""
    lines = [
        "| corpus | utterances | speakers | classes | left out |",
        "|---|---|---|---|---|",
    ]
    for name, own in facts.items():
        classes, left_out = (
            ", ".join(f"{label} {n}" for label, n in own[key].items())
            for key in ("classes", "left_out")
        )
        lines.append(
            f"| {name} | {own['utterances']} | {own['speakers']} | {classes} "
            f"| {left_out or 'none'} |"
        )
    return lines


def format_rows(rows: list[dict]) -> list[str]:
    """Return a Markdown table: a line a test, as it is and adapted.

    Example
    -------
    >>> row = {"system": "s", "trained": "A", "tested": "B", "utterances": 9}
    >>> row |= dict(WA=0.5, UA=0.4, ECE=0.1, mean_confidence=0.6)
    >>> row |= {"neutral_recall": None, "WA_interval": [0.45, 0.55]}
    >>> print(format_rows([row, row | {"ECE": 0.2}])[-1])
    | s | A | B | 9 | 50.0 (45 to 55) / 50.0 (45 to 55) | 40.0 / 40.0 | 10.0 / 20.0 | - | 60.0 / 60.0 |
    """
    heads = ("system", "trained on", "tested on", "utterances", *_HEADS)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for before, after in zip(rows[::2], rows[1::2]):
        cells = [
            before["system"],
            before["trained"],
            before["tested"],
            str(before["utterances"]),
        ]
        for measure in _MEASURES:
            values = [row[measure] for row in (before, after)]
            known = None not in values
            pair = " / ".join(
                _with_interval(row, measure) for row in (before, after) if known
            )
            cells.append(pair or "-")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _with_interval(row, measure):
    """Return a measure in percent, and its interval if there is one."""
    text = f"{row[measure]:.1%}"[:-1]
    interval = row.get(f"{measure}_interval")
    if interval:
        low, high = (100 * value for value in interval)
        text += f" ({low:.0f} to {high:.0f})"
    return text
