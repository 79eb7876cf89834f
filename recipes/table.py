#!/usr/bin/env python3
"""Print a table of finished runs: mean (std) over folds.

    python recipes/table.py results/emodb_table

Every folder that holds fold folders with a results.json is a row.
"""

import collections
import json
import pathlib
import statistics
import sys


def read_rows(folder):
    """Return the results of the folds by system folder."""
    rows = collections.defaultdict(list)
    for path in sorted(pathlib.Path(folder).glob("**/fold_*/**/results.json")):
        parts = path.relative_to(folder).parts
        fold = next(i for i, part in enumerate(parts) if "fold_" in part)
        system = "/".join(parts[:fold])
        results = json.loads(path.read_text(encoding="utf-8"))
        rows[system].append(results)
        if "all_layers" in results:  # nothing chosen on dev; see floor.py
            plain = results | results["all_layers"] | {"dev_WA": None}
            rows[f"{system}, all layers"].append(plain)
    return rows


def mean_std(values):
    """Return "mean (std)" in percent; the sample deviation over folds."""
    if None in values:
        return "-"
    values = [100 * value for value in values]
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.1f} ({spread:.1f})"


def main(folder):
    """Print the table in Markdown."""
    print("| system | folds | seeds | WA | UA | macro-F1 | dev WA |")
    print("|---|---|---|---|---|---|---|")
    for system, folds in read_rows(folder).items():
        cells = [
            system,
            ",".join(str(r["test_fold"]) for r in folds),
            ",".join(sorted({str(r["seed"]) for r in folds})),
            *(
                mean_std([r[key] for r in folds])
                for key in ("WA", "UA", "macro_f1", "dev_WA")
            ),
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
