"""EmoBox's folds of EmoDB, and speakers that lists share."""

import csv
import json

import pytest
from conftest import ROOT

from recipes.EMOBOX import leaks, study


def test_the_list_has_the_folds_and_no_speaker():
    with open(ROOT / "recipes/EMOBOX/data/emodb_folds.csv") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 535
    assert {row["speaker"] + ".wav" for row in rows} == {
        row["path"] for row in rows
    }
    sizes = [sum(row["fold"] == str(k) for row in rows) for k in range(1, 6)]
    assert sizes == [107] * 5
    speakers = {(row["path"][:2], row["fold"]) for row in rows}
    assert len(speakers) == 50  # each of ten is tested in each fold


def write_lists(root, corpus, fold, **parts):
    folder = root / corpus / f"fold_{fold}"
    folder.mkdir(parents=True)
    for part, paths in parts.items():
        lines = [json.dumps({"wav": path}) for path in paths]
        path = folder / f"{corpus}_{part}_fold_{fold}.jsonl"
        path.write_text("\n".join(lines) + "\n")


def test_shared_speakers_are_counted(tmp_path, capsys):
    data = tmp_path / "data"
    names = [f"wav/{s}a01Wa.wav" for s in ("03", "08", "09")]
    write_lists(data, "emodb", 1, train=names[:2], test=names[2:])
    write_lists(data, "emodb", 2, train=["wav/03a02Wa.wav"], test=names[:2])
    write_lists(data, "mer2023", 1, train=["a.avi"], test=["b.avi"])
    write_lists(data, "esd", 1, test=["0001_1.wav"])
    target = tmp_path / "out"
    assert leaks.main([str(data), f"--output_folder={target}"]) == 0
    told = capsys.readouterr()
    assert "| emodb | 2 | 3 | 1 | 1 | 0 |" in told.out
    assert "| mer2023 | 1 | - | - | - | 0 |" in told.out
    assert "1 of 1 corpora of several speakers share" in told.out
    assert "esd: no list of train" in told.err
    assert (target / "emodb/emodb_train_fold_1.csv").is_file()


def test_wrong_folders_and_names_are_one_sentence(tmp_path, capsys):
    for folder, sentence in (
        (tmp_path / "none", "is no folder: give the folder data"),
        (tmp_path, "has no lists of EmoBox"),
    ):
        with pytest.raises(SystemExit):
            leaks.main([str(folder), f"--output_folder={tmp_path / 'out'}"])
        assert sentence in capsys.readouterr().err
    write_lists(tmp_path, "emodb", 1, train=["x.wav"], test=["y.wav"])
    with pytest.raises(SystemExit):
        leaks.main([str(tmp_path), f"--output_folder={tmp_path / 'out'}"])
    assert "x.wav has no speaker in its name" in capsys.readouterr().err


class Folds:
    """Finished runs whose predictions are given."""

    def __init__(self, wrong, speaker):
        self.wrong, self.speaker = wrong, speaker

    def predictions(self):
        return [
            {
                "utterance": f"{s}{i}",
                "speaker": s if self.speaker else f"{s}{i}",
                "truth": "ab"[i % 2],
                "prediction": "ab"[(i + (f"{s}{i}" in self.wrong)) % 2],
            }
            for s in "xyz"
            for i in range(4)
        ]


def test_the_difference_is_of_the_same_utterances(tmp_path, monkeypatch):
    def runs(folder, folds):
        if folder.name.endswith("_shared"):
            return [Folds({"x0"}, False)]
        return [Folds({"x0", "x1", "y1", "z1"}, True)]

    monkeypatch.setattr(study, "find_runs", runs)
    found = study.compare(tmp_path, "recommended")
    assert found["shared"]["WA"] == pytest.approx(11 / 12)
    assert found["unseen"]["WA"] == pytest.approx(8 / 12)
    assert found["difference"] == pytest.approx(0.25)
    assert found["interval"] == pytest.approx([0.25, 0.25])
    table = study.format_comparison({"recommended": found})
    assert "| +25.0 (+25.0 to +25.0) |" in table
