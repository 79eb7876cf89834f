"""What the files of a finished run must contain to be read."""


def wrong_rows(rows: list[dict], labels: list[str]) -> str | None:
    """Return what is wrong with the rows of predictions, or None."""
    if not rows:
        return "it has no rows"
    columns = ["utterance", "speaker", "truth", "prediction", *labels]
    for row in rows:
        if list(row) != columns or None in row.values():
            return "its columns are not those of a run"
        for key in ("truth", "prediction"):
            if row[key] not in labels:
                return f"its {key} {row[key]!r:.40} is no label of the run"
        for label in labels:
            if not _is_probability(row[label]):
                return f"{row[label]!r:.40} is no probability of {label}"
    return None


def _is_probability(text):
    """Return whether a value is a number from 0 to 1."""
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def wrong_results(results: dict) -> str | None:
    """Return what is wrong with the contents of results.json, or None."""
    labels = results.get("labels")
    if not isinstance(labels, list) or not labels:
        return "it has no labels"
    if not all(isinstance(label, str) for label in labels):
        return "its labels are no texts"
    for key in ("WA", "UA", "macro_f1", "dev_WA"):
        value = results.get(key)
        if value is None and key == "dev_WA":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"it has no {key}"
        if not 0 <= value <= 1:
            return f"{key} is {value}"
    rows = results.get("confusion")
    if not isinstance(rows, list) or [
        len(row) if isinstance(row, list) else -1 for row in rows
    ] != [len(labels)] * len(labels):
        return "its confusion does not have a row per label"
    if not all(type(n) is int and n >= 0 for row in rows for n in row):
        return "its confusion contains what is no count"
    recall = results.get("recall")
    if not isinstance(recall, dict) or set(recall) != set(labels):
        return "its recall does not have a value per label"
    weights = results.get("layer_weights")
    if weights is not None and not (
        isinstance(weights, list)
        and all(isinstance(weight, int | float) for weight in weights)
    ):
        return "its layer_weights are no numbers"
    return None
