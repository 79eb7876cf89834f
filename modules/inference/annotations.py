"""Emotion over time in the formats of Praat, ELAN, diarisation and subtitles.

    TextGrid  Praat; www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html
    eaf       ELAN 3.0; www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf
    rttm      NIST, The 2009 (RT-09) Rich Transcription evaluation plan
    srt, vtt  subtitles; VTT: www.w3.org/TR/webvtt1

Where segments overlap, the border is the middle of the overlap, since these
formats, or the programs that read them, have one annotation at a time.
"""

import pathlib
import re
import xml.etree.ElementTree as xml
from typing import NamedTuple

from modules.errors import BadInput
from modules.files import write_text
from modules.inference.formats import plain
from modules.inference.records import UNKNOWN, emotion_of

# A file of these describes one recording.
ALONE = (".TextGrid", ".eaf", ".srt", ".vtt")
ANNOTATIONS = (*ALONE, ".rttm")

_EAF_TYPE = "emotion-lt"
_ELAN = "http://www.mpi.nl/tools/elan"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = f"{{{_XSI}}}noNamespaceSchemaLocation"


class Annotation(NamedTuple):
    """An emotion from one time to another.

    Attributes
    ----------
    start, end : float
        Seconds.
    label : str
        The emotion, or unknown.
    probability : float
        Of the most probable emotion.
    """

    start: float
    end: float
    label: str
    probability: float


def make_tiers(rows, labels) -> dict[str, list[Annotation]]:
    """Return the annotations of one recording without overlaps.

    Arguments
    ---------
    rows : list of modules.inference.predictor.Row
        Of one recording.
    labels : list of str
        Names of the classes.

    Returns
    -------
    tiers : dict
        Channel or speaker, "" if there is none -> annotations in order.
    """
    tiers = {}
    for row in sorted(rows, key=lambda row: (row.start, row.end)):
        own = [name for name in (row.channel, row.speaker) if name]
        tiers.setdefault(" ".join(own), []).append(
            Annotation(
                row.start,
                row.end,
                emotion_of(row, labels),
                row.log_probabilities.max().exp().item(),
            )
        )
    return {name: _without_overlaps(own) for name, own in tiers.items()}


def _without_overlaps(annotations):
    """Return annotations cut in the middles of their overlaps, in ms."""
    found, before = [], None
    for whole in annotations:
        new = whole
        if found and whole.start < before.end:
            middle = (whole.start + min(before.end, whole.end)) / 2
            middle = max(middle, found[-1].start)
            if middle >= whole.end:
                continue  # it lies within the one before
            found[-1] = found[-1]._replace(end=min(found[-1].end, middle))
            new = whole._replace(start=middle)
        found.append(new)
        before = whole
    rounded = [
        new._replace(start=round(new.start, 3), end=round(new.end, 3))
        for new in found
    ]
    return [new for new in rounded if new.end > new.start]


def write_annotations(path, suffix, rows, labels, seconds) -> None:
    """Write emotion over time, whole or not at all.

    Arguments
    ---------
    path : str or pathlib.Path
        Of the file.
    suffix : str
        Its format, one of `ANNOTATIONS`.
    rows : list of modules.inference.predictor.Row
        At least one; of one recording if the format is one of `ALONE`.
    labels : list of str
        Names of the classes.
    seconds : float
        Duration of the recording, for TextGrid.
    """
    if suffix == ".rttm":
        text = _as_rttm(rows, labels)
    else:
        tiers = make_tiers(rows, labels)
        if suffix == ".TextGrid":
            text = _as_textgrid(tiers, seconds)
        elif suffix == ".eaf":
            text = _as_eaf(tiers, rows[0].file)
        else:
            text = _as_subtitles(tiers, suffix)
    write_text(path, plain(text))


def check_annotations(suffix: str, files, labels=()) -> None:
    """Refuse recordings and labels that a format cannot hold.

    Raises
    ------
    BadInput
        Naming the option of predict.py.
    """
    if suffix in ALONE and len(files) > 1:
        raise BadInput(
            f"--output *{suffix} describes one recording and {len(files)} are "
            "given: choose .csv, .jsonl, .parquet or .rttm, or give one"
        )
    if suffix != ".rttm":
        return
    names = [pathlib.Path(file).stem for file in files]
    for name in [*names, *labels]:
        if re.search(r"\s", name) or not name:
            raise BadInput(
                f"--output *.rttm has no room for the blank in '{name}': "
                "rename it, or choose .csv, .jsonl or .parquet"
            )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(
            f"--output *.rttm names recordings without their folder, and two "
            f"are called '{twice}': rename one"
        )


def _as_rttm(rows, labels):
    """Return a line per segment, the emotion in the place of the speaker."""
    recordings = {}
    for row in rows:
        recordings.setdefault(row.file, []).append(row)
    lines = []
    for file, own in recordings.items():
        name = pathlib.Path(file).stem
        for channel, tier in make_tiers(own, labels).items():
            number = {"": 1, "left": 1, "right": 2}.get(channel, channel)
            for new in tier:
                lines.append(
                    f"SPEAKER {name} {number} {new.start:.3f} "
                    f"{new.end - new.start:.3f} <NA> <NA> {new.label} "
                    f"{new.probability:.6f} <NA>\n"
                )
    return "".join(lines)


def _as_textgrid(tiers, seconds):
    """Return two tiers for each channel or speaker: emotion, probability."""
    shown = {}
    for name, own in tiers.items():
        seconds = max(seconds, own[-1].end)
        texts = [(n.start, n.end, n.label) for n in own]
        shown[_tier_name("emotion", name)] = texts
        chances = [(n.start, n.end, f"{n.probability:.6f}") for n in own]
        shown[_tier_name("probability", name)] = chances
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", f"xmax = {seconds:.3f}", "tiers? <exists>"]
    lines += [f"size = {len(shown)}", "item []:"]
    for number, (name, own) in enumerate(shown.items(), start=1):
        intervals = _fill_gaps(own, round(seconds, 3))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"']
        lines += [f"        name = {_quote(name)}", "        xmin = 0"]
        lines += [f"        xmax = {seconds:.3f}"]
        lines += [f"        intervals: size = {len(intervals)}"]
        for place, (start, end, text) in enumerate(intervals, start=1):
            lines += [f"        intervals [{place}]:"]
            lines += [f"            xmin = {start:.3f}"]
            lines += [f"            xmax = {end:.3f}"]
            lines += [f"            text = {_quote(text)}"]
    return "\n".join(lines) + "\n"


def _tier_name(kind, name):
    """Return the name of a tier of a channel or speaker."""
    return f"{kind} {name}".strip()


def _quote(text):
    """Return a text as Praat reads it."""
    return '"' + text.replace('"', '""') + '"'


def _fill_gaps(intervals, seconds):
    """Return intervals that follow each other from 0 to the end."""
    found, now = [], 0.0
    for start, end, text in [*intervals, (seconds, seconds, "")]:
        if start > now:
            found.append((now, start, ""))
        if end > start:
            found.append((start, end, text))
        now = max(now, end)
    return found


def _as_eaf(tiers, file):
    """Return a tier for each channel or speaker, times in milliseconds."""
    root = xml.Element(
        "ANNOTATION_DOCUMENT",
        {"AUTHOR": "", "DATE": "1970-01-01T00:00:00+00:00", "FORMAT": "3.0"}
        | {"VERSION": "3.0", _SCHEMA: f"{_ELAN}/EAFv3.0.xsd"},
    )
    units = {"TIME_UNITS": "milliseconds", "MEDIA_FILE": ""}
    header = xml.SubElement(root, "HEADER", units)
    url = pathlib.Path(file).absolute().as_uri()
    media = {"MEDIA_URL": url, "MIME_TYPE": "audio/x-wav"}
    xml.SubElement(header, "MEDIA_DESCRIPTOR", media)
    order = xml.SubElement(root, "TIME_ORDER")
    slots = 0
    for name, own in tiers.items():
        tier = {"TIER_ID": _tier_name("emotion", name)}
        tier |= {"LINGUISTIC_TYPE_REF": _EAF_TYPE}
        tier = xml.SubElement(root, "TIER", tier)
        for new in own:
            for time in new[:2]:
                slots += 1
                slot = {"TIME_SLOT_ID": f"ts{slots}"}
                slot |= {"TIME_VALUE": str(round(1000 * time))}
                xml.SubElement(order, "TIME_SLOT", slot)
            parent = xml.SubElement(tier, "ANNOTATION")
            parent = xml.SubElement(
                parent,
                "ALIGNABLE_ANNOTATION",
                {"ANNOTATION_ID": f"a{slots // 2}"}
                | {"TIME_SLOT_REF1": f"ts{slots - 1}"}
                | {"TIME_SLOT_REF2": f"ts{slots}"},
            )
            xml.SubElement(parent, "ANNOTATION_VALUE").text = new.label
    kind = {"LINGUISTIC_TYPE_ID": _EAF_TYPE, "TIME_ALIGNABLE": "true"}
    kind |= {"GRAPHIC_REFERENCES": "false"}
    xml.SubElement(root, "LINGUISTIC_TYPE", kind)
    xml.register_namespace("xsi", _XSI)
    xml.indent(root)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return head + xml.tostring(root, encoding="unicode") + "\n"


def _as_subtitles(tiers, suffix):
    """Return a subtitle per segment, such as ``left: anger 87%``."""
    point = "," if suffix == ".srt" else "."
    shown = sorted((new, name) for name, own in tiers.items() for new in own)
    lines = ["WEBVTT", ""] if suffix == ".vtt" else []
    for number, (new, name) in enumerate(shown, start=1):
        times = [_clock(time, point) for time in new[:2]]
        who = f"{name}: " if name else ""
        text = f"{who}{new.label}"
        if new.label != UNKNOWN:
            text += f" {new.probability:.0%}"
        if suffix == ".vtt":
            text = text.replace("&", "&amp;").replace("<", "&lt;")
        lines += [str(number), " --> ".join(times), text, ""]
    return "\n".join(lines)


def _clock(seconds, point):
    """Return hours:minutes:seconds with milliseconds.

    Example
    -------
    >>> _clock(3725.5, ",")
    '01:02:05,500'
    """
    total = round(1000 * seconds)
    minutes, rest = divmod(total, 60000)
    text = f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}"
    return f"{text}{point}{rest % 1000:03}"
