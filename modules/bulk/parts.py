"""The answers of a part: a Parquet file that proves what it is.

It is written beside and renamed. Its metadata has the digest of the plan (list,
model, settings) and of its own recordings, and how many rows there are; its
pages have checksums. A part is finished if this file verifies.
"""

import hashlib
import json
import os

from modules.bulk.plan import Plan
from modules.inference.formats import write_table
from modules.inference.predictor import Predictions
from modules.inference.records import Columns

_KEY = "emotion"


def write_part(
    plan: Plan,
    number: int,
    columns: Columns,
    found: Predictions,
    warned: list[str],
) -> None:
    """Write the answers of a part, whole or not at all.

    Arguments
    ---------
    plan : Plan
    number : int
        Of the part, from 0.
    columns : modules.inference.records.Columns
    found : Predictions
        A row per segment, a problem per recording without an answer.
    warned : list of str
        Warnings about recordings.
    """
    ends = {}
    for row in found.rows:
        key = row.file, row.channel
        ends[key] = max(ends.get(key, 0.0), row.end)
    distances = [r.distance for r in found.rows if r.distance is not None]
    facts = _identity(plan, number) | {
        "rows": len(found.rows) + len(found.problems),
        "failures": len(found.problems),
        "seconds": round(sum(ends.values()), 3),
        "distances": len(distances),
        "unlike": sum(distance > 1 for distance in distances),
        "warnings": sorted(set(warned)),
    }
    write_table(
        plan.path(number),
        ".parquet",
        columns,
        found.rows,
        found.problems,
        {_KEY: json.dumps(facts)},
    )


def read_part(plan: Plan, number: int) -> dict | None:
    """Return what the metadata of a finished part has, else None."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(
            plan.path(number), page_checksum_verification=True
        ) as file:
            facts = json.loads(file.metadata.metadata[_KEY.encode()])
            rows = sum(batch.num_rows for batch in file.iter_batches())
    except (OSError, ValueError, TypeError, KeyError, pyarrow.ArrowException):
        return None
    expected = _identity(plan, number) | {"rows": rows}
    is_right = all(facts.get(key) == expected[key] for key in expected)
    return facts if is_right else None


def _identity(plan, number):
    """Return what a part's file has to prove."""
    lines = plan.lines(number)
    return {
        "plan": plan.digest,
        "part": number,
        "list": hashlib.sha256(lines).hexdigest(),
        "recordings": lines.count(b"\n"),
    }


def check_part(plan: Plan, number: int) -> dict | None:
    """Return `read_part`; remove a file that does not verify."""
    path = plan.path(number)
    if not path.exists():
        return None
    facts = read_part(plan, number)
    if facts is None:
        os.unlink(path)
    return facts
