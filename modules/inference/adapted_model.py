"""Adapting a loaded model, or a model's folder, to a folder of recordings."""

from typing import Any, NamedTuple

from safetensors.torch import save_file

from modules.errors import BadInput
from modules.files import read_text, write_text
from modules.inference.adaptation import (
    SHRINKAGE,
    SKILL,
    Adaptation,
    adapted_graph,
    check_adaptable,
)
from modules.inference.emotion_model import ENCODER_FOLDER, LABELS, WEIGHTS
from modules.inference.loading import (
    HYPERPARAMS,
    load_model,
    locate_model,
    read_class_shares,
    read_values,
)
from modules.inference.packaging import format_hyperparams, interface
from modules.inference.predictor import choose_device, predict
from modules.inference.recordings import Problem, find_files

CARD = "README.md"
_EXAMPLE = "example.wav"
_BEFORE = "## How to use"


class Adapted(NamedTuple):
    """A model that is adapted to recordings.

    Attributes
    ----------
    model : modules.inference.emotion_model.EmotionModel
        With the encoder of the other.
    recordings : int
        Number of recordings that it is adapted to.
    problems : list of Problem
        Recordings that could not be used.
    """

    model: Any
    recordings: int
    problems: list[Problem]


def adapt_to_files(
    model: Any,
    path: str,
    device: str,
    class_shares: list[float] | None = None,
    jobs: int | None = None,
    batch_size: int | None = None,
) -> Adapted:
    """Return a copy of a model that is adapted to recordings.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
        Is not changed.
    path : str
        A folder of recordings, or one recording.
    device : str
        Where the model is.
    class_shares : list of float
        See `modules.inference.adaptation.Adaptation`.
    jobs, batch_size : int
        See `modules.inference.predictor.predict`.

    Raises
    ------
    BadInput
        If the model cannot be adapted or no recording can be used.
    """
    adaptation = Adaptation(model, class_shares=class_shares)
    files, problems = find_files([path])
    found = predict(
        model,
        files,
        jobs=jobs,
        batch_size=batch_size,
        device=device,
        progress=True,
        channel=model.channel,
        adaptation=adaptation,
    )
    problems = [*problems, *found.problems]
    if not adaptation.recordings:
        reason = problems[0].sentence if problems else "there is none"
        raise BadInput(
            f"--adapt_to {path}: no recording can be used ({reason}): give a "
            "folder of recordings"
        )
    return Adapted(adaptation.model, adaptation.recordings, problems)


def model_files(source: str, encoder_hub: str | None = None) -> dict:
    """Return the files of a model's folder, for `packaging.write_files`.

    Its graph in ONNX is left out: it would be that of another model.

    Arguments
    ---------
    source : str
        A folder that export.py wrote, or the name of one on the Hub.
    encoder_hub : str
        See `modules.inference.loading.load_model`.

    Raises
    ------
    BadInput
        If it is none, or cannot be adapted.
    """
    folder = locate_model(source, CARD, _EXAMPLE)
    # Before hours of work; it also compares the weights with the graph.
    check_adaptable(load_model(folder, encoder_hub=encoder_hub)[0])
    names = [HYPERPARAMS, WEIGHTS, LABELS]
    names += [n for n in (CARD, _EXAMPLE) if (folder / n).is_file()]
    encoder = read_values(folder)["encoder_files"]
    names += [f"{ENCODER_FOLDER}/{name}" for name in encoder]
    return {name: folder / name for name in names}


def adapt_folder(
    folder,
    path: str,
    adapt_priors: bool = False,
    encoder_hub: str | None = None,
) -> Adapted:
    """Adapt a model in its folder, which no one else uses yet.

    Arguments
    ---------
    folder : pathlib.Path
        As `packaging.write_files` leaves it.
    path : str
        A folder of recordings.
    adapt_priors : bool
        Estimate class priors too.
    encoder_hub : str
        See `modules.inference.loading.load_model`.

    Raises
    ------
    BadInput
        See `adapt_to_files`.
    """
    device = choose_device(None)
    model, labels = load_model(folder, device, encoder_hub)
    shares = read_class_shares(folder, len(labels)) if adapt_priors else None
    adapted = adapt_to_files(model, path, device, shares)
    weights = adapted.model.heads.state_dict()
    save_file(
        {name: value.cpu().contiguous() for name, value in weights.items()},
        folder / WEIGHTS,
    )
    values = read_values(folder)
    values["head"] = adapted_graph(values["head"], adapted.model.heads[0])
    # With its own standardisation it needs no speakers.
    more = {"adapted_to": adapted.recordings}
    write_text(folder / HYPERPARAMS, format_hyperparams(values, more))
    # That of an older version may not take the graph.
    source = interface(values["head"], values["encoder_hub"])
    write_text(folder / "custom_interface.py", source)
    card = "# Adapted model\n"
    if (folder / CARD).is_file():
        card = read_text(folder / CARD)
    section = describe_adaptation(adapted, adapt_priors)
    write_text(folder / CARD, _insert(card, section))
    return adapted


def describe_adaptation(adapted: Adapted, adapt_priors: bool) -> str:
    """Return the section of a model's card on its adaptation."""
    recordings = adapted.recordings
    temperature = adapted.model.heads[0].temperature
    confidence = (
        f"The scores are divided by {temperature:.2g}: of many recordings the "
        f"mean confidence is then {SKILL:.0%} of the way from chance to "
        "certainty, which adapted models were found to earn on other corpora.\n"
        if temperature != 1
        else "Most recordings are like those of the training, so that the "
        "scores are not divided.\n"
    )
    priors = (
        "The frequencies of the classes were estimated on them, too.\n"
        if adapt_priors
        else ""
    )
    return (
        "## Adapted\n\n"
        f"Adapted to {recordings} recordings without labels: mean and "
        "deviation of the embeddings were estimated again on them, with the "
        f"share {recordings} / {recordings + SHRINKAGE:g}. {confidence}{priors}"
        "The results above are those before the adaptation.\n\n"
    )


def _insert(card, section):
    """Return a card with a section before that on use.

    That on unknown answers goes: an adapted model has no threshold.
    """
    before, heading, after = card.partition(_BEFORE)
    before = before.partition("## Unknown\n")[0]
    if not heading:
        return f"{card}\n{section}"
    return before + section + heading + after
