"""Answers as a database in audformat: audeering.github.io/audformat."""

from modules.errors import BadInput
from modules.files import write_whole
from modules.inference.formats import plain
from modules.inference.records import UNKNOWN

SUFFIX = ".audformat"
TABLE = "emotion"


def check_audformat() -> None:
    """Refuse audformat where its package is not installed.

    Raises
    ------
    BadInput
        Naming it.
    """
    try:
        import audformat  # noqa: F401
    except ImportError as problem:
        raise BadInput(
            "--output *.audformat needs audformat: pip install audformat, or "
            "choose another format"
        ) from problem


def write_audformat(folder, columns, rows) -> None:
    """Write a database with a segmented table, whole or not at all.

    Arguments
    ---------
    folder : str or pathlib.Path
        A new folder.
    columns : modules.inference.records.Columns
        Makes records.
    rows : list of modules.inference.predictor.Row
        Answers; the table has their columns but file, start and end, which
        are its index.

    Raises
    ------
    BadInput
        If there is something in the folder.
    """
    import audformat

    records = [columns.record(row) for row in rows]
    database = audformat.Database(
        "predictions", description="Emotions recognised by a model."
    )
    found = {record["emotion"] for record in records}
    more = [UNKNOWN] if UNKNOWN in found - set(columns.labels) else []
    scheme = audformat.Scheme(labels=[*columns.labels, *more])
    database.schemes["emotion"] = scheme
    kinds = {"probability": "float", "text": "str"}
    for name, kind in kinds.items():
        database.schemes[name] = audformat.Scheme(kind)
    index = audformat.segmented_index(
        [plain(record["file"]) for record in records],
        [f"{record['start']}s" for record in records],
        [f"{record['end']}s" for record in records],
    )
    table = database[TABLE] = audformat.Table(index)
    for name in columns.names:
        if name in ("file", "start", "end", "problem"):
            continue
        scheme = "text"
        if name not in columns.of_list:
            scheme = "probability" if name.startswith("p_") else scheme
            scheme = "emotion" if name == "emotion" else scheme
        values = [record.get(name) for record in records]
        if scheme == "text":
            values = [None if v is None else plain(str(v)) for v in values]
        table[name] = audformat.Column(scheme_id=scheme)
        table[name].set(values)
    write_whole(
        folder, lambda new: database.save(str(new), storage_format="csv")
    )
