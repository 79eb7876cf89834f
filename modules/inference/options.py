"""The command line of predict.py: what it takes, and what it refuses."""

import argparse
import pathlib
import sys

from modules.errors import BadInput
from modules.inference.annotations import ANNOTATIONS
from modules.inference.audformat_output import SUFFIX, check_audformat
from modules.inference.bulk_options import add_bulk, check_bulk
from modules.inference.formats import EMBEDDINGS, TABLES, check_pyarrow
from modules.inference.records import RESTRICTED


def _positive(kind):
    """Return a parser of positive numbers, for argparse."""

    def parse_number(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    parse_number.__name__ = f"positive {kind.__name__}"
    return parse_number


def _names(text):
    """Return the parts of ``A,B``, for argparse."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line.

    Arguments
    ---------
    arguments : list of str
        By default those of the process.

    Raises
    ------
    BadInput
        If two of them contradict each other.
    """
    parser = argparse.ArgumentParser(
        description="Recognise the emotion in recordings of speech.",
        epilog="Recordings of more than a minute are classified in windows of "
        "at most a minute, whose probabilities are averaged.",
    )
    parser.add_argument("model", help="folder of export.py, or name on the Hub")
    arguments = sys.argv[1:] if arguments is None else arguments
    has_list = any(a.partition("=")[0] == "--csv_file" for a in arguments)
    # Not "*": argparse would take no file where an option stands before them.
    if has_list:
        parser.set_defaults(paths=[])
    else:
        parser.add_argument(
            "paths",
            nargs="+",
            metavar="FILE|FOLDER",
            help="recordings; with --live: microphone, or - for raw samples "
            "from standard input",
        )
    _add_inputs(parser)
    _add_adaptation(parser)
    _add_outputs(parser)
    _add_computing(parser)
    add_bulk(parser, _positive)
    options = parser.parse_args(arguments)
    _check(options)
    return options


def _add_inputs(parser):
    """Add what is read, and how it is cut."""
    parser.add_argument(
        "--csv_file",
        help="instead of files: a list with path and, if known, label and "
        "speaker; its columns are kept in the output, and with labels WA, UA, "
        "confusion and calibration are printed",
    )
    parser.add_argument(
        "--labels_map",
        metavar="A=B,...",
        help="labels of the list as classes of the model: "
        "hap+exc=happiness,ang=anger",
    )
    parser.add_argument(
        "--segments",
        type=_positive(float),
        metavar="SECONDS",
        help="emotion over time: length of a segment",
    )
    parser.add_argument(
        "--hop",
        type=_positive(float),
        metavar="SECONDS",
        help="from segment to segment (default: the length of one; with "
        "--live: 1)",
    )
    parser.add_argument(
        "--vad",
        action="store_true",
        help="a row per stretch of speech, of at most --segments seconds",
    )
    parser.add_argument(
        "--speakers",
        metavar="x.rttm",
        help="a row per turn of a speaker, as an RTTM file lists them",
    )
    parser.add_argument(
        "--channel",
        choices=["mean", "left", "right", "each"],
        help="of stereo: the mean, one channel, or a row for each, as in a "
        "call with a person on each (default: what the model was trained on, "
        "mostly the mean)",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="print the emotion of the last --segments (default: 4) seconds "
        "every --hop seconds",
    )
    parser.add_argument(
        "--rate",
        type=_positive(int),
        help="with --live: samples per second of the raw samples, mono, 16 "
        "bits, little-endian (default: 16000)",
    )


def _add_adaptation(parser):
    """Add how the model is adapted to recordings without labels."""
    parser.add_argument(
        "--adapt",
        action="store_true",
        help="estimate the standardisation again on these recordings, without "
        "labels, before they are classified",
    )
    parser.add_argument(
        "--adapt_to",
        metavar="FOLDER",
        help="the same on other recordings",
    )
    parser.add_argument(
        "--adapt_speakers",
        action="store_true",
        help="with --adapt: each speaker of --csv_file or --speakers by "
        "itself; use it only where speakers have several emotions each",
    )
    parser.add_argument(
        "--adapt_priors",
        action="store_true",
        help="with --adapt or --adapt_to: estimate how frequent each class is; "
        "use it only where that differs much from the training",
    )


def _add_outputs(parser):
    """Add what is written."""
    parser.add_argument(
        "--output",
        help="x.csv, x.jsonl, x.parquet, a folder x.audformat, or of segments "
        "x.TextGrid, x.eaf, x.rttm, x.srt, x.vtt; in CSV an apostrophe stands before a cell "
        "that a spreadsheet would take for a formula",
    )
    parser.add_argument(
        "--embeddings",
        metavar="x.npz|x.parquet",
        help="write the embedding of every row",
    )
    parser.add_argument(
        "--summary",
        action="store_true",
        help="one row per recording, channel and speaker in the place of its "
        "segments: the mean of their probabilities, weighted by duration",
    )
    parser.add_argument(
        "--summary_by",
        metavar="COLUMN",
        help="one row per value of a column of --csv_file, such as speaker: "
        "the mean of the probabilities, weighted by duration",
    )
    parser.add_argument(
        "--labels",
        type=_names,
        metavar="A,B,...",
        help="answer with these classes alone: their probabilities are "
        "divided by their sum",
    )
    parser.add_argument(
        "--min_precision",
        type=_positive(float),
        metavar="SHARE",
        help="wished share of right answers, such as 0.9: what is less "
        "probable than the threshold for it is unknown",
    )
    parser.add_argument("--plot", metavar="FOLDER", help="one plot per file")


def _add_computing(parser):
    """Add how it is computed."""
    parser.add_argument(
        "--batch_size",
        type=_positive(int),
        help="at most so many pieces, a minute together, padded to one "
        "length (default: 1 on a CPU, else 16)",
    )
    parser.add_argument(
        "--jobs",
        type=_positive(int),
        help="at most so many batches side by side "
        "(default: one per core on a CPU, else 1)",
    )
    parser.add_argument(
        "--engine",
        choices=["torch", "onnx"],
        default="torch",
        help="onnx: model.onnx of a folder that export.py --onnx wrote, on "
        "the CPU (default: torch)",
    )
    parser.add_argument(
        "--encoder_hub",
        metavar="FOLDER",
        help="where the model's encoder is, if not where the model states",
    )
    parser.add_argument(
        "--device",
        help="cpu, cuda, cuda:1 ... (default: cuda if there is one)",
    )


def suffix_of(output: str | None) -> str | None:
    """Return the format of an output, one of TABLES or ANNOTATIONS, or audformat.

    Raises
    ------
    BadInput
        If it is another one.

    Example
    -------
    >>> suffix_of("x.textgrid"), suffix_of(None)
    ('.TextGrid', None)
    """
    if output is None:
        return None
    known = (*TABLES, *ANNOTATIONS, SUFFIX)
    given = pathlib.Path(output).suffix
    for suffix in known:
        if given.lower() == suffix.lower():
            return suffix
    raise BadInput(
        f"--output {output} must end in {', '.join(known[:-1])} or {known[-1]}"
    )


def _check(options):
    """Refuse options that contradict each other."""
    if options.labels_map and not options.csv_file:
        raise BadInput("--labels_map needs --csv_file, the list with labels")
    if options.vad and options.speakers:
        raise BadInput(
            "--vad and --speakers both cut the recordings: choose one of them"
        )
    if options.vad and options.hop:
        raise BadInput(
            "--hop has no meaning with --vad, whose parts follow each other: "
            "leave it out"
        )
    if options.rate and not options.live:
        raise BadInput("--rate needs --live: other recordings have their rate")
    is_over_time = options.segments or options.vad or options.speakers
    if options.summary and not is_over_time:
        raise BadInput(
            "--summary averages segments: give --segments, --vad or --speakers"
        )
    if options.summary_by is not None and not options.csv_file:
        raise BadInput(
            "--summary_by needs --csv_file, the list with the column"
        )
    if options.summary_by is not None and options.summary:
        raise BadInput(
            "--summary and --summary_by both replace rows: choose one of them"
        )
    if options.min_precision and options.labels:
        raise BadInput(RESTRICTED)
    _check_adaptation(options)
    check_bulk(options)
    if options.launcher is None:
        _check_output(options, is_over_time)
    if options.live:
        _check_live(options)


def _check_adaptation(options):
    """Refuse ways of adapting that contradict each other."""
    if options.adapt and options.adapt_to:
        raise BadInput(
            "--adapt uses the recordings at hand and --adapt_to others: choose "
            "one of them"
        )
    if options.min_precision and (options.adapt or options.adapt_to):
        raise BadInput(
            "--min_precision has a threshold for the model as it was trained, "
            "which does not hold for an adapted one: leave one of them out"
        )
    if options.adapt_speakers and not options.adapt:
        raise BadInput("--adapt_speakers needs --adapt: add it")
    if options.adapt_speakers and not (options.csv_file or options.speakers):
        raise BadInput(
            "--adapt_speakers needs speakers: give --csv_file with a column "
            "speaker, or --speakers"
        )
    if options.adapt_priors and not (options.adapt or options.adapt_to):
        raise BadInput("--adapt_priors needs --adapt or --adapt_to: add one")
    if options.engine == "onnx" and (options.adapt or options.adapt_to):
        raise BadInput(
            "a graph in ONNX cannot be adapted: leave out --engine onnx, or "
            "write an adapted one by export.py --adapt_to FOLDER --onnx"
        )


def _check_output(options, is_over_time):
    """Refuse an output that cannot hold what is asked."""
    suffix = suffix_of(options.output)
    if suffix in ANNOTATIONS and (not is_over_time or options.summary):
        raise BadInput(
            f"--output *{suffix} has emotion over time: give --segments, "
            "--vad or --speakers, and leave out --summary"
        )
    if options.summary_by is not None and suffix not in (None, *TABLES):
        raise BadInput(
            f"--output *{suffix} has a row per recording or segment, not per "
            f"{options.summary_by}: choose .csv, .jsonl or .parquet"
        )
    if suffix == ".rttm" and options.speakers:
        raise BadInput(
            "--output *.rttm has one name per turn, the emotion or the "
            "speaker: choose .csv, .jsonl, .parquet, .TextGrid or .eaf"
        )
    if suffix == ".parquet":
        check_pyarrow("--output")
    if suffix == SUFFIX:
        check_audformat()
    if options.embeddings is None:
        return
    ending = pathlib.Path(options.embeddings).suffix
    if ending not in EMBEDDINGS:
        raise BadInput(
            f"--embeddings {options.embeddings} must end in .npz or .parquet"
        )
    if ending == ".parquet":
        check_pyarrow("--embeddings")
    if options.engine == "onnx":
        raise BadInput(
            "--engine onnx gives probabilities alone: leave it out for "
            "--embeddings"
        )


def _check_live(options):
    """Refuse what makes no sense for sound that is still coming."""
    others = ["csv_file", "output", "embeddings", "plot", "vad", "speakers"]
    for name in [*others, "summary", "summary_by", "adapt"]:
        if getattr(options, name):
            raise BadInput(
                f"--live prints its answers as they come: leave out --{name}"
            )
    if options.paths not in (["-"], ["microphone"]):
        raise BadInput(
            "--live takes one source: give microphone, or - for raw "
            "samples from standard input"
        )
    if options.channel:
        raise BadInput("--live takes one channel: leave out --channel")
