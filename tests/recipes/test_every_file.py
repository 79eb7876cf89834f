"""Every file of hparams/ and recipes/ trains, exports and predicts alike.

Systems that differ in numbers alone are trained once. A small encoder with
random weights takes the place of every pretrained one, and a corpus of tones
that of IEMOCAP and EmoDB.
"""

import functools
import json
import re

import pytest
import torch
from conftest import ROOT

import train
from demo.random_encoder import make_random_encoder
from modules.audio import read_speech
from modules.errors import BadInput
from modules.experiments.experiment_file import (
    is_experiment,
    read_experiment_file,
)
from modules.experiments.late_fusion import fuse_runs
from modules.experiments.plan import System, as_options
from modules.experiments.read_plan import systems_of
from modules.inference.loading import load_model
from modules.inference.packaging import build, write_files
from modules.models.upstream import is_code, upstream_names
from modules.training import fold
from modules.training.command_line import read_defaults
from modules.training.configuration import load_configuration
from modules.training.run import Run, find_run

HPARAMS = sorted((ROOT / "hparams").glob("*.yaml"))
EXPERIMENTS = [
    path
    for path in sorted((ROOT / "recipes").rglob("*.yaml"))
    if "data" not in path.parts and is_experiment(path)
]
# In a setting: the folder of another run of the same experiment.
RUN = re.compile(r"<experiment>/([^/]+)/fold_<test_fold>/seed_<seed>")

# What is refused: at training, or at export.
NO_AGREEMENT = "has no recognised from 0 to 1 in its manifest"
NO_TIMES = "has no begin and end of its emotional part"
FINE_TUNED = "fine-tuned an encoder: train a head on it"
TWO_ENCODERS = "cannot contain two encoders"
LATE_FUSION = "is a late fusion"


def read_systems(path):
    """Return the systems of an experiment file, or that of hparams."""
    if path in HPARAMS:
        return [System(path.stem, {}, path)]
    return systems_of(read_experiment_file(path), [], "<experiment>")


def signature(system):
    """Return what distinguishes a system, whatever its numbers."""
    defaults = read_defaults(system.hparams_file)
    own = {
        key: _without_numbers(value)
        for key, value in system.settings.items()
        if isinstance(value, bool | str | dict)
        and value != defaults[key]
        and key != "corpus"
    }
    hub = own.pop("encoder_hub", "")
    own["encoder"] = ["fbank" in hub, "," in hub, bool(RUN.search(hub))]
    return json.dumps([str(system.hparams_file), own], sort_keys=True)


def _without_numbers(value):
    """Return a value with its numbers replaced by 0."""
    if isinstance(value, dict):
        return {name: _without_numbers(part) for name, part in value.items()}
    if type(value) in (int, float):
        return 0
    return value


def distinct_systems():
    """Return a parameter for each system of its kind."""
    seen = {}
    for path in [*HPARAMS, *EXPERIMENTS]:
        for system in read_systems(path):
            if system.fuses:
                continue
            name = f"{path.relative_to(ROOT).with_suffix('')}: {system.name}"
            case = pytest.param(path, system, id=name)
            seen.setdefault(signature(system), case)
    return list(seen.values())


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Return the folder of an encoder with as many layers as Whisper tiny."""
    folder = tmp_path_factory.mktemp("encoder") / "random-weights"
    return str(make_random_encoder(folder, num_hidden_layers=4, hidden_size=32))


@pytest.fixture(scope="module")
def train_system(encoder, tone_corpus, tmp_path_factory):
    """Return a function that trains a system once and returns its run."""
    root = tmp_path_factory.mktemp("runs")
    runs = {}

    def run_of(path, system):
        key = signature(system)
        if key not in runs:
            runs[key] = root / str(len(runs))
            train_to(runs[key], path, system)
        return Run(runs[key])

    def train_to(folder, path, system):
        settings = {
            key: RUN.sub(functools.partial(other_run, path), value)
            if isinstance(value, str)
            else value
            for key, value in system.settings.items()
        }
        defaults = read_defaults(system.hparams_file)
        hub = settings.get("encoder_hub", defaults["encoder_hub"])
        if "<experiment>" not in system.settings.get("encoder_hub", ""):
            names = [
                name if is_code(name) else encoder
                for name in upstream_names(hub)
            ]
            hub = ",".join(names)
        small = {
            "corpus": "csv",
            "csv_file": tone_corpus,
            "encoder_hub": hub,
            "cache_folder": root / "cache",
            "cache_format": "float32",
            "number_of_epochs": 2,
            "average_checkpoints": 2,
            "lr": 0.0001,
            "ecapa_channels": 64,
            "output_folder": folder,
        }
        settings |= {k: v for k, v in small.items() if k in defaults}
        options = as_options(settings)
        fixed = ["--noprogressbar", "--device=cpu"]
        with pytest.MonkeyPatch.context() as patch:
            # Take most of the time of a run that is so short.
            patch.setattr(train.sb, "create_experiment_directory", nothing)
            for plot in ("plot_confusion", "plot_layer_weights"):
                patch.setattr(fold, plot, nothing)
            train.train_fold(
                *load_configuration(
                    [str(system.hparams_file), *options, *fixed]
                )
            )

    def other_run(path, found):
        [other] = [
            system for system in read_systems(path) if system.folder == found[1]
        ]
        return str(run_of(path, other).folder)

    return run_of


def nothing(*args, **kwargs):
    """Do nothing."""


@pytest.mark.parametrize("path, system", distinct_systems())
def test_trains_exports_and_predicts(path, system, train_system, tmp_path):
    if "recognised" in system.settings.values():
        with pytest.raises(BadInput, match=NO_AGREEMENT):
            train_system(path, system)
        return
    if system.hparams_file.name == "oracle.yaml":
        with pytest.raises(BadInput, match=NO_TIMES):
            train_system(path, system)
        return
    run = train_system(path, system)
    assert run.is_finished
    encoder_hub = run.settings["encoder_hub"]
    refusal = None
    if run.graph["encoder"]["fine_tuned"]:
        refusal = FINE_TUNED
    elif sum(not is_code(name) for name in upstream_names(encoder_hub)) == 2:
        refusal = TWO_ENCODERS
    if refusal:
        with pytest.raises(BadInput, match=refusal):
            build([run], True, None, None, "tones")
        return
    files = build([run], True, None, None, "tones")
    write_files(tmp_path, files)
    model, labels = load_model(tmp_path)
    assert labels == run.labels
    assert_same_predictions(model, run)


@torch.inference_mode()
def assert_same_predictions(model, run):
    """Compare log-probabilities with those of the test in training.

    Within 1e-5, and the rounding of fp32 where they are far below 0. A
    distance multiplies the rounding of an embedding: its directions of
    smallest variance by their precision, and the scores by the slope of the
    divisor, which is 14.
    """
    manifest = run.manifest("test")
    measured = any(h.distance and h.distance.is_fitted for h in model.heads)
    tolerance = 1e-4 if measured else 1e-5
    for row in run.predictions():
        expected = torch.tensor([float(row[label]) for label in run.labels])
        speech = read_speech(manifest[row["utterance"]]["wav"])
        torch.testing.assert_close(
            model(speech[None])[0],
            expected.log(),
            rtol=1.3e-6,
            atol=tolerance,
        )


FUSIONS = [
    pytest.param(path, system, id=f"{path.parent.name}: {system.name}")
    for path in EXPERIMENTS
    for system in read_systems(path)
    if system.fuses
]


@pytest.mark.parametrize("path, system", FUSIONS)
def test_a_late_fusion_is_made_and_export_refuses_it(
    path, system, train_system, tmp_path
):
    systems = {other.name: other for other in read_systems(path)}
    fuse_runs(
        [train_system(path, systems[name]).folder for name in system.fuses],
        tmp_path / "fused",
    )
    with pytest.raises(BadInput, match=LATE_FUSION):
        build([find_run(tmp_path / "fused")], True, None, None, "tones")
