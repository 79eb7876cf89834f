"""A run: one fold and one seed of a system, in a folder of its own.

`Run` writes what a run leaves behind and reads it again. Export, report,
refitting and late fusion use nothing of a run but this record.
"""

import csv
import functools
import hashlib
import json
import pathlib
import re
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from speechbrain.utils.distributed import if_main_process

from modules.errors import BadInput, using
from modules.files import (
    check_file,
    read_json,
    read_weights_index,
    whole_file,
    write_json,
)
from modules.labels import read_labels
from modules.manifest import read_manifest
from modules.models.graph import build
from modules.models.head_check import check_shapes, check_values
from modules.training.run_checks import wrong_results, wrong_rows
from modules.training.standardizations import read_standardization

LABELS = "label_encoder.txt"
LEFT_OUT = "left_out_predictions.csv"
STANDARDIZATIONS = "standardizations.safetensors"
SPLITS = ("train", "dev", "test")
_SPLIT_OF = {"predictions.csv": "test", "dev_predictions.csv": "dev"}
# What graph.json has.
_GRAPH = {
    "head": {"class"},
    "sizes": {"num_hidden_states", "hidden_size", "num_classes"},
    "encoder": {"hub", "revision", "precision", "fine_tuned", "whisper_window"},
    "corpus": {"restricted"},
}
# Keys of places: a run may go on although its files have moved.
_PLACES = ("_folder", "_file", "_log")


class Run:
    """The folder of a run.

    Arguments
    ---------
    folder : str or pathlib.Path
        Output folder of train.py; need not exist before `begin`.

    Example
    -------
    >>> Run("results/none").is_finished
    False
    """

    def __init__(self, folder: str | pathlib.Path):
        self.folder = pathlib.Path(folder)
        # Replaces weights of the head, see `choose_corpus`.
        self._of_corpus = {}

    @property
    def is_finished(self) -> bool:
        """Whether the results are there."""
        return (self.folder / "results.json").is_file()

    @property
    def save_folder(self) -> pathlib.Path:
        """Folder of the checkpoints and the labels."""
        return self.folder / "save"

    # ---- while the run is trained

    def check_same(self, name: str, now: dict[str, Any]) -> None:
        """Compare values with those that the run began with.

        Raises
        ------
        BadInput
            If the folder belongs to a run of other values.
        """
        path = self.folder / name
        if not path.exists():
            return
        before = self._read(name)
        differing = [
            f"{key} {before.get(key)} instead of {now.get(key)}"
            for key in sorted(set(before) | set(now))
            if before.get(key) != now.get(key) and not key.endswith(_PLACES)
        ]
        if differing:
            raise BadInput(
                f"{self.folder} contains a run with {'; '.join(differing)}: "
                "choose another --output_folder, or delete this one"
            )

    def record(self, name: str, values: dict[str, Any]) -> None:
        """Write values once, for `check_same` and for readers."""
        if if_main_process() and not (self.folder / name).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / name, values)

    def record_inputs(self, manifests: dict, encoder_digest: str) -> None:
        """Compare recordings and encoder with those of before; record them.

        Raises
        ------
        BadInput
            If a checkpoint would go on with other recordings or another
            encoder.
        """
        recordings = [
            [split, utterance, entry["sha256"], entry["label"]]
            for split, entries in manifests.items()
            for utterance, entry in entries.items()
        ]
        text = json.dumps(recordings).encode()
        inputs = {
            "recordings": hashlib.sha256(text).hexdigest(),
            "encoder": encoder_digest,
        }
        self.check_same("inputs.json", inputs)
        self.record("inputs.json", inputs)

    def save_head(self, head) -> None:
        """Write the weights that are tested."""
        weights = {k: v.contiguous() for k, v in head.state_dict().items()}
        with (
            using(self.folder),
            whole_file(self.folder / "head.safetensors") as partial,
        ):
            save_file(weights, partial)

    def save_standardizations(self, state: dict) -> None:
        """Write the standardisation of each of several training corpora."""
        if state:
            path = self.folder / STANDARDIZATIONS
            with using(self.folder), whole_file(path) as partial:
                save_file(state, partial)

    # ---- when it is finished

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The plain values of its hyperparameters."""
        return self._read("settings.json")

    @functools.cached_property
    def results(self) -> dict[str, Any]:
        """What results.json contains.

        Raises
        ------
        BadInput
            If it is missing or damaged.
        """
        results = self._read("results.json")
        problem = wrong_results(results)
        if problem:
            raise self._damaged("results.json", problem)
        return results

    @functools.cached_property
    def graph(self) -> dict[str, Any]:
        """The object graph that was trained: ``head``, ``sizes``, ``corpus``.

        Raises
        ------
        BadInput
            If the run is a late fusion, or was trained before graphs were
            recorded.
        """
        if not (self.folder / "graph.json").exists():
            if "fusion_weights" in self.results:
                raise BadInput(
                    f"{self.folder} is a late fusion, which has no model of "
                    "its own: give one of the runs that it combines"
                )
            raise BadInput(
                f"{self.folder} has no graph.json: an earlier version of this "
                "recipe trained it; train it again"
            )
        graph = self._read("graph.json")
        for key, names in _GRAPH.items():
            part = graph.get(key)
            missing = (
                [key]
                if not isinstance(part, dict)
                else sorted(names - set(part))
            )
            if missing:
                raise self._damaged("graph.json", f"it lacks {missing[0]}")
        check_values(self.folder / "graph.json", graph["head"], graph["sizes"])
        return graph

    @property
    def encoder_digest(self) -> str:
        """Identifies the encoder that the head was trained on."""
        digest = self._read("inputs.json").get("encoder")
        if not isinstance(digest, str):
            raise self._damaged("inputs.json", "it lacks encoder")
        return digest

    @functools.cached_property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of their indices."""
        count = self.graph["sizes"]["num_classes"]
        return read_labels(self.save_folder / LABELS, count)

    def weights(self) -> dict:
        """Return the weights of the head that was tested.

        Raises
        ------
        BadInput
            If they are missing or damaged.
        """
        path = self.folder / "head.safetensors"
        try:
            shapes = read_weights_index(path)
        except (OSError, ValueError) as problem:
            raise self._damaged("head.safetensors", problem) from problem
        graph = self.graph
        check_shapes(
            self.folder / "graph.json",
            path,
            graph["head"],
            graph["sizes"],
            shapes,
        )
        try:
            weights = load_file(path)
        except (OSError, SafetensorError) as problem:
            raise self._damaged("head.safetensors", problem) from problem
        for name, value in weights.items():
            if not value.isfinite().all():
                raise self._damaged(
                    "head.safetensors", f"{name} has values that are not finite"
                )
        return weights | self._of_corpus

    def choose_corpus(self, corpus: str) -> None:
        """Let `weights` have the standardisation of one training corpus.

        Raises
        ------
        BadInput
            If the run was not trained on it and on others.
        """
        path = self.folder / STANDARDIZATIONS
        self._of_corpus = read_standardization(path, corpus)

    def make_head(self):
        """Return the head that was tested, built from the record."""
        weights = self.weights()  # compared with the graph
        head = build(self.graph["head"])(**self.graph["sizes"])
        head.load_state_dict(weights)
        return head.eval()

    def manifest(self, split: str) -> dict[str, dict]:
        """Return the entries of "train", "dev" or "test", paths filled in."""
        root = self.settings.get("data_folder")
        path = self.folder / "manifests" / f"{split}.json"
        return read_manifest(path, root)

    def predictions(self, name: str = "predictions.csv") -> list[dict]:
        """Return the rows of a file of predictions."""
        path = self.folder / name
        try:
            check_file(path)
            with open(path, encoding="utf-8", newline="") as lines:
                rows = list(csv.DictReader(lines, strict=True))
        except (OSError, ValueError, csv.Error) as problem:
            raise self._damaged(name, problem) from problem
        wrong = wrong_rows(rows, self.labels)
        count = self.results.get(f"n_{_SPLIT_OF.get(name)}", len(rows))
        if not wrong and len(rows) != count:
            wrong = f"it has {len(rows)} rows instead of {count}"
        if wrong:
            raise self._damaged(name, wrong)
        return rows

    def left_out_predictions(self) -> list[dict]:
        """Return the rows of `LEFT_OUT`; none if there is no such file."""
        there = (self.folder / LEFT_OUT).exists()
        return self.predictions(LEFT_OUT) if there else []

    def _read(self, name):
        """Read a JSON file that contains a mapping."""
        path = self.folder / name
        try:
            values = read_json(path)
        except (OSError, ValueError) as problem:
            if isinstance(problem, FileNotFoundError) and not self.is_finished:
                raise BadInput(
                    f"{path} is missing or damaged: give the output folder of "
                    "a finished run of train.py"
                ) from problem
            raise self._damaged(name, problem) from problem
        if not isinstance(values, dict):
            raise self._damaged(name, "not a mapping")
        return values

    def _damaged(self, name, reason):
        """Return the sentence for a file that cannot be used."""
        reason = getattr(reason, "strerror", None) or reason
        reason = " ".join(str(reason).split())
        return BadInput(
            f"{self.folder / name} is missing or damaged ({reason:.100}): "
            f"delete {self.folder} and train the run again"
        )


def find_run(folder: str | pathlib.Path) -> Run:
    """Return the only finished run in a folder or its direct subfolders.

    Raises
    ------
    BadInput
        If there is none, or more than one.
    """
    run = Run(folder)
    if run.is_finished:
        return run
    found = sorted(path.parent for path in run.folder.glob("*/results.json"))
    if not found:
        raise BadInput(
            f"{folder} contains no finished run (no results.json): train it "
            "with train.py first"
        )
    if len(found) > 1:
        raise BadInput(
            f"{folder} contains {len(found)} runs: choose one of "
            f"{', '.join(map(str, found))}"
        )
    return Run(found[0])


def find_runs(folder: str | pathlib.Path, folds: list[int] | None) -> list[Run]:
    """Return the runs of several folds of one system, or the only run.

    Arguments
    ---------
    folder : str or pathlib.Path
        Output folder of cross_validate.py, which contains ``fold_1`` and
        others; or the folder of one of these folds or runs.
    folds : list of int
        Test folds; None or empty: the folder is that of a single run.

    Raises
    ------
    BadInput
        If a run is missing.
    """
    if not folds:
        return [find_run(folder)]
    folder = pathlib.Path(folder)
    # The last part that names a fold: fold_1 in results/fold_1/seed_1.
    parts = list(folder.parts)
    places = [i for i, p in enumerate(parts) if re.fullmatch(r"fold_\d+", p)]
    if not places:
        parts.append("fold_0")
        places = [len(parts) - 1]
    runs = []
    for fold in dict.fromkeys(folds):
        parts[places[-1]] = f"fold_{fold}"
        runs.append(find_run(pathlib.Path(*parts)))
    return runs
