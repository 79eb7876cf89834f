#!/usr/bin/env python3
"""Turn a trained fold into a folder that SpeechBrain loads as a model.

    python export.py results/.../fold_1 exported/NAME [--include_encoder]
                     [--folds 1 2 3 4 5] [--push USER/NAME] [--dry_run]

The folder works with `EncoderClassifier.from_hparams` where this repository
is importable, with `foreign_class` anywhere, and with `predict.py`.
"""

import argparse
import ast
import inspect
import io
import json
import pathlib
import re
import shutil

import soundfile
import torch
import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors.torch import save, save_file
from speechbrain.dataio.encoder import CategoricalEncoder

from bad_input import BadInput, one_sentence
from custom_interface import ENCODER_FOLDER, LABELS, WEIGHTS
from model_card import CORPORA, model_card
from modules.brain import WholeCheckpointer, best_on_dev
from modules.encoder import encoder_digest, locate_encoder
from modules.head import EmotionHead
from whole_folder import check_vacant, write_whole

ROOT = pathlib.Path(__file__).parent

# In the order in which they use each other.
SOURCES = (
    "bad_input.py",
    "modules/audio.py",
    "modules/encoder.py",
    "modules/layer_pooling.py",
    "modules/pooling.py",
    "modules/head.py",
    "custom_interface.py",
)

# SpeechBrain runs the file without making it a module; hyperparams.yaml and
# pickle look its classes up by the module's name.
REGISTER = """
import sys
import types

sys.modules[__name__] = types.ModuleType(__name__)
sys.modules[__name__].__dict__.update(globals())
"""

HYPERPARAMS = """\
# What EncoderClassifier and foreign_class build. The plain values are what
# predict.py reads; lines with an exclamation mark execute code.

sample_rate: 16000
{values}
model: !new:custom_interface.EmotionModel
{arguments}
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder

modules:
    compute_features: !new:custom_interface.ComputeFeatures
    mean_var_norm: !new:custom_interface.MeanVarNorm
    embedding_model: !new:custom_interface.Embedding
        model: !ref <model>
    classifier: !new:custom_interface.Classifier
        model: !ref <model>

pretrainer: !new:custom_interface.ModelFolder
    model: !ref <model>
    label_encoder: !ref <label_encoder>
"""


class Run:
    """A finished run of train.py, as it lies on disk.

    Arguments
    ---------
    folder : pathlib.Path
        Its output folder, or a folder that holds one run and no other.

    Attributes
    ----------
    settings, results : dict
        From settings.json and results.json.
    encoder_digest : str
        Of the encoder it was trained on, None if not known.
    corpus : str
        A key of `model_card.CORPORA`.
    labels : list of str
        In the order of the classes.
    weights : dict
        Of the head, from the checkpoint that was tested.

    Raises
    ------
    BadInput
        If it is no finished run of train.py.
    """

    def __init__(self, folder):
        self.folder = _find_run(folder)
        self.settings = _read_json(self.folder / "settings.json")
        self.results = _read_json(self.folder / "results.json")
        self.encoder_digest = None
        # Older runs did not keep it.
        if (self.folder / "inputs.json").is_file():
            inputs = _read_json(self.folder / "inputs.json")
            self.encoder_digest = inputs["encoder"]
        hparams = (self.folder / "hyperparams.yaml").read_text(encoding="utf-8")
        prepared = re.search(r"data_prep\.(\w+)_prepare", hparams)
        self.corpus = prepared[1] if prepared else "csv"
        data_folder = pathlib.Path(self.settings.get("data_folder") or ".")
        if (data_folder / "SYNTHETIC.txt").is_file():
            # The demo's lies in IEMOCAP's layout, and is not IEMOCAP.
            self.corpus = "synthetic"
        save_folder = self.folder / "save"
        checkpoint = None
        if save_folder.is_dir():
            checkpoint = WholeCheckpointer(save_folder).find_checkpoint(
                importance_key=best_on_dev
            )
        if checkpoint is None or "head" not in checkpoint.paramfiles:
            raise BadInput(
                f"{self.folder} holds no checkpoint of a head: give the output "
                "folder of a run of train.py"
            )
        self.weights = torch.load(
            checkpoint.paramfiles["head"],
            map_location="cpu",
            weights_only=True,
        )
        encoder = CategoricalEncoder()
        encoder.load(save_folder / LABELS)
        self.labels = [encoder.ind2lab[i] for i in range(len(encoder.ind2lab))]

    def head_arguments(self):
        """Return the arguments that make this run's head."""
        known = inspect.signature(EmotionHead).parameters
        return {
            "layers": len(self.weights["layer_pooling.scores"]),
            "width": self.weights["projection.weight"].shape[1],
            "classes": len(self.labels),
        } | {key: self.settings[key] for key in known if key in self.settings}

    def kind(self):
        """Return what the folds of one system have in common."""
        return self.labels, self.head_arguments(), self.encoder_digest


def _find_run(folder):
    """Return the only run in a folder."""
    folder = pathlib.Path(folder)
    if (folder / "results.json").is_file():
        return folder
    runs = sorted(path.parent for path in folder.glob("*/results.json"))
    if not runs:
        raise BadInput(
            f"{folder} holds no finished run (no results.json): train it with "
            "train.py first"
        )
    if len(runs) > 1:
        raise BadInput(
            f"{folder} holds {len(runs)} runs: choose one of "
            f"{', '.join(map(str, runs))}"
        )
    return runs[0]


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise BadInput(
            f"{path} cannot be read: give the output folder of a finished run "
            "of train.py"
        ) from problem


def read_runs(folder, folds=None):
    """Return the runs to export: one, or the same system on several folds.

    Arguments
    ---------
    folder : str or pathlib.Path
        Output folder of one of them.
    folds : list of int
        Test folds; the other folders are found by their name, fold_N.

    Raises
    ------
    BadInput
        If one is missing, or if they differ in more than the fold.
    """
    if not folds:
        return [Run(folder)]
    folder = pathlib.Path(folder)
    # The last part that names a fold: fold_1 in results/fold_1/seed_1.
    place = [
        i for i, p in enumerate(folder.parts) if re.fullmatch(r"fold_\d+", p)
    ]
    if not place:
        raise BadInput(
            f"--folds needs a folder that is named after its fold, such as "
            f"results/.../fold_1: {folder} is not"
        )
    runs = []
    for fold in dict.fromkeys(folds):
        parts = list(folder.parts)
        parts[place[-1]] = f"fold_{fold}"
        runs.append(Run(pathlib.Path(*parts)))
    first = runs[0]
    for run in runs[1:]:
        for key in ("encoder_hub", "encoder_revision"):
            if run.settings.get(key) != first.settings.get(key):
                raise BadInput(
                    f"{run.folder} has {key} {run.settings.get(key)} and "
                    f"{first.folder} {first.settings.get(key)}: only folds of "
                    "one system go together"
                )
        if run.kind() != first.kind():
            raise BadInput(
                f"{run.folder} and {first.folder} differ in their classes, "
                "heads or encoders: only folds of one system go together"
            )
    return runs


def self_contained_source(sources=SOURCES):
    """Return one file with the source of the modules that trained.

    Imports among them are left out; everything else is as it is written.

    Arguments
    ---------
    sources : iterable of str
        Paths in this repository, each after those it imports.

    Returns
    -------
    source : str
        Of custom_interface.py in a model's folder.
    """
    inside = {name.removesuffix(".py").replace("/", ".") for name in sources}
    title = ast.get_docstring(ast.parse((ROOT / sources[-1]).read_text()))
    parts = [
        f'"""{title.splitlines()[0]}\n\n'
        "Written by export.py from the modules that trained; do not edit.\n"
        '"""\n'
    ]
    owner = {}
    for name in sources:
        text = (ROOT / name).read_text(encoding="utf-8")
        lines = text.splitlines()
        tree = ast.parse(text)
        for node in tree.body:
            for defined in _defined_names(node):
                if owner.setdefault(defined, name) != name:
                    raise RuntimeError(
                        f"{name} and {owner[defined]} both define {defined}"
                    )
            is_docstring = node is tree.body[0]
            is_ours = isinstance(node, ast.ImportFrom) and node.module in inside
            if is_docstring or is_ours:
                count = node.end_lineno - node.lineno + 1
                lines[node.lineno - 1 : node.end_lineno] = [None] * count
        body = "\n".join(line for line in lines if line is not None)
        parts.append(f"# ---- {name}\n{body.strip()}\n")
    return "\n\n".join(parts) + REGISTER


def _defined_names(node):
    """Return the names that a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    return []


def hyperparams(run, members, encoder_revision, encoder_files):
    """Return the text of hyperparams.yaml."""
    values = {
        "encoder_hub": run.settings["encoder_hub"],
        "encoder_revision": encoder_revision,
        "encoder_files": encoder_files,
        "members": members,
        **run.head_arguments(),
    }
    if encoder_files:
        # A folder of the machine that trained means nothing elsewhere.
        values["encoder_hub"] = _public_name(run.settings["encoder_hub"])
    return HYPERPARAMS.format(
        values=yaml.safe_dump(values, sort_keys=False),
        arguments="".join(f"    {key}: !ref <{key}>\n" for key in values),
    )


def _public_name(encoder_hub):
    """Return what to call an encoder: its name on the Hub, or its folder's."""
    folder = pathlib.Path(encoder_hub).expanduser()
    return folder.name if folder.is_dir() else encoder_hub


def pinned_revision(folder, encoder_hub, revision):
    """Return the commit of an encoder that came from the Hub.

    Arguments
    ---------
    folder : pathlib.Path
        From `modules.encoder.locate_encoder`.
    encoder_hub, revision : str
        As in training.
    """
    if folder.parent.name == "snapshots":
        return folder.name
    return None if pathlib.Path(encoder_hub).expanduser().is_dir() else revision


def _check_encoder(run, folder):
    """Refuse an encoder that is not the one that the head was trained on."""
    if run.encoder_digest is None:
        return
    precision = run.settings["encoder_precision"]
    if encoder_digest(folder, precision) != run.encoder_digest:
        raise BadInput(
            f"the encoder in {folder} is not the one that {run.folder} was "
            "trained on: put that one back, or train again"
        )


def encoder_contents(folder):
    """Return what of an encoder goes into the model's folder.

    Weights in another format are converted to safetensors.

    Returns
    -------
    files : dict
        Name -> path to copy, or list of paths to convert.
    """
    names = ["config.json", "preprocessor_config.json"]
    files = {name: folder / name for name in names}
    safe = sorted(folder.glob("model*.safetensors"))
    if safe:
        index = folder.glob("model.safetensors.index.json")
        return files | {path.name: path for path in [*safe, *index]}
    return files | {"model.safetensors": sorted(folder.glob("*.bin"))}


def _convert(paths, target):
    """Write PyTorch weights as safetensors."""
    weights = {}
    for path in paths:
        weights |= torch.load(path, map_location="cpu", weights_only=True)
    # Each its own memory: safetensors refuses tensors that share theirs.
    weights = {k: v.clone().contiguous() for k, v in weights.items()}
    save_file(weights, target, metadata={"format": "pt"})


def example_recording():
    """Return a wav file of synthetic speech, or None without espeak-ng."""
    try:
        from demo.synthetic_corpus import SAMPLE_RATE, Espeak

        with Espeak() as espeak:
            sentence = "The bus leaves at seven."
            samples = espeak.speak("en-us+f2", sentence, (60, 60, 170, 70))
            rate = espeak.sample_rate or SAMPLE_RATE
    except (ImportError, OSError, RuntimeError):
        return None
    wav = io.BytesIO()
    soundfile.write(wav, samples, rate, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def build(runs, include_encoder, licence, language, name):
    """Return the files of a model's folder.

    Arguments
    ---------
    runs : list of Run
        One, or the folds of an ensemble.
    include_encoder : bool
        Put the encoder into the folder.
    licence, language : str
        For the card; None: what is known of the corpus.
    name : str
        What the card calls the model.

    Returns
    -------
    files : dict
        Name -> bytes, path to copy, or list of paths to convert.

    Raises
    ------
    BadInput
        If the encoder is a local folder and is to be referred to by name.
    """
    first = runs[0]
    encoder_hub = first.settings["encoder_hub"]
    is_local = pathlib.Path(encoder_hub).expanduser().is_dir()
    if is_local and not include_encoder:
        raise BadInput(
            f"the encoder {encoder_hub} is a folder on this machine, which "
            "others cannot load: add --include_encoder"
        )
    encoder_folder = locate_encoder(
        encoder_hub, first.settings.get("encoder_revision")
    )
    revision = pinned_revision(
        encoder_folder, encoder_hub, first.settings.get("encoder_revision")
    )
    _check_encoder(first, encoder_folder)
    encoder = encoder_contents(encoder_folder) if include_encoder else {}
    weights = {
        f"{i}.{key}": value.contiguous()
        for i, run in enumerate(runs)
        for key, value in run.weights.items()
    }
    example = example_recording()
    card = model_card(
        runs,
        name=name,
        encoder=_public_name(encoder_hub),
        encoder_is_public=not is_local,
        revision=revision,
        digest=encoder_digest(encoder_folder),
        include_encoder=include_encoder,
        has_example=example is not None,
        licence=licence,
        language=language,
    )
    labels = (first.folder / "save" / LABELS).read_bytes()
    yaml_text = hyperparams(first, len(runs), revision, list(encoder))
    files = {
        "README.md": card.encode(),
        "hyperparams.yaml": yaml_text.encode(),
        WEIGHTS: save(weights),
        LABELS: labels,
        "custom_interface.py": self_contained_source().encode(),
    }
    if example is not None:
        files["example.wav"] = example
    return files | {
        f"{ENCODER_FOLDER}/{key}": value for key, value in encoder.items()
    }


def write_files(folder, files):
    """Write what `build` returned into an empty folder."""
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        elif isinstance(content, list):
            _convert(content, target)
        else:
            shutil.copyfile(content, target)


def describe_files(files):
    """Return one line per file: size and name."""
    lines = []
    for name, content in files.items():
        if isinstance(content, bytes):
            size = len(content)
        else:
            paths = content if isinstance(content, list) else [content]
            size = sum(path.stat().st_size for path in paths)
        lines.append(f"{size / 1e6:10.3f} MB  {name}")
    return "\n".join(lines)


def push(folder, repository):
    """Upload a model's folder; a new repository is private.

    Raises
    ------
    BadInput
        If the Hub does not take it.
    """
    try:
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        return api.upload_folder(
            folder_path=folder,
            repo_id=repository,
            ignore_patterns=["__pycache__/*"],
        )
    except (HfHubHTTPError, HFValidationError, OSError) as problem:
        raise BadInput(
            f"{folder} is written, but cannot be pushed to {repository} "
            f"({type(problem).__name__}): log in with `hf auth login`, check "
            "the name and the network"
        ) from problem


def main(arguments=None):
    """Export from the command line."""
    parser = argparse.ArgumentParser(
        description="Turn a trained fold into a model that SpeechBrain loads."
    )
    parser.add_argument("run", help="output folder of a run of train.py")
    parser.add_argument("folder", help="where the model goes: a new folder")
    parser.add_argument(
        "--include_encoder",
        action="store_true",
        help="put the encoder into the folder: it then needs no network",
    )
    parser.add_argument(
        "--folds",
        type=int,
        nargs="+",
        metavar="N",
        help="export these folds as one ensemble (mean of probabilities)",
    )
    parser.add_argument(
        "--license",
        help="of the weights, as the Hub writes it (default: 'other', see "
        "the terms of the corpus)",
    )
    parser.add_argument(
        "--language",
        help="of the recordings, such as en (default: the corpus's, if known)",
    )
    parser.add_argument(
        "--push", metavar="USER/NAME", help="upload to the HuggingFace Hub"
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="show what would be written and uploaded, do neither",
    )
    options = parser.parse_args(arguments)
    with one_sentence(resumes=False):
        check_vacant(options.folder)
        runs = read_runs(options.run, options.folds)
        files = build(
            runs,
            options.include_encoder,
            options.license,
            options.language,
            options.push or pathlib.Path(options.folder).name,
        )
        if "example.wav" not in files:
            print("no example.wav: espeak-ng is not installed")
        print(describe_files(files))
        if CORPORA[runs[0].corpus].restricted and options.push:
            print(f"note: {CORPORA[runs[0].corpus].restricted}")
        if options.dry_run:
            print(f"dry run: nothing written to {options.folder}")
            if options.push:
                print(f"would go to https://huggingface.co/{options.push}")
            return
        write_whole(options.folder, lambda new: write_files(new, files))
        print(f"model: {options.folder}")
        if options.push:
            print(f"pushed: {push(options.folder, options.push)}")


if __name__ == "__main__":
    main()
