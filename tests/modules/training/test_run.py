"""Which runs can be exported, and which together."""

import json
import shutil

import pytest

from modules.errors import BadInput
from modules.training.run import Run, read_runs


def test_the_demos_corpus_is_not_called_iemocap(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folders[1], run)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/SYNTHETIC.txt").touch()
    settings = json.loads((run / "settings.json").read_text())
    settings["data_folder"] = str(tmp_path / "data")
    (run / "settings.json").write_text(json.dumps(settings))
    assert Run(run).corpus == "synthetic"


def test_only_folds_of_one_system_go_together(trained, tmp_path):
    for fold in (1, 2):
        shutil.copytree(trained.folders[fold], tmp_path / f"fold_{fold}")
    path = tmp_path / "fold_2/settings.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"normalize_layers": False}))
    with pytest.raises(BadInput, match="one system"):
        read_runs(tmp_path / "fold_1", [1, 2])
