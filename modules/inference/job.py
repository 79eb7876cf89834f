"""The steps of predict.py between its options and its output."""

import functools
import importlib.metadata
import pathlib

from modules.audio import read_length
from modules.inference.adaptation import Adaptation
from modules.inference.adapted_model import adapt_to_files
from modules.inference.annotations import (
    ANNOTATIONS,
    check_annotations,
    write_annotations,
)
from modules.inference.audformat_output import SUFFIX, write_audformat
from modules.inference.bulk import Parts, digest_job, digest_model, make_chunks
from modules.inference.confidence import read_threshold
from modules.inference.emotion_model import LABELS
from modules.inference.formats import TABLES, write_embeddings, write_table
from modules.inference.loading import (
    HYPERPARAMS,
    check_speakers,
    load_model,
    locate_model,
    read_class_shares,
)
from modules.inference.options import suffix_of
from modules.inference.predictor import Predictions, choose_device, predict
from modules.inference.recordings import Cutter, check_segments
from modules.inference.records import (
    Columns,
    reject,
    summarise,
    summarise_by,
    value_of,
)
from modules.inference.restriction import choose_labels, restrict
from modules.inference.unlike import warn_of_unlike


class Engine:
    """A loaded model, as the options ask for it.

    Arguments
    ---------
    options : argparse.Namespace
        From `modules.inference.options.parse`.
    count : int
        Of recordings: with onnxruntime, several are computed side by side, a
        core each.

    Attributes
    ----------
    model : modules.inference.emotion_model.EmotionModel or OnnxModel
    device : str
        Where it is.
    labels : list of str
        Names of the classes that answers have.
    places : list of int
        Of these among the model's classes.
    unused : list of modules.inference.recordings.Problem
        Recordings of --adapt_to that cannot be used.
    channel : str
        What is read of stereo; by default what the training read.
    threshold : float
        Answers of a lower probability are unknown.
    """

    def __init__(self, options, count: int = 1):
        is_onnx = options.engine == "onnx"
        default = "cpu" if is_onnx else None
        self.device = choose_device(options.device or default)
        if is_onnx:
            from modules.inference.onnx_engine import load_onnx

            self.folder = locate_model(options.model, "model.*")
            threads = 1 if count > 1 else None
            found = load_onnx(self.folder, self.device, threads)
        else:
            self.folder = locate_model(options.model)
            found = load_model(self.folder, self.device, options.encoder_hub)
        self.model, labels = found
        self.is_onnx = is_onnx
        self.channel = options.channel or self.model.channel
        self.class_shares, self.unused = None, []
        will_be = bool(options.adapt or options.adapt_to)
        is_adapted = getattr(self.model, "is_adapted", True)
        check_speakers(self.folder, will_be or is_adapted)
        if options.adapt_priors:
            self.class_shares = read_class_shares(self.folder, len(labels))
        if options.adapt_to:
            adapted = adapt_to_files(
                self.model,
                options.adapt_to,
                self.device,
                self.class_shares,
                options.jobs,
                options.batch_size,
            )
            self.model, self.unused = adapted.model, adapted.problems
        self.threshold = read_threshold(
            pathlib.Path(self.folder), labels, options.min_precision
        )
        self.places = choose_labels(labels, options.labels)
        self.labels = [labels[place] for place in self.places]

    def digest(self) -> str:
        """Return what identifies the model, see `digest_model`."""
        names = ["model.json", "model.onnx", "model.onnx.data"]
        names = names if self.is_onnx else [HYPERPARAMS, LABELS]
        paths = [pathlib.Path(self.folder, name) for name in names]
        return digest_model(self.model, [p for p in paths if p.exists()])


def make_cutter(options, files: list[str]) -> tuple[Cutter | None, dict]:
    """Return what cuts the recordings, and what identifies it.

    Arguments
    ---------
    options : argparse.Namespace
        From `modules.inference.options.parse`.
    files : list of str
        Recordings.

    Returns
    -------
    cutter : callable
        None: as `modules.inference.recordings.cut` does.
    settings : dict
        For `digest_job`.

    Raises
    ------
    BadInput
        If a length is out of range, a package is missing, or an RTTM file is
        not of these recordings.
    """
    segment, hop = options.segments, options.hop
    check_segments(segment, hop)
    settings = {"segments": segment, "hop": hop}
    if options.vad:
        from modules.inference.turns import check_vad, cut_into_speech

        check_vad()
        settings["vad"] = importlib.metadata.version("silero-vad")
        return cut_into_speech(segment), settings
    if options.speakers:
        from modules.inference.turns import (
            check_turns,
            cut_into_turns,
            read_rttm,
        )

        path, turns = options.speakers, read_rttm(options.speakers)
        check_turns(path, turns, files)
        settings["speakers"] = turns
        return cut_into_turns(path, turns, segment, hop or segment), settings
    return None, settings


def check_output(options, files: list[str], labels=()) -> None:
    """Refuse an output that cannot hold recordings or labels."""
    suffix = suffix_of(options.output)
    if suffix in ANNOTATIONS:
        check_annotations(suffix, files, labels)


def classify(
    engine: Engine,
    files: list[str],
    options,
    cutter,
    settings,
    warned,
    speakers: dict[str, str],
) -> tuple[Predictions, Parts | None]:
    """Return the answers for recordings, of all of the model's classes.

    Arguments
    ---------
    engine : Engine
        The model.
    files : list of str
        Recordings.
    options : argparse.Namespace
        From `modules.inference.options.parse`.
    cutter, settings
        From `make_cutter`.
    warned : list of str
        Warnings about recordings, which grow meanwhile.
    speakers : dict
        File -> speaker, of a list; for --adapt_speakers.

    Returns
    -------
    predictions : Predictions
        Rows and problems.
    parts : Parts
        To be removed once the output is written; None if there are none.
    """

    classify_some = functools.partial(predict_some, engine, options, cutter)
    warned += warn_of_channel(engine)
    if options.adapt:
        # The answers wait for the last recording: there are no parts.
        adaptation = Adaptation(
            engine.model,
            speakers if options.adapt_speakers else None,
            engine.class_shares,
        )
        return classify_some(files, adaptation, True), None
    if options.output is None or len(make_chunks(files)) < 2:
        return classify_some(files, progress=True), None
    settings |= {"embeddings": options.embeddings is not None}
    settings |= {"engine": options.engine, "channel": engine.channel}
    digest = digest_job(engine.digest(), files, settings)
    with Parts(options.output, digest).open() as parts:
        return parts.classify(files, classify_some, warned), parts


def predict_some(
    engine: Engine,
    options,
    cutter,
    files: list[str],
    adaptation: Adaptation | None = None,
    progress: bool = False,
) -> Predictions:
    """Return the answers of an engine, see `predict`; options as `classify`."""
    return predict(
        engine.model,
        files,
        options.segments,
        options.hop,
        options.jobs,
        options.batch_size,
        engine.device,
        progress,
        engine.channel,
        cutter,
        options.embeddings is not None,
        adaptation,
    )


def warn_of_channel(engine: Engine) -> list[str]:
    """Return a sentence if stereo is read otherwise than in the training."""
    trained_on = engine.model.channel
    if engine.channel in (trained_on, "each"):
        return []
    return [
        f"the model was trained on --channel {trained_on} of stereo, "
        f"not on {engine.channel}"
    ]


def warn_of_model(engine: Engine, rows, options) -> list[str]:
    """Return sentences on how the model fits the recordings."""
    if engine.unused:
        reason = engine.unused[0].sentence
        return [f"--adapt_to: {len(engine.unused)} left out ({reason})"]
    if options.adapt or getattr(engine.model, "is_adapted", True):
        return []
    is_cut = bool(options.segments or options.vad or options.speakers)
    warning = warn_of_unlike(rows, is_cut)
    return [] if warning is None else [warning]


def finish_rows(engine: Engine, predictions: Predictions, options):
    """Return the rows that are shown: restricted, summarised or unknown."""
    rows = [
        row._replace(
            log_probabilities=restrict(row.log_probabilities, engine.places)
        )
        for row in predictions.rows
    ]
    rows = summarise(rows) if options.summary else rows
    return reject(rows, engine.threshold)


def group(engine: Engine, rows, problems, listed, column):
    """Return rows and problems by a column, and its columns of the list.

    Arguments
    ---------
    engine : Engine
        Has the threshold.
    rows, problems : list
        Of recordings or segments.
    listed : dict
        File -> columns of the list.
    column : str
        See `modules.inference.records.summarise_by`.
    """
    grouped, columns = summarise_by(rows, column, listed)
    problems = [
        p._replace(file=value_of(listed[p.file], column)) for p in problems
    ]
    return reject(grouped, engine.threshold), problems, columns


def write_outputs(options, labels, rows, problems, listed) -> None:
    """Write the output and the embeddings, each whole or not at all.

    Arguments
    ---------
    options : argparse.Namespace
        From `modules.inference.options.parse`.
    labels : list of str
        Names of the classes.
    rows : list of modules.inference.predictor.Row
        Answers.
    problems : list of modules.inference.recordings.Problem
        Inputs without an answer.
    listed : dict
        File -> columns of its list.
    """
    columns = Columns(
        labels,
        any(answer.channel is not None for answer in [*rows, *problems]),
        options.speakers is not None,
        listed,
        options.summary_by,
    )
    suffix = suffix_of(options.output)
    if options.embeddings and rows:
        write_embeddings(options.embeddings, columns, rows)
    if suffix in ANNOTATIONS and rows:
        samples, rate = read_length(rows[0].file)
        write_annotations(options.output, suffix, rows, labels, samples / rate)
    elif suffix == SUFFIX and rows:
        write_audformat(options.output, columns, rows)
    elif suffix in TABLES:
        write_table(options.output, suffix, columns, rows, problems)


def plot(engine: Engine, options, rows) -> None:
    """Draw one plot per recording into the folder of --plot."""
    # Imported here: matplotlib takes a second.
    from modules.inference.recording_plots import plot_recordings

    model, labels, device = engine.model, engine.labels, engine.device
    plot_recordings(options.plot, model, rows, labels, device, engine.channel)
