"""The warning that recordings are unlike those of the training."""

from modules.inference.predictor import Row

_FEW = 5


def warn_of_unlike(rows: list[Row], is_cut: bool = False) -> str | None:
    """Return a sentence if recordings as a whole are unlike the training.

    Arguments
    ---------
    rows : list of modules.inference.predictor.Row
        Answers of a model that is not adapted; the distance of a recording in
        several rows is their mean.
    is_cut : bool
        Whether rows are parts of recordings: short ones are unlike, too.

    Returns
    -------
    warning : str
        If more than half of the recordings, or all of fewer than 5, have a
        distance above 1. 5% of the recordings of unseen speakers of the
        training's corpus have one. None: they do not, or nothing is known.

    Example
    -------
    >>> far = [Row(f"{i}.wav", 0.0, 1.0, None, distance=2.0) for i in range(3)]
    >>> warn_of_unlike(far)[:52]
    '3 of 3 recordings are unlike those that the model wa'
    >>> warn_of_unlike([*far, Row("near.wav", 0.0, 1.0, None, distance=0.5)])
    """
    distances = {}
    for row in rows:
        if row.distance is not None:
            distances.setdefault(row.file, []).append(row.distance)
    count = len(distances)
    beyond = sum(sum(d) / len(d) > 1 for d in distances.values())
    if not beyond or 2 * beyond <= count or (count < _FEW and beyond < count):
        return None
    longer = (
        "give longer parts, which are more like them, or " if is_cut else ""
    )
    return (
        f"{beyond} of {count} recordings are unlike those that the model was "
        "trained on (distance above 1), so that its answers are less often "
        f"right than their probabilities: {longer}add --adapt, which estimates "
        "the standardisation again on your recordings"
    )
