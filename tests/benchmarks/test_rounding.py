"""Encoders in float32 that round to a given one in float16."""

import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

from benchmarks import rounding
from modules.models.encoder_values import values_digests


def test_a_draw_is_uniform_among_the_values_that_round_to_it():
    halves = torch.full((20_000,), 1.0).half()
    drawn = rounding.unround(halves, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.half(), halves)
    # Below 1 the numbers of float16 lie twice as dense.
    low, high = 1 - 2**-12, 1 + 2**-11
    assert low <= drawn.min() < low + 1e-6 and high - 1e-6 < drawn.max() <= high
    assert abs(drawn.mean() - (low + high) / 2) < 1e-5


def test_every_number_of_float16_survives():
    halves = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.half)
    drawn = rounding.unround(halves, torch.Generator().manual_seed(1))
    same = (drawn.half() == halves) | halves.isnan()
    assert same.all() and drawn[halves.isfinite()].isfinite().all()
    assert (drawn != halves.float()).float().mean() > 0.9


def test_the_command(exported, encoder_folder, recordings, tmp_path, capsys):
    encoder = pathlib.Path(shutil.copytree(encoder_folder(), tmp_path / "e"))
    weights = load_file(encoder / rounding.WEIGHTS)
    save_file(
        {k: v.half() for k, v in weights.items()},
        encoder / rounding.WEIGHTS,
        metadata={"format": "pt"},
    )
    rounding.write_draw(encoder, tmp_path / "draw", 0)
    given, drawn = values_digests(encoder), values_digests(tmp_path / "draw")
    assert given[0] == drawn[0] and given[1] != drawn[1]
    data = pathlib.Path(next(iter(recordings.values()))).parent
    arguments = [str(exported), str(encoder), "--data", str(data)]
    rounding.main([*arguments, "--utterances=2", "--draws=1"])
    row = capsys.readouterr().out.strip().splitlines()[-1]
    assert row.startswith("| all |") and row.endswith("of 2 |")
    assert "| 0.0e+00 |" not in row
