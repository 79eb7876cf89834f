#!/usr/bin/env python3
"""Encoding once, and training on what is stored, beside the alternatives.

    make bench
    python -m benchmarks.frozen_features [--utterances 32] [--repeats 5]
                                         [--parts update pooling]
                                         [--device cuda]

A WavLM of the large configuration (24 layers, hidden size 1024) with random
weights, noise with the durations of IEMOCAP (5531 utterances, mean 4.5 s, 0.6
to 34 s; drawn, log-normal), at a scale that fits the machine. Prints Markdown.
"""

import argparse
import functools
import pathlib
import sys
import tempfile

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import memory
from benchmarks.measure import (
    describe_machine,
    print_table,
    ratio,
    spread,
    time_beside,
)
from benchmarks.published_way import loop_over_padded, loop_over_utterances
from benchmarks.recordings import SECONDS, draw_durations, make_recordings
from benchmarks.update import POOLINGS, Update, make_head
from demo.random_encoder import make_random_encoder
from modules.audio import read_waveform
from modules.features.cache import GPU_BATCH_SECONDS, FeatureCache
from modules.features.extraction import plan_batches
from modules.features.store import FeatureStore
from modules.features.stored_states import StoredStates
from modules.models.encoder import FrozenEncoder
from modules.models.layer_pooling import LayerPooling

LARGE = {
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_dim": [512] * 7,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}
UTTERANCES, UPDATES = 5531, 30_000
PARTS = ("encoder", "update", "pooling", "memory")


def time_extraction(folder, entries, encoder, repeats, device):
    """Time the encoder's bare forward ("bare") and `FeatureCache.fill`.

    Arguments
    ---------
    folder : pathlib.Path
        Contains the encoder in "encoder"; gets the caches.
    entries : dict
        Manifest entries by utterance.
    encoder : modules.models.encoder.FrozenEncoder
        On the device.
    repeats : int
        Rounds that count.
    device : str
        Of the encoder.

    Returns
    -------
    cache : modules.features.cache.FeatureCache
        Contains all entries.
    seconds : dict
        "bare" and "fill" -> list of float, one per round.
    """
    waves = [read_waveform(e["wav"]).to(device) for e in entries.values()]
    precision = "fp32" if device == "cpu" else "bf16"

    def bare():
        with (
            torch.inference_mode(),
            torch.autocast("cuda", torch.bfloat16, enabled=device != "cpu"),
        ):
            for wave in waves:
                wave = F.layer_norm(wave, wave.shape)[None]
                encoder.wrapper.model(wave, output_hidden_states=True)

    # Made before: hashing the encoder's weights takes a second per run.
    caches = [
        FeatureCache(
            folder / f"cache{turn}", folder / "encoder", precision=precision
        )
        for turn in range(repeats + 1)
    ]
    unfilled = iter(caches)

    def fill():
        next(unfilled).fill(entries, lambda: encoder, device, progress=False)

    return caches[-1], time_beside(
        {"bare": bare, "fill": fill}, repeats, device
    )


def measure_extraction(folder, entries, encoder, repeats, device):
    """Print extraction beside the bare forward; return cache and seconds."""
    cache, seconds = time_extraction(folder, entries, encoder, repeats, device)
    audio = sum(e["duration"] for e in entries.values())
    durations = [
        {"duration": d, "sha256": str(i)}
        for i, d in enumerate(draw_durations(UTTERANCES))
    ]
    batches = plan_batches(durations, GPU_BATCH_SECONDS)
    padded = sum(len(b) * b[0]["duration"] for b in batches)
    padding = 1 - sum(e["duration"] for e in durations) / padded
    print_table(
        f"Encoding, {len(entries)} utterances, {audio:.0f} s of audio",
        [
            ["what", "time", "throughput against the bare forward"],
            ["bare forward, nothing padded", spread(seconds["bare"], "s", 1)]
            + ["1"],
            ["read, encode, convert, check, write"]
            + [spread(seconds["fill"], "s", 1)]
            + [ratio(seconds["fill"], seconds["bare"])],
        ],
    )
    print(
        "Padding: none on a CPU, which encodes one recording at a time; in "
        f"the batches of {GPU_BATCH_SECONDS} s that a GPU gets, planned for "
        f"{UTTERANCES} utterances, {padding:.1%}."
    )
    return cache, seconds["fill"]


def time_epoch(cache, entries, encoder, repeats, device):
    """Time an epoch on stored features, and one with the encoder.

    See `time_extraction`; returns "store" and "recomputed" -> seconds.
    """
    waves = [read_waveform(e["wav"]).to(device) for e in entries.values()]
    digests = [e["sha256"] for e in entries.values()]
    update = Update(
        "attentive_corr", device, encoder.num_hidden_states, encoder.hidden_size
    )

    def recomputed():
        with torch.no_grad():
            states = [encoder(wave[None])[0][:, 0] for wave in waves]
        longest = max(s.shape[1] for s in states)
        lengths = torch.tensor([s.shape[1] / longest for s in states])
        padded = torch.stack(
            [F.pad(s, (0, 0, 0, longest - s.shape[1])) for s in states], dim=1
        )
        output = update.head(padded, lengths.to(device))
        output[:, 0].sum().backward()
        update.optimizer.step()
        update.optimizer.zero_grad()

    return time_beside(
        {
            "store": lambda: update([cache.read(d) for d in digests]),
            "recomputed": recomputed,
        },
        repeats,
        device,
    )


def measure_epoch(cache, entries, encoder, repeats, device):
    """Print an epoch from the store beside one with the encoder."""
    seconds = time_epoch(cache, entries, encoder, repeats, device)
    print_table(
        f"An epoch of {len(entries)} utterances, attentive correlation",
        [
            ["what", "time", "times faster"],
            ["encoder in every update", spread(seconds["recomputed"]), "1"],
            ["from the store", spread(seconds["store"])]
            + [ratio(seconds["store"], seconds["recomputed"])],
        ],
    )


def time_update(folder, repeats, device):
    """Time an update on 32 utterances, its parts, and a copy of its bytes.

    Returns
    -------
    seconds : dict
        "copy", "products", "sum False", "sum True" (normalised) and each
        pooling -> list of float, one per round.
    frames, size : int
        Of all utterances; size in bytes.
    """
    store = FeatureStore(folder / "random")
    for i, seconds in enumerate(draw_durations(32)):
        states = torch.randn(round(50 * seconds), 25, 1024)
        store.write(
            {f"{i:064}": StoredStates.from_hidden_states(states, torch.float16)}
        )
    store.refresh()
    states = [store.read(f"{i:064}").to(device) for i in range(32)]
    copies = [torch.empty_like(s.values) for s in states]
    frames = sum(map(len, states))
    features = torch.randn(frames, 1024, device=device)
    weight = torch.randn(256, 1024, device=device)
    gradient = torch.randn(frames, 256, device=device)

    def copy():
        for target, source in zip(copies, states):
            target.copy_(source.values)

    def products():
        return features @ weight.T, gradient.T @ features, gradient @ weight

    functions = {"copy": copy, "products": products}
    for normalize in (False, True):
        layers = LayerPooling(25, normalize).to(device)
        functions[f"sum {normalize}"] = functools.partial(
            lambda layers: layers(states).backward(features), layers
        )
    for pooling in POOLINGS:
        functions[pooling] = functools.partial(Update(pooling, device), states)
    seconds = time_beside(functions, repeats, device)
    return seconds, frames, sum(c.nbytes for c in copies)


def measure_update(folder, repeats, device):
    """Print an update beside a plain copy of its bytes."""
    seconds, frames, size = time_update(folder, repeats, device)
    names = {
        "copy": "plain copy",
        "sum False": "layer-weighted sum, forward and backward",
        "sum True": "the same, layers normalised",
        "products": "the projection's three matrix products alone",
    } | {p: f"whole update, `{p}`" for p in POOLINGS}
    print_table(
        f"An update on 32 utterances, {frames} frames, "
        f"{size / 1e6:.0f} MB in fp16",
        [["what", "time", "bytes per second against the copy"]]
        + [
            [name, spread(seconds[key]), ratio(seconds[key], seconds["copy"])]
            for key, name in names.items()
        ],
    )
    hours = UPDATES * float(np.median(seconds["attentive_corr"])) / 3600
    print(
        f"\nExtrapolated, not measured: {UPDATES} updates of one fold with "
        f"attentive correlation in {hours:.2f} h, 75 trainings in "
        f"{75 * hours:.0f} h."
    )


def time_pooling(name, frames, repeats, device):
    """Time forward and backward of a pooling of a batch, and of loops.

    Arguments
    ---------
    name : str
        One of `POOLINGS`.
    frames : list of int
        Of each utterance.
    repeats, device
        See `time_extraction`.

    Returns
    -------
    seconds : dict
        Way -> list of float, one per round; "batched" is the first.
    """
    embedding = make_head(name, 1, 256).embedding.to(device)
    packed = torch.randn(sum(frames), 256, device=device, requires_grad=True)
    of_loops = embedding.pooling, packed, frames
    runs = {
        "batched": lambda: embedding._pool_packed(packed, frames),
        "loop, each utterance unpadded": lambda: loop_over_utterances(
            *of_loops
        ),
        "loop over the padded batch, as published": lambda: loop_over_padded(
            *of_loops
        ),
    }
    results = {key: run() for key, run in runs.items()}
    for other in results.values():
        torch.testing.assert_close(
            other, results["batched"], atol=1e-4, rtol=1e-3
        )
    return time_beside(
        {
            key: lambda run=run: run().square().sum().backward()
            for key, run in runs.items()
        },
        repeats,
        device,
    )


def measure_pooling(repeats, device):
    """Print forward and backward of a batch of 32 beside loops over it."""
    frames = [round(50 * d) for d in draw_durations(32, seed=1)]
    rows = [["pooling", "what", "time", "batched is faster by"]]
    for name in ("corr", "attentive_corr"):
        seconds = time_pooling(name, frames, repeats, device)
        rows += [
            [f"`{name}`", key, spread(values)]
            + [ratio(seconds["batched"], values)]
            for key, values in seconds.items()
        ]
    print_table(
        f"Pooling of 32 utterances, {sum(frames)} frames of 256 channels, "
        f"the longest {max(frames)}; forward and backward",
        rows,
    )


def measure_encoder(folder, options):
    """Measure what needs an encoder of full size."""
    entries = make_recordings(folder, draw_durations(options.utterances))
    make_random_encoder(
        folder / "encoder",
        family="wavlm",
        layer_norm=True,
        num_hidden_layers=24,
        hidden_size=1024,
        config_overrides=LARGE,
    )
    encoder = FrozenEncoder(folder / "encoder").to(options.device)
    few = max(2, options.repeats // 2)
    cache, seconds = measure_extraction(
        folder, entries, encoder, few, options.device
    )
    measure_epoch(cache, entries, encoder, few, options.device)
    audio = sum(e["duration"] for e in entries.values())
    hours = UTTERANCES * SECONDS / audio * float(np.median(seconds)) / 3600
    print(
        f"\nExtrapolated, not measured: IEMOCAP's {UTTERANCES} utterances "
        f"encoded once in {hours:.2f} h."
    )


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--utterances", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--folder", help="scratch; default: a temporary one")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    print(describe_machine())
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = pathlib.Path(scratch)
        if "encoder" in options.parts:
            measure_encoder(folder, options)
        if "update" in options.parts:
            measure_update(folder, options.repeats, options.device)
        if "pooling" in options.parts:
            measure_pooling(options.repeats, options.device)
        if "memory" in options.parts:
            memory.measure(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
