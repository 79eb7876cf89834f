"""The page of app.py: its answers, its limits, and in a real browser."""

import csv
import os
import pathlib
import re
import shutil
import socket
import urllib.parse
import urllib.request

import numpy as np
import pytest
import soundfile
from browser import set_width

import app
from modules.errors import BadInput
from modules.inference.loading import load_model
from modules.inference.predictor import predict
from modules.inference.recording_page import Answer, bands, envelope, render

pytest.importorskip("gradio", reason="requirements-page.txt")

from modules.inference.page import (  # noqa: E402
    Analyser,
    build,
    check_port,
    introduction,
    serve,
)
from modules.inference.page_facts import Facts, read_facts  # noqa: E402

ODD = "<img src=x onerror=alert(1)> ${value} {{7*7}}.wav"


@pytest.fixture(scope="module")
def loaded(exported):
    return load_model(exported)


@pytest.fixture(scope="module")
def files(recordings, tmp_path_factory):
    """Return a short recording, a loud stereo one with an odd name, a text."""
    folder = tmp_path_factory.mktemp("uploads")
    short = folder / "short.wav"
    shutil.copyfile(next(iter(recordings.values())), short)
    rng = np.random.default_rng(0)
    loud = np.clip(rng.standard_normal((5 * 44100, 2)), -1, 1)
    soundfile.write(folder / ODD, loud, 44100)
    (folder / "notes.txt").write_text("no recording")
    return [str(short), str(folder / ODD), str(folder / "notes.txt")]


def test_answers_are_those_of_predict(loaded, files):
    model, labels = loaded
    analyser = Analyser(model, labels)
    answers, segments, problems = analyser.analyse(files, 2, 1)
    assert len(answers) == 2 and len(problems) == 1
    assert "notes.txt cannot be read" in problems[0].sentence
    rows, _ = predict(model, files[:2])
    for answer, row in zip(answers, rows):
        expected = row.log_probabilities.exp().tolist()
        assert answer.probabilities == pytest.approx(expected, abs=1e-6)
    assert len(answers[0].segments) == 1
    times = [(start, end) for start, end, _ in answers[1].segments]
    assert times == [(0, 2), (1, 3), (2, 4), (3, 5)]
    assert len(segments) == 1 + 4
    page = analyser.answer(files, None, 2, 1)
    assert page.count("segments.csv") == 2 and page.count("<article") == 2
    (path,) = pathlib.Path(analyser.folder.name).glob("*/segments.csv")
    text = path.read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 1 + 4 + 1 and rows[-1]["problem"]
    assert {row["file"] for row in rows[1:5]} == {ODD}


def test_warnings_are_shown_beside_their_recording(loaded, files, tmp_path):
    """Of channels that cancel each other."""
    left = 0.3 * np.sin(np.arange(32000) / 9)
    path = tmp_path / "phase.wav"
    soundfile.write(path, np.stack([left, -0.9 * left], axis=1), 16000)
    answers, _, problems = Analyser(*loaded).analyse(
        [files[0], str(path)], 2, 1
    )
    assert not problems and not answers[0].warnings
    assert len(answers[1].warnings) == 1
    shown = render(answers, problems, loaded[1])
    assert "channels of phase.wav has" in shown
    assert str(tmp_path) not in shown


def test_names_are_escaped(loaded, files):
    answers, _, problems = Analyser(*loaded).analyse(files, 2, 1)
    problems = [p.sentence for p in problems]
    page = render(answers, problems, ["<b>", "x", "y"], lambda path: path)
    assert "<img" not in page and "<b>" not in page
    assert "&lt;img src=x" in page
    text = introduction(Facts(name="<i>"), ["<b>"])
    assert "<i>" not in text and "<b>" not in text


def test_nothing_to_analyse_is_a_sentence(loaded, files):
    analyser = Analyser(*loaded)
    page = analyser.answer([], None, 2, 1)
    assert "Upload a recording or record yourself first." in page
    page = analyser.answer(files[:1], None, 0.001, 1)
    assert "the segments" in page and 'role="alert"' in page
    page = analyser.answer([], files[0], 2, 1)
    assert "short.wav" in page and "segments.csv" in page


def test_tables_are_deleted_after_an_hour(loaded, files):
    analyser = Analyser(*loaded)
    analyser.answer(files[:1], None, 2, 1)
    (old,) = pathlib.Path(analyser.folder.name).iterdir()
    os.utime(old, (0, 0))
    analyser.answer(files[:1], None, 2, 1)
    (new,) = pathlib.Path(analyser.folder.name).iterdir()
    assert new != old


def test_bands_fill_the_area_once():
    values = [0.2, 0.3, 0.5]
    segments = [(0, 2, values), (1, 3, values), (2.5, 4.5, values)]
    found = bands(Answer("a", 4.5, values, segments, []), ["x", "y", "z"])
    area = sum(band["width"] * band["height"] for band in found)
    assert area == pytest.approx(1000 * 100, rel=1e-3)


def test_the_outline_of_a_long_recording(tmp_path):
    """Of 130 s, which are read in three windows."""
    wave = np.zeros(130 * 8000)
    wave[-8000:] = 0.5
    soundfile.write(tmp_path / "long.wav", wave, 8000)
    values = envelope(str(tmp_path / "long.wav"), 130)
    assert values.max() == 1 and len(values) <= 130
    loud = np.flatnonzero(np.abs(values).max(axis=1) > 0.5)
    assert loud.min() >= len(values) - 3


def test_facts_of_the_card(exported, tmp_path):
    facts = read_facts(exported)
    assert facts.name == "tones" and len(facts.results) == 2
    assert facts.results[0][0].startswith("WA")
    assert read_facts(tmp_path) == Facts()
    hostile = "---\na: &a [x]\nb: !!python/object:os.system {}\n---\n"
    (tmp_path / "README.md").write_text(hostile)
    assert read_facts(tmp_path) == Facts()


def test_a_busy_port_is_one_sentence(exported, capsys):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(SystemExit) as stopped:
            app.main([str(exported), "--port", str(port)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Address already in use" in error
    for host, port in (("127.0.0.1", 70000), ("no.such.host.invalid", 7860)):
        with pytest.raises(BadInput, match="choose another with --port"):
            check_port(host, port)


def test_this_machine_alone_is_the_default(monkeypatch, exported):
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    options = app.parse([str(exported)])
    assert (options.host, options.port) == ("127.0.0.1", 7860)
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert app.parse([str(exported)]).host == "0.0.0.0"


@pytest.fixture(scope="module")
def served(exported, loaded):
    """Return the address of the page, and where this process connected to."""
    places = []
    connect = socket.socket.connect

    def record(self, address):
        if self.family != socket.AF_UNIX:
            places.append(address[0])
        return connect(self, address)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "*")
        patch.setattr(socket.socket, "connect", record)
        page = build(*loaded, read_facts(exported))
        url = serve(page, "127.0.0.1", port, wait=False)
        yield url, places
        page.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1400])
def test_in_a_browser(served, browser, files, width):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    url, places = served
    wait = WebDriverWait(browser, 60)
    set_width(browser, width)
    browser.get_log("browser")
    browser.get(url)
    upload = wait.until(
        lambda b: b.find_element(By.CSS_SELECTOR, "input[type=file]")
    )
    upload.send_keys("\n".join(files))
    wait.until(
        lambda b: len(b.find_elements(By.CSS_SELECTOR, ".download-link")) == 3
    )
    button = "//button[normalize-space()='Recognise']"
    browser.find_element(By.XPATH, button).click()
    cards = wait.until(
        lambda b: b.find_elements(By.CSS_SELECTOR, "article.ser-card")
    )
    assert len(cards) == 2
    assert "short.wav" in cards[0].text
    assert "onerror" in cards[1].text  # Gradio shortens names
    assert re.search(r"(calm|glad|mad)\s+\d+%", cards[0].text)
    assert (
        "notes.txt cannot be read"
        in browser.find_element(By.ID, "answers").text
    )
    assert len(cards[1].find_elements(By.CSS_SELECTOR, "tbody tr")) == 4
    inner = browser.execute_script(
        "return document.documentElement.scrollWidth"
    )
    assert inner <= width, "the page scrolls sideways"
    tops = browser.execute_script(
        "return [...document.querySelectorAll('.inputs > *')]"
        ".map(e => e.getBoundingClientRect().top)"
    )
    assert (tops[0] < tops[1]) == (width < 700), "a narrow page has one column"
    assert browser.execute_script("return document.images.length") == 0
    sounds = browser.execute_async_script(
        "const done = arguments[0];"
        "Promise.all([...document.querySelectorAll('.ser-card audio')].map(a =>"
        " new Promise(r => {const ok = () => r(a.duration);"
        "if (a.readyState > 0) ok(); else {a.onloadedmetadata = ok;"
        "a.onerror = () => r(0)}}))).then(done)"
    )
    assert len(sounds) == 2 and sounds[1] == pytest.approx(5, abs=0.1)
    link = wait.until(
        lambda b: b.find_element(By.CSS_SELECTOR, ".ser-download a")
    )
    with urllib.request.urlopen(link.get_attribute("href")) as response:
        assert response.read().startswith(b"file,start,end,emotion,p_calm")
    errors = [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert errors == []
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    here = urllib.parse.urlsplit(url).netloc
    assert {urllib.parse.urlsplit(u).netloc for u in loaded} <= {here, ""}
    assert {
        p for p in places if p not in ("127.0.0.1", "localhost", "::1")
    } == set()
