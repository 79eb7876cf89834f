"""report.html in a real browser, and its text."""

import base64
import json
import pathlib
import re
import shutil

import pytest
from browser import set_width

import cross_validate
from modules.experiments.read_plan import read_plan
from modules.report.page import write_report


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1400])
def test_in_a_browser(browser, finished_table, width):
    set_width(browser, width)
    browser.get((finished_table / "report.html").as_uri())
    browser.execute_script(
        "for (const d of document.querySelectorAll('details')) d.open = true"
    )
    assert browser.execute_script("return window.innerWidth") == width
    inner, outer = browser.execute_script(
        "const e = document.documentElement;"
        "return [e.scrollWidth, e.clientWidth]"
    )
    assert inner <= outer, "the page scrolls sideways"
    pictures = browser.execute_script(
        "return [...document.images].map(i => [i.alt, i.complete, "
        "i.naturalWidth, i.parentElement.getBoundingClientRect().right])"
    )
    assert len(pictures) > 10
    for alt, complete, natural, right in pictures:
        assert complete and natural > 0 and len(alt) > 20, alt
        assert right <= width, alt
    sounds = browser.execute_async_script(
        "const done = arguments[0];"
        "Promise.all([...document.querySelectorAll('audio')].map(a => "
        "new Promise(r => {const ok = () => r(a.duration);"
        "if (a.readyState > 0) ok(); else {a.onloadedmetadata = ok;"
        "a.onerror = () => r(0)}}))).then(done)"
    )
    assert len(sounds) >= 3 and min(sounds) > 0.1
    broken = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].filter("
        "a => !document.querySelector(a.getAttribute('href'))).length"
    )
    assert broken == 0
    assert browser.get_log("browser") == []


def test_everything_is_in_the_file(finished_table):
    page = (finished_table / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "http" not in re.sub(r"data:[^\"]+", "", page)
    for words in (
        "Tones &amp; noise",
        "65.00 (2.50)",
        "p max-T",
        "attention over time, the highest at",
        "expected calibration error",
        "do not contain the agreement of the annotators",
        "do not contain the gender of the speakers",
        "How the figures were made",
    ):
        assert words in page, words
    assert len(page) < 15e6


def test_figures_of_the_page_are_those_of_results_json(finished_table):
    page = (finished_table / "report.html").read_text()
    results = json.loads((finished_table / "results.json").read_text())
    assert len(results["comparisons"]) == 3
    for system in results["systems"]:
        own = system["WA"]
        text = f"{100 * own['mean']:.1f} ({100 * own['std_folds']:.1f})"
        assert text in page
    calibrated = [s for s in results["systems"] if s["calibration"]]
    assert [s["system"] for s in calibrated] == ["s 0", "s 0.1", "baseline"]


def test_the_recordings_may_be_gone(finished_table, table_command, tmp_path):
    folder = shutil.copytree(finished_table, tmp_path / "out")
    for path in folder.glob("*/fold_*/seed_*/manifests/test.json"):
        path.write_text(path.read_text().replace(".wav", ".gone"))
    assert cross_validate.main(table_command(folder, "--report_only")) == 0
    page = (folder / "report.html").read_text()
    assert "The recordings cannot be shown here" in page
    assert "<audio" not in page


def test_sound_is_what_was_recorded(finished_table, tmp_path, tone_corpus):
    import soundfile

    page = (finished_table / "report.html").read_text()
    name = re.search(r'aria-label="utterance (.+?)"', page)[1]
    sound = re.search(r'src="data:audio/flac;base64,(.+?)"', page)[1]
    (tmp_path / "x.flac").write_bytes(base64.b64decode(sound))
    played, rate = soundfile.read(tmp_path / "x.flac")
    wav = pathlib.Path(tone_corpus).parent / f"{pathlib.Path(name).stem}.wav"
    recorded, _ = soundfile.read(wav)
    assert rate == 16000
    assert played == pytest.approx(recorded, abs=1e-3)


def test_the_page_changes_no_number(finished_table, table_command, tmp_path):
    folder = shutil.copytree(finished_table, tmp_path / "out")
    results = json.loads((folder / "results.json").read_text())
    file, _, *overrides = table_command(folder)
    plan = read_plan(file, overrides, output_folder=folder)
    before = json.dumps(results)
    write_report(plan, results)
    assert json.dumps(results) == before
