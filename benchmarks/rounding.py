#!/usr/bin/env python3
"""What rounding an encoder to half precision does to a model's probabilities.

    python -m benchmarks.rounding MODEL ENCODER --data FOLDER [--draws 5]

ENCODER is a folder whose weights are in float16. The file in float32 that it
was rounded from is not needed: each draw is an encoder in float32 whose
rounding is exactly ENCODER, every weight uniform among those that are. The
model answers recordings of a folder with ENCODER and with each draw. Prints
Markdown.
"""

import argparse
import pathlib
import shutil
import statistics
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

from benchmarks.measure import describe_machine, print_table
from modules.errors import BadInput, one_sentence
from modules.files import read_json, write_json
from modules.inference.loading import load_model
from modules.inference.predictor import predict

WEIGHTS = "model.safetensors"


def unround(weights: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw values in float32 that float16 rounds to the given ones.

    Arguments
    ---------
    weights : torch.Tensor
        float16.
    generator : torch.Generator
        Of the draw.

    Returns
    -------
    torch.Tensor
        float32, each uniform between the middles to the two neighbours in
        float16; 0 and numbers that are not finite stay as they are.

    Example
    -------
    >>> halves = torch.randn(1000).half()
    >>> drawn = unround(halves, torch.Generator().manual_seed(0))
    >>> torch.equal(drawn.half(), halves), torch.equal(drawn, halves.float())
    (True, False)
    """
    value = weights.double()
    up, down = (
        torch.nextafter(weights, torch.full_like(weights, end)).double()
        for end in (torch.inf, -torch.inf)
    )
    low, high = (value + down) / 2, (value + up) / 2
    share = torch.rand(value.shape, generator=generator, dtype=torch.float64)
    drawn = (low + share * (high - low)).float()
    # A middle itself may be rounded to the other side.
    keeps = (drawn.half() == weights) & drawn.isfinite() & (weights != 0)
    return torch.where(keeps, drawn, weights.float())


def write_draw(encoder: pathlib.Path, target: pathlib.Path, seed: int) -> None:
    """Write a copy of an encoder in float32 whose rounding is the encoder."""
    shutil.copytree(encoder, target)
    config = read_json(target / "config.json")
    # Transformers rounds the weights of a file to the precision named here.
    config.pop("torch_dtype", None)
    write_json(target / "config.json", config | {"dtype": "float32"})
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: unround(tensor, generator)
        if tensor.dtype == torch.float16
        else tensor
        for name, tensor in load_file(encoder / WEIGHTS).items()
    }
    save_file(tensors, target / WEIGHTS, metadata={"format": "pt"})


def answer(model: str, encoder, files: list[str]) -> torch.Tensor:
    """Return probabilities of recordings, [recordings, classes]."""
    loaded, _ = load_model(model, encoder_hub=str(encoder))
    rows, problems = predict(loaded, files)
    if problems:
        raise BadInput(problems[0].sentence)
    return torch.stack([row.log_probabilities.exp() for row in rows])


def compare(model, encoder, files, draws):
    """Return rows of the table: what each draw changes, and all of them."""
    before = answer(model, encoder, files)
    rows = [["draw", "median", "95%", "largest", "answers changed"]]
    changes, changed = [], 0
    for seed in range(draws):
        with tempfile.TemporaryDirectory() as folder:
            drawn = pathlib.Path(folder, "encoder")
            write_draw(encoder, drawn, seed)
            after = answer(model, drawn, files)
        change = (after - before).abs().max(dim=1).values
        count = int((after.argmax(dim=1) != before.argmax(dim=1)).sum())
        rows.append(_row(str(seed), change, f"{count} of {len(files)}"))
        changes, changed = [*changes, change], changed + count
    total = f"{changed} of {draws * len(files)}"
    return [*rows, _row("all", torch.cat(changes), total)]


def _row(title, change, changed):
    """Return a row of the table, given the change of each recording."""
    values = change.tolist()
    high = torch.quantile(change, 0.95).item()
    figures = (statistics.median(values), high, max(values))
    return [title, *(f"{value:.1e}" for value in figures), changed]


def main(arguments=None):
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a folder that export.py wrote")
    parser.add_argument("encoder", help="its encoder, in float16")
    parser.add_argument("--data", required=True, help="folder of recordings")
    parser.add_argument("--utterances", type=int, default=100)
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(describe_machine(), flush=True)
    with one_sentence(resumes=False):
        files = sorted(map(str, pathlib.Path(options.data).rglob("*.wav")))
        files = files[:: max(1, len(files) // options.utterances)]
        files = files[: options.utterances]
        encoder = pathlib.Path(options.encoder)
        rows = compare(options.model, encoder, files, options.draws)
    print_table(
        "Largest change of a probability of a recording, by draws of float32 "
        f"encoders that round to {encoder.name}; {len(files)} recordings",
        rows,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
