"""One answer as plain values: the only place where a row of output is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modules.errors import BadInput

if TYPE_CHECKING:  # predict.py --help does not wait for PyTorch
    import torch

# A list's own column gets this in front where an answer has such a column.
_OF_LIST = "list_"
_START = ("file", "channel", "speaker", "start", "end", "emotion")
PROBLEM = "problem"
RECORDINGS = "recordings"
# The answer where no class is probable enough.
UNKNOWN = "unknown"
RESTRICTED = (
    "the threshold of --min_precision is that of all classes: leave out "
    "--labels"
)
DISTANCE = "distance"


class Row(NamedTuple):
    """The answer for a recording, a segment or a channel of one.

    Attributes
    ----------
    file : str
        The recording.
    start, end : float
        Seconds.
    log_probabilities : torch.Tensor
        [classes].
    channel : str
        "left", "right" or a number from 1, where each is classified.
    speaker : str
        Whose turn it is, where turns are given.
    embedding : torch.Tensor
        [values], where embeddings are wanted.
    distance : float
        From the recordings of the training, see `modules.models.distance`;
        None: the model has none.
    is_known : bool
        Whether the highest probability is high enough for an answer.
    recordings : int
        How many were summarised by a column of a list.
    """

    file: str
    start: float
    end: float
    log_probabilities: torch.Tensor
    channel: str | None = None
    speaker: str | None = None
    embedding: torch.Tensor | None = None
    distance: float | None = None
    is_known: bool = True
    recordings: int | None = None


def emotion_of(row: Row, labels: list[str]) -> str:
    """Return the name of the most probable class, or `UNKNOWN`."""
    if not row.is_known:
        return UNKNOWN
    return labels[int(row.log_probabilities.argmax())]


def known_or_unknown(label: str, probability: float, threshold: float) -> str:
    """Return a class, or `UNKNOWN` if it is less probable than a threshold.

    Example
    -------
    >>> known_or_unknown("anger", 0.7, 0.8)
    'unknown'
    """
    return label if probability >= threshold else UNKNOWN


def reject(rows: list[Row], threshold: float) -> list[Row]:
    """Return rows of which those below a threshold are unknown.

    Arguments
    ---------
    rows : list of Row
        Answers.
    threshold : float
        Of the highest probability; 0: none is unknown.
    """
    return [
        row._replace(
            is_known=row.log_probabilities.max().exp().item() >= threshold
        )
        for row in rows
    ]


class Columns:
    """The columns of a table of answers, known before there is an answer.

    Arguments
    ---------
    labels : list of str
        Names of the classes.
    has_channels, has_speakers : bool
        Whether rows have a channel or a speaker.
    listed : dict
        File -> (column -> value) of a list, whose columns are kept.
    by : str
        Column of a list by which rows are summarised, see `summarise_by`: it
        takes the place of file, and seconds that of start and end. Like any
        column of the list, it is renamed where an answer has such a column.
    """

    def __init__(
        self,
        labels: list[str],
        has_channels: bool = False,
        has_speakers: bool = False,
        listed: dict[str, dict] | None = None,
        by: str | None = None,
    ):
        self.labels, self.listed = labels, listed or {}
        left_out = {"channel"} if not has_channels else set()
        left_out |= {"speaker"} if not has_speakers else set()
        self.names = [name for name in _START if name not in left_out]
        if by is not None:
            self.names = ["seconds", "emotion"]
        self.names += [f"p_{label}" for label in labels]
        self.names += [DISTANCE, PROBLEM]
        self.by = None
        if by is not None:
            self.names.append(RECORDINGS)
            self.by = self._vacant(by)
            self.names.insert(0, self.by)
        self._own = frozenset(self.names)
        kept = dict.fromkeys(n for v in self.listed.values() for n in v)
        self._renamed = {}
        for name in kept:
            self._renamed[name] = self._vacant(name)
            self.names.append(self._renamed[name])

    def _vacant(self, name):
        """Return the name of a list's column in the output."""
        while name in self.names:
            name = _OF_LIST + name
        return name

    @property
    def of_list(self) -> list[str]:
        """The columns of the list, as they are named in the output."""
        return list(self._renamed.values())

    def record(self, row: Row) -> dict:
        """Return an answer as column -> value."""
        scores = row.log_probabilities
        values = {
            "file": row.file,
            "channel": row.channel,
            "speaker": row.speaker,
            "start": round(row.start, 3),
            "end": round(row.end, 3),
            "seconds": round(row.end - row.start, 3),
            "emotion": emotion_of(row, self.labels),
            RECORDINGS: row.recordings,
        }
        for label, p in zip(self.labels, scores.exp().tolist()):
            values[f"p_{label}"] = round(p, 6)
        if row.distance is not None:
            values[DISTANCE] = round(row.distance, 4)
        return self._finish(values)

    def failure(self, problem) -> dict:
        """Return a `modules.inference.recordings.Problem` as a record."""
        file, channel, sentence = problem
        if self.by is not None:
            return {self.by: file, PROBLEM: sentence}
        values = {"file": file, "channel": channel, PROBLEM: sentence}
        return self._finish(values)

    def _finish(self, values):
        """Return the values that have a column, and those of the list."""
        found = {k: v for k, v in values.items() if k in self._own}
        if self.by is not None:
            found[self.by] = values["file"]
        for name, value in self.listed.get(values["file"], {}).items():
            found[self._renamed[name]] = value
        return found


def average(rows: list[Row], weights: list[float] | None = None) -> Row:
    """Return one row for several of a recording, from its start.

    Arguments
    ---------
    rows : list of Row
        In the order of time.
    weights : list of float
        Of the mean of the probabilities; by default all are equal.

    Returns
    -------
    row : Row
        The log of the mean probabilities; the mean of embeddings and distances.
    """
    import torch

    last = rows[-1]._replace(start=rows[0].start)
    if len(rows) == 1:
        return last
    weights = [1.0] * len(rows) if weights is None else weights
    shares = torch.tensor(weights, dtype=torch.float32)[:, None]
    scores = torch.stack([row.log_probabilities for row in rows])
    scores = torch.log_softmax((scores + shares.log()).logsumexp(0), dim=0)
    last = last._replace(log_probabilities=scores)
    if last.distance is not None:
        distances = torch.tensor([row.distance for row in rows])
        distance = (shares[:, 0] * distances).sum() / shares.sum()
        last = last._replace(distance=distance.item())
    if last.embedding is None:
        return last
    found = [row.embedding for row in rows if row.embedding is not None]
    mean = (shares * torch.stack(found)).sum(0) / shares.sum()
    return last._replace(embedding=mean)


def summarise(rows: list[Row]) -> list[Row]:
    """Return one row for each speaker, or else channel, of each recording.

    Arguments
    ---------
    rows : list of Row
        Segments, in the order of time.

    Returns
    -------
    rows : list of Row
        The mean of the probabilities of the segments, weighted by their
        durations, from the first start to the last end.
    """
    groups = {}
    for row in rows:
        groups.setdefault((row.file, row.channel, row.speaker), []).append(row)
    found = []
    for own in groups.values():
        seconds = [row.end - row.start for row in own]
        end = max(row.end for row in own)
        found.append(average(own, seconds)._replace(end=end))
    return found


def check_column(listed: dict[str, dict], column: str) -> None:
    """Refuse a column by which a list cannot be summarised.

    Arguments
    ---------
    listed : dict
        File -> (column -> value).
    column : str
        Its name.

    Raises
    ------
    BadInput
        If there is none of this name, or a recording has no value.
    """
    names = list(dict.fromkeys(n for own in listed.values() for n in own))
    if column not in names:
        raise BadInput(
            f"--summary_by {column}: the list has no such column: choose one "
            f"of {', '.join(names)}"
        )
    for file, own in listed.items():
        if not value_of(own, column):
            raise BadInput(
                f"--summary_by {column}: the list has no {column} for {file}: "
                "fill it in"
            )


def value_of(entry: dict, column: str) -> str:
    """Return a value of a list as text, "" if there is none."""
    value = entry.get(column)
    return "" if value is None else str(value).strip()


def summarise_by(
    rows: list[Row], column: str, listed: dict[str, dict]
) -> tuple[list[Row], dict[str, dict]]:
    """Return one row for each value of a column of the list.

    Arguments
    ---------
    rows : list of Row
        Recordings or segments.
    column : str
        From `check_column`.
    listed : dict
        File -> (column -> value).

    Returns
    -------
    rows : list of Row
        In the place of the file the value; the mean of the probabilities,
        weighted by durations, from 0 to their sum, and how many recordings
        have an answer.
    listed : dict
        Value -> the other columns in which they have one value.
    """
    groups: dict[str, list] = {}
    for row in rows:
        value = value_of(listed[row.file], column)
        groups.setdefault(value, []).append(row)
    found, columns = [], {}
    for value, own in groups.items():
        seconds = [row.end - row.start for row in own]
        entries = [listed[file] for file in dict.fromkeys(r.file for r in own)]
        found.append(
            average(own, seconds)._replace(
                file=value,
                start=0.0,
                end=sum(seconds),
                channel=None,
                speaker=None,
                recordings=len(entries),
            )
        )
        columns[value] = {
            name: entry
            for name, entry in entries[0].items()
            if name != column and all(e.get(name) == entry for e in entries)
        }
    return found, columns
