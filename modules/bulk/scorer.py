"""The model of bulk scoring, as the command line of predict.py asks for it."""

import contextlib
import dataclasses
import warnings

from modules.bulk.remote import fetched
from modules.decoding import AudioWarning
from modules.errors import BadInput
from modules.inference import job
from modules.inference.allocator import keep_freed_memory
from modules.inference.options import parse
from modules.inference.predictor import Predictions
from modules.inference.recordings import Problem
from modules.inference.records import Columns


@dataclasses.dataclass(frozen=True)
class Identity:
    """What decides the answers for a recording.

    Attributes
    ----------
    model : str
        Digest of weights and labels.
    settings : dict
        Of plain values.
    warnings : list of str
        For the terminal.
    """

    model: str
    settings: dict
    warnings: list


class Scorer:
    """Returns the answers for recordings: the rows of the output.

    Arguments
    ---------
    arguments : list of str
        The command line of predict.py.
    threads : int
        Of this process.
    device : str
        In the place of --device.
    """

    def __init__(
        self, arguments: list[str], threads: int, device: str | None = None
    ):
        self.options = parse(arguments)
        self.options.jobs = threads
        given = self.options.device
        self.options.device = device or given
        keep_freed_memory()
        # More than one recording: a core each.
        self.engine = job.Engine(self.options, count=2)
        self.cutter, settings = job.make_cutter(self.options, [])
        self.columns = Columns(
            self.engine.labels, self.engine.channel == "each"
        )
        settings |= {"engine": self.options.engine, "device": given}
        settings |= {"channel": self.engine.channel, "threads": threads}
        settings |= {"labels": self.engine.labels}
        for name in ("summary", "batch_size"):
            settings[name] = getattr(self.options, name)
        warned = job.warn_of_channel(self.engine)
        self.identity = Identity(self.engine.digest(), settings, warned)

    def __call__(self, files: list[str]) -> tuple[Predictions, list[str]]:
        """Return the answers for recordings, and warnings about them."""
        warned = []
        with warnings.catch_warnings(), fetched(files) as (names, unread):
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", AudioWarning)
            warnings.showwarning = lambda text, *_: warned.append(str(text))
            found = job.predict_some(
                self.engine, self.options, self.cutter, list(names)
            )
        rows = job.finish_rows(self.engine, found, self.options)
        rows = [row._replace(file=names[row.file]) for row in rows]
        problems = [Problem(file, None, text) for file, text in unread.items()]
        for file, channel, text in found.problems:
            text = text.replace(file, names[file])
            problems.append(Problem(names[file], channel, text))
        for path, file in names.items() if len(warned) else ():
            warned = [text.replace(path, file) for text in warned]
        return Predictions(rows, problems), warned


def send_identity(sender, arguments: list[str], threads: int) -> None:
    """Send the identity of what a command line asks for, or a `BadInput`.

    It is called in a process of its own, so that the driver's memory never
    contains the model; a GPU is not needed for it.
    """
    found: Identity | BadInput
    try:
        found = Scorer(arguments, threads, "cpu").identity
    except BadInput as problem:
        found = problem
    with contextlib.suppress(BrokenPipeError):  # the driver is gone
        sender.send(found)
