"""Predictions as tables for the terminal and for files."""

import csv
import io
import json

# What makes a spreadsheet take a cell for a formula, and the mark itself.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def format_table(rows, labels: list[str]) -> str:
    """Return a table for the terminal: all probabilities.

    Arguments
    ---------
    rows : list of modules.inference.predictor.Row
        At least one.
    labels : list of str
        Names of the classes.
    """
    has_channels = any(row.channel is not None for row in rows)
    names = ["file", *["channel"] * has_channels]
    lines = [[*names, "from", "to", "emotion", *labels]]
    for row in rows:
        lines.append(
            [
                row.file,
                *[row.channel] * has_channels,
                f"{row.start:.2f}",
                f"{row.end:.2f}",
                labels[int(row.log_probabilities.argmax())],
                *(f"{p:.3f}" for p in row.log_probabilities.exp().tolist()),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        )
        for line in lines
    )


def format_output(rows, problems, labels: list[str], suffix: str) -> str:
    r"""Return the text of a .csv or .jsonl file.

    The columns are file, channel where each channel is classified, start,
    end, emotion, one probability per class, and problem for an input without
    an answer.

    In CSV a cell that begins with = + - @ ' or a control character has an
    apostrophe in front, since a spreadsheet would execute it as a formula:
    remove one apostrophe to read the value back. Bytes of a name that are not
    UTF-8 are written as \udcxx, which JSON reads back exactly.

    Arguments
    ---------
    rows : list of modules.inference.predictor.Row
        Answers.
    problems : list of modules.inference.recordings.Problem
        Inputs without an answer.
    labels : list of str
        Names of the classes.
    suffix : str
        ".csv" or ".jsonl".
    """
    records = [_record(row, labels) for row in rows]
    records += [
        {"file": file, "channel": channel, "problem": sentence}
        for file, channel, sentence in problems
    ]
    if all(record["channel"] is None for record in records):
        for record in records:
            del record["channel"]
    write = _as_json_lines if suffix == ".jsonl" else _as_csv
    text = write(records, labels)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _record(row, labels):
    """Return a row as name -> value."""
    scores = row.log_probabilities
    return {
        "file": row.file,
        "channel": row.channel,
        "start": round(row.start, 3),
        "end": round(row.end, 3),
        "emotion": labels[int(scores.argmax())],
    } | {f"p_{k}": round(p, 6) for k, p in zip(labels, scores.exp().tolist())}


def _as_json_lines(records, labels):
    """Return a line per record, exact."""
    return "".join(
        json.dumps(record, ensure_ascii=False) + "\n" for record in records
    )


def _as_csv(records, labels):
    """Return a table, safe in spreadsheets."""
    text = io.StringIO()
    names = ["file", "channel", "start", "end", "emotion"]
    names += [*(f"p_{label}" for label in labels), "problem"]
    if not any("channel" in record for record in records):
        names.remove("channel")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({k: _safe_cell(v) for k, v in record.items()})
    return text.getvalue()


def _safe_cell(value):
    """Return a cell that no spreadsheet executes."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
