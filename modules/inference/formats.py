"""What was heard, as tables for the terminal and for files."""

import csv
import io
import json


def format_table(rows, labels):
    """Return a table for the terminal: all probabilities."""
    width = max([4, *(len(row[0]) for row in rows)])
    columns = [max(7, len(label) + 1) for label in labels]
    emotion = max(8, *(len(label) + 1 for label in labels))
    lines = [
        "file".ljust(width)
        + "from".rjust(9)
        + "to".rjust(9)
        + "emotion".rjust(emotion + 1)
        + "".join(label.rjust(w) for label, w in zip(labels, columns))
    ]
    for file, start, end, scores in rows:
        lines.append(
            file.ljust(width)
            + f"{start:9.2f}{end:9.2f}"
            + labels[int(scores.argmax())].rjust(emotion + 1)
            + "".join(
                f"{p:.3f}".rjust(w)
                for p, w in zip(scores.exp().tolist(), columns)
            )
        )
    return "\n".join(lines)


def format_output(rows, labels, suffix):
    """Return the text of a .csv or .jsonl file.

    The columns are file, start, end, emotion and one probability per class.
    """
    records = [
        {"file": file, "start": round(start, 3), "end": round(end, 3)}
        | {"emotion": labels[int(scores.argmax())]}
        | {f"p_{k}": round(p, 6) for k, p in zip(labels, scores.exp().tolist())}
        for file, start, end, scores in rows
    ]
    if suffix == ".jsonl":
        return "".join(
            json.dumps(record, ensure_ascii=False) + "\n" for record in records
        )
    text = io.StringIO()
    names = ["file", "start", "end", "emotion", *(f"p_{k}" for k in labels)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
