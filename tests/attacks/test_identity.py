"""One person or class under several names, one name for several, and names
that break what comes later.
"""

import io
import os
import shutil

import pytest
from attacked_corpus import (
    ROWS,
    change,
    entries,
    prepare,
    rename,
    write_list,
    write_recordings,
    write_wav,
)
from matplotlib.figure import Figure
from speechbrain.dataio.encoder import CategoricalEncoder

from data_prep.corpora import prepare as prepare_corpus
from data_prep.corpus import Utterance
from data_prep.manifest import write_manifests
from modules.errors import BadInput
from modules.plots import plain_text, plot_confusion

NAMES = {
    "3 and 3.0": ("3", "3.0"),
    "a decimal comma": ("3", "3,00"),
    "capitals": ("Ann", "ANN"),
    "a blank more": ("Ann  Lee", "Ann Lee"),
    "a blank that does not break": ("Ann\u00a0Lee", "Ann Lee"),
    "an accent of two characters": ("Andr\u00e9", "Andre\u0301"),
    "wide digits": ("\uff13", "3"),
    "an invisible character": ("an\u200bn", "ann"),
}
UNCLEAR = {
    "a leading zero": ("03", "3"),
    "a leading zero and a decimal": ("03", "3.0"),
    "a zero inside": ("s1_07", "S1_7"),
    "codes of one letter": ("a", "A"),
}


@pytest.mark.parametrize("what, name", [("speaker", "ann"), ("label", "calm")])
@pytest.mark.parametrize("attack", NAMES)
def test_spellings_are_merged_with_a_line(tmp_path, caplog, attack, what, name):
    first, second = NAMES[attack]
    rows = rename(what, name, first)
    rows = change(0, what, second, rows)
    write_recordings(tmp_path)
    write_list(tmp_path, rows)
    manifests = prepare(tmp_path)
    names = {entry[what] for entry in entries(manifests).values()}
    assert len(names) == (4 if what == "speaker" else 2)
    assert first in names and second not in names
    assert f"1 {what} has several spellings, which are merged: " in caplog.text
    assert caplog.text.count("several spellings") == 1
    tested = {e["speaker"] for e in manifests["test"].values()}
    assert not tested & {
        e["speaker"] for s in ("train", "dev") for e in manifests[s].values()
    }


@pytest.mark.parametrize("what, name", [("speaker", "ann"), ("label", "calm")])
@pytest.mark.parametrize("attack", UNCLEAR)
def test_what_may_be_two_is_refused(tmp_path, attack, what, name):
    first, second = UNCLEAR[attack]
    rows = change(0, what, second, rename(what, name, first))
    write_recordings(tmp_path)
    write_list(tmp_path, rows)
    sentence = f"Some {what}s may be the same or not .'{first}' and '{second}'"
    with pytest.raises(BadInput, match=sentence):
        prepare(tmp_path)


@pytest.mark.parametrize("column", ["label", "speaker"])
@pytest.mark.parametrize(
    "name", ["", " ", "nan", "NaN", "None", "null", "N/A", "#N/A", "<NA>", "NA"]
)
def test_an_empty_cell_is_no_name(tmp_path, column, name):
    write_recordings(tmp_path)
    write_list(tmp_path, change(3, column, name))
    sentence = f"my.csv, line 5, has nothing .*in the column {column}: fill it"
    with pytest.raises(BadInput, match=sentence):
        prepare(tmp_path)


@pytest.mark.parametrize(
    "label, reason",
    [
        ("utterance", "is a column of predictions.csv: rename it"),
        ("Speaker", "is a column of predictions.csv: rename it"),
        ("truth", "is a column of predictions.csv: rename it"),
        ("prediction", "is a column of predictions.csv: rename it"),
        ("a => b", "contains ' => ', which separates label and number"),
        ("a\tb", "has a line break, control character"),
        ("a\u2028b", "has a line break, control character"),
        ("a\x7fb", "has a line break, control character"),
    ],
)
def test_a_label_that_breaks_a_file(tmp_path, label, reason):
    write_recordings(tmp_path)
    write_list(tmp_path, rename("label", "calm", label))
    with pytest.raises(
        BadInput, match=f"line 2, has the label .*, which {reason}"
    ):
        prepare(tmp_path)
    utterances = [
        Utterance(row[0], row[0], [label, "x"][n % 2], row[2], n // 4 + 1)
        for n, row in enumerate(ROWS)
    ]
    with pytest.raises(
        BadInput, match=f"ann_calm_1.wav has the label .*{reason}"
    ):
        write_manifests(utterances, tmp_path, tmp_path / "m", 1, "random", 1)


@pytest.mark.parametrize(
    "label",
    ["$", "a$b$c", "$x_$", "_calm", "{0}", "=>", "'\"", "=1+1", "\\", "#"],
)
def test_a_label_that_is_odd_and_works(tmp_path, label):
    write_recordings(tmp_path)
    write_list(tmp_path, rename("label", "calm", label))
    assert label in {e["label"] for e in entries(prepare(tmp_path)).values()}
    encoder = CategoricalEncoder()
    encoder.update_from_iterable([label, "glad"])
    encoder.save(tmp_path / "label_encoder.txt")
    loaded = CategoricalEncoder()
    loaded.load(tmp_path / "label_encoder.txt")
    assert loaded.lab2ind == encoder.lab2ind
    plot_confusion(tmp_path / "x.png", [[1, 0], [0, 1]], [label, "glad"], label)
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], label=plain_text(label))
    assert len(axes.legend().get_texts()) == 1
    figure.savefig(io.BytesIO())


def copy(folder, source, target, kind):
    (folder / target).unlink()
    if kind == "hard link":
        os.link(folder / source, folder / target)
    elif kind == "link":
        (folder / target).symlink_to(folder / source)
    else:
        shutil.copy(folder / source, folder / target)
    if kind == "other header":
        with open(folder / target, "ab") as file:
            file.write(b"LIST\x04\x00\x00\x00INFO")


@pytest.mark.parametrize("kind", ["copy", "hard link", "link", "other header"])
@pytest.mark.parametrize(
    "target",
    ["ann_glad_1.wav", "bob_calm_1.wav", "dan_glad_2.wav"],
)
def test_a_recording_with_two_labels_or_speakers(tmp_path, kind, target):
    write_recordings(tmp_path)
    write_list(tmp_path)
    copy(tmp_path, "ann_calm_1.wav", target, kind)
    with pytest.raises(
        BadInput,
        match="same recording has two labels, speakers or folds "
        f".ann_calm_1.wav, label calm, .* and {target}, label .*keep the right",
    ):
        prepare(tmp_path)


@pytest.mark.parametrize("kind", ["copy", "hard link", "link", "other header"])
def test_a_copy_is_left_out_with_a_line(tmp_path, caplog, kind):
    write_recordings(tmp_path)
    write_list(tmp_path)
    copy(tmp_path, "ann_calm_1.wav", "ann_calm_2.wav", kind)
    assert len(entries(prepare(tmp_path))) == 15
    assert (
        "1 of 16 files are copies of another file with the same label and "
        "speaker and are left out: ann_calm_2.wav of ann_calm_1.wav."
    ) in caplog.text


@pytest.mark.parametrize(
    "rows, sentence",
    [
        (
            rename("label", "glad", "calm"),
            "All utterances have one label .calm.,",
        ),
        (
            [(p, k, "ann") for p, k, _ in ROWS],
            "All utterances are of one speaker",
        ),
    ],
)
def test_one_class_or_one_speaker(tmp_path, rows, sentence):
    write_recordings(tmp_path)
    write_list(tmp_path, rows)
    with pytest.raises(BadInput, match=sentence) as problem:
        prepare(tmp_path)
    assert "number_of_folds" not in str(problem.value)


def test_train_has_one_class(tmp_path):
    rows = [
        (path, "glad" if speaker == "ann" else "calm", speaker)
        for path, _, speaker in ROWS
    ]
    write_recordings(tmp_path)
    write_list(tmp_path, rows)
    with pytest.raises(BadInput, match="of train have one label .calm."):
        prepare(tmp_path)


def test_folds_that_lack_a_class_are_named(tmp_path, caplog):
    rows = [
        (path, "glad" if speaker in ("ann", "bob") else "calm", speaker)
        for path, _, speaker in ROWS
    ]
    write_recordings(tmp_path)
    write_list(tmp_path, rows)
    prepare(tmp_path)
    assert (
        "fold 1 without calm, fold 2 without calm, fold 3 without glad, fold 4 "
        "without glad."
    ) in caplog.text


def test_a_label_that_emodb_does_not_have(tmp_path):
    write_wav(tmp_path / "wav/03a01Fa.wav", 1)
    write_wav(tmp_path / "wav/03a01Xa.wav", 2)
    with pytest.raises(BadInput, match="03a01Xa.wav has the label X, which E"):
        prepare_corpus("emodb", tmp_path, None, tmp_path / "m", 1)
    (tmp_path / "wav/03a01Xa.wav").rename(tmp_path / "wav/17a01Fa.wav")
    with pytest.raises(BadInput, match="17a01Fa.wav has the speaker 17, which"):
        prepare_corpus("emodb", tmp_path, None, tmp_path / "m", 1)
