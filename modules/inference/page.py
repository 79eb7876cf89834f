"""A page on which one records or uploads speech and reads the emotion.

Gradio serves it. Nothing is sent elsewhere, and nothing comes from elsewhere:
its analytics are off, its fonts are those of the system.
"""

from __future__ import annotations

import html
import os
import pathlib
import shutil
import socket
import tempfile
import time
import uuid
import warnings
from urllib.parse import quote

from modules.audio import read_length
from modules.decoding import AudioWarning
from modules.errors import BadInput, printable
from modules.inference.formats import write_table
from modules.inference.page_facts import Facts
from modules.inference.predictor import predict
from modules.inference.recording_page import Answer, colour, render
from modules.inference.recordings import SHORTEST_HOP, SHORTEST_SEGMENT
from modules.inference.records import Columns, reject

STYLE = pathlib.Path(__file__).with_suffix(".css")
_MOST_UPLOAD = "500mb"
# Seconds: uploads of an hour ago are deleted every ten minutes.
_DELETE = (600, 3600)
_WORDS = """\
<p class="ser-limits">The answer is one of {count} words for the sound of a voice;
it does not measure what a person feels. {always} On other corpora, languages and
microphones than those of its training the model is less accurate, and its
probabilities are too high. Do not use it to judge people. Recordings are analysed
where this page runs and are deleted after an hour.</p>"""


_ALWAYS = "Every recording gets one of them, also where none fits."
_NOT_ALWAYS = "Where the highest probability is below {threshold:.1%}, the answer is unknown."
_UNLIKE = (
    "This recording is unlike those that the model was trained on: its answer may "
    "be wrong."
)


def introduction(facts: Facts, labels: list[str]) -> str:
    """Return the HTML above the form: what the model is.

    Arguments
    ---------
    facts : Facts
    labels : list of str
        Names of the classes.
    """
    rows = [
        ("model", facts.name),
        ("trained on", facts.corpus),
        ("language", facts.language),
        ("encoder", facts.encoder),
    ]
    rows += [
        (f"{name}, unseen speakers", f"{v:.1%}") for name, v in facts.results
    ]
    shown = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in rows
        if value
    )
    chips = "".join(
        f'<li><span class="ser-dot" style="background: {colour(k)}"></span>'
        f"{html.escape(printable(label))}</li>"
        for k, label in enumerate(labels)
    )
    return (
        '<div class="ser-intro"><h1>Emotion in speech</h1>'
        "<p>Upload recordings of speech, or record yourself. A frozen speech "
        "encoder and a small classifier give the probability of each emotion, "
        "for the whole recording and over time.</p>"
        f'<ul class="ser-chips">{chips}</ul><dl class="ser-facts">{shown}</dl>'
        "</div>"
    )


class Analyser:
    """Classifies recordings for the page.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
    labels : list of str
        Names of the classes.
    device : str
        Where the model is.
    threshold : float
        Answers of a lower probability are unknown.
    """

    def __init__(
        self,
        model,
        labels: list[str],
        device: str = "cpu",
        threshold: float = 0.0,
    ):
        self.model, self.labels, self.device = model, labels, device
        self.threshold = threshold
        self.folder = tempfile.TemporaryDirectory(prefix="emotions.")

    def analyse(
        self, files: list[str], segment: float, hop: float
    ) -> tuple[list[Answer], list, list]:
        """Classify recordings as a whole and in segments.

        Arguments
        ---------
        files : list of str
            Recordings.
        segment, hop : float
            Seconds; see `modules.inference.predictor.predict`.

        Returns
        -------
        answers : list of Answer
            In the order of the files.
        rows : list of modules.inference.predictor.Row
            All segments.
        problems : list of modules.inference.recordings.Problem
            One for each file without an answer.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AudioWarning)
            options = {"device": self.device, "channel": self.model.channel}
            whole, unread = predict(self.model, files, **options)
            found = [row.file for row in whole]
            segments, failed = predict(
                self.model, found, segment, hop, **options
            )
        segments = reject(segments, self.threshold)
        problems = unread + [p for p in failed if p not in unread]
        notes = [str(w.message) for w in caught if w.category is AudioWarning]
        answers = [self._answer(row, segments, notes) for row in whole]
        return answers, segments, problems

    def _answer(self, row, segments, notes):
        """Return what the page shows of one recording."""
        own = [s for s in segments if s.file == row.file] or [row]
        samples, rate = read_length(row.file)
        return Answer(
            row.file,
            samples / rate,
            row.log_probabilities.exp().tolist(),
            [(s.start, s.end, s.log_probabilities.exp().tolist()) for s in own],
            [
                *([_UNLIKE] if (row.distance or 0) > 1 else []),
                *(
                    _short(text, row.file)
                    for text in dict.fromkeys(notes)
                    if row.file in text
                ),
            ],
            self.threshold,
        )

    def answer(self, files, recorded, segment, hop):
        """Return the HTML of the answers, for Gradio."""
        files = [*(files or []), *([recorded] if recorded else [])]
        if not files:
            text = "Upload a recording or record yourself first."
            return render([], [text], self.labels)
        try:
            answers, rows, problems = self.analyse(
                files, float(segment), float(hop)
            )
        except (BadInput, TypeError, ValueError) as problem:
            text = str(problem).replace("--segments", "the segments")
            return render([], [text], self.labels)
        sentences = [_short(p.sentence, p.file) for p in problems]
        table = _link(self._write(rows, problems)) if answers else None
        return render(answers, sentences, self.labels, _link, table)

    def _write(self, rows, problems):
        """Write all segments as CSV; return the path. Old ones are deleted."""
        root = pathlib.Path(self.folder.name)
        for old in root.iterdir():
            if time.time() - old.stat().st_mtime > _DELETE[1]:
                shutil.rmtree(old, ignore_errors=True)
        path = root / uuid.uuid4().hex / "segments.csv"
        path.parent.mkdir()
        write_table(
            path,
            ".csv",
            Columns(self.labels),
            [r._replace(file=os.path.basename(r.file)) for r in rows],
            [p._replace(file=os.path.basename(p.file)) for p in problems],
        )
        return str(path)


def _short(text: str, file: str) -> str:
    """Return a sentence with a file's name in place of its path."""
    return text.replace(file, os.path.basename(file))


def _link(path: str) -> str:
    """Return where Gradio serves an upload."""
    return f"/gradio_api/file={quote(path)}"


def build(
    model,
    labels: list[str],
    facts: Facts,
    device: str = "cpu",
    threshold: float = 0.0,
):
    """Return the page.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
        From `modules.inference.loading.load_model`.
    labels : list of str
        Names of the classes.
    facts : Facts
        From `modules.inference.page_facts.read_facts`.
    device : str
        Where the model is.
    threshold : float
        Answers of a lower probability are unknown.

    Returns
    -------
    gradio.Blocks
    """
    gradio = _gradio()
    analyser = Analyser(model, labels, device, threshold)
    page = gradio.Blocks(
        title="Emotion in speech",
        analytics_enabled=False,
        delete_cache=_DELETE,
    )
    with page:
        gradio.HTML(introduction(facts, labels), elem_id="intro")
        with gradio.Row(elem_classes="inputs"):
            files = gradio.File(
                file_count="multiple", label="Recordings", height=170
            )
            recorded = gradio.Audio(
                sources=["microphone"], type="filepath", label="Microphone"
            )
        with gradio.Accordion("Settings: emotion over time", open=False):
            with gradio.Row():
                segment = gradio.Number(
                    2, label="Length of a segment (s)", minimum=SHORTEST_SEGMENT
                )
                hop = gradio.Number(
                    1, label="From segment to segment (s)", minimum=SHORTEST_HOP
                )
        button = gradio.Button("Recognise", variant="primary")
        shown = gradio.HTML(elem_id="answers")
        always = _NOT_ALWAYS if threshold else _ALWAYS
        always = always.format(threshold=threshold)
        words = _WORDS.format(count=len(labels), always=always)
        gradio.HTML(words, elem_id="limits")
        button.click(
            analyser.answer,
            [files, recorded, segment, hop],
            shown,
            api_name=False,
        )
    page.tables = analyser.folder.name
    return page


def _gradio():
    """Import Gradio with its connections to elsewhere switched off."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio
    except ImportError as problem:
        raise BadInput(
            f"the page needs packages that are not installed ({problem}): pip "
            "install -r requirements-page.txt"
        ) from problem
    return gradio


def check_port(host: str, port: int) -> None:
    """Refuse a place where no page can be served, before a model is loaded.

    Raises
    ------
    BadInput
        If the port is in use or not permitted, or the host is not here.
    """
    try:
        family = socket.getaddrinfo(host, port)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise BadInput(
            f"no page can be served at {host}, port {port} ({reason}): choose "
            "another with --port"
        ) from problem


def serve(page, host: str, port: int, wait: bool = True) -> str:
    """Serve the page.

    Arguments
    ---------
    page : gradio.Blocks
        From `build`.
    host, port : str, int
        Where; 127.0.0.1 is reached from this machine alone.
    wait : bool
        Until Ctrl-C; else in the background.

    Returns
    -------
    str
        The page's address.
    """
    gradio = _gradio()
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        ssr_mode=False,
        prevent_thread_lock=True,
        max_file_size=_MOST_UPLOAD,
        allowed_paths=[page.tables],
        footer_links=[],
        css=STYLE.read_text(encoding="utf-8"),
        theme=gradio.themes.Default(
            primary_hue="indigo",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
    )
    print(f"page: {url}", flush=True)
    if wait:
        page.block_thread()
    return url
