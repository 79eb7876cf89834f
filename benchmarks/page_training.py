"""Figures of the page that need no speech: all weights and audio are random."""

import time

import torch

from benchmarks import frozen_features, linear, memory
from benchmarks.card import Card
from benchmarks.gpu import measurements
from benchmarks.measure import Figure, Skipped, fresh_process, ratio, spread
from benchmarks.recordings import draw_durations, make_recordings
from demo.random_encoder import make_random_encoder
from modules.features.cache import GPU_BATCH_SECONDS
from modules.features.extraction import plan_batches
from modules.models.encoder import FrozenEncoder

# WavLM of the base configuration; its large one takes minutes.
BASE = {
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "conv_dim": [512] * 7,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}
ENCODED = 6
MEMORY_COUNTS = (50, 200)
LINEAR_COUNT, LINEAR_CLASSES = 500, 4


def measure_encoding(options, folder):
    """Yield figures of encoding once, and of an epoch from the store."""
    make_random_encoder(
        folder / "encoder",
        family="wavlm",
        num_hidden_layers=12,
        hidden_size=768,
        config_overrides=BASE,
    )
    entries = make_recordings(folder, draw_durations(ENCODED))
    encoder = FrozenEncoder(folder / "encoder")
    common = entries, encoder, options.repeats, "cpu"
    cache, seconds = frozen_features.time_extraction(folder, *common)
    yield Figure(
        "encoding (read, encode, convert, check, write), WavLM base",
        "0.95 of the bare encoder's throughput",
        f"bare encoder: {spread(seconds['bare'], 's', 1)}",
        ratio(seconds["fill"], seconds["bare"]),
    )
    seconds = frozen_features.time_epoch(cache, *common)
    yield Figure(
        "an epoch from the store, WavLM base",
        "100 times faster than with the encoder (WavLM large)",
        f"encoder in every update: {spread(seconds['recomputed'], 's', 1)}",
        f"{ratio(seconds['store'], seconds['recomputed'])} times",
    )


def measure_padding(options, folder):
    """Yield the padding of the batches that a GPU gets."""
    entries = [
        {"duration": seconds, "sha256": str(number)}
        for number, seconds in enumerate(
            draw_durations(frozen_features.UTTERANCES)
        )
    ]
    batches = plan_batches(entries, GPU_BATCH_SECONDS)
    padded = sum(len(batch) * batch[0]["duration"] for batch in batches)
    audio = sum(entry["duration"] for entry in entries)
    yield Figure(
        "padding planned for a GPU, 5531 utterances",
        "under 5%",
        "0",
        f"{1 - audio / padded:.1%}",
    )


def measure_update(options, folder):
    """Yield figures of an update on what is stored."""
    seconds, _, size = frozen_features.time_update(
        folder, options.repeats, "cpu"
    )
    copy = seconds["copy"]
    for pooling in ("mean", "attentive_corr"):
        yield Figure(
            f"an update on {size / 1e6:.0f} MB, `{pooling}`",
            "0.5 of a copy's bytes per second",
            "the projection's products alone: "
            f"{ratio(seconds['products'], copy)}",
            ratio(seconds[pooling], copy),
        )


def measure_pooling(options, folder):
    """Yield figures of pooling a batch."""
    frames = [round(50 * d) for d in draw_durations(32, seed=1)]
    for name in ("corr", "attentive_corr"):
        ours, unpadded, published = frozen_features.time_pooling(
            name, frames, options.repeats, "cpu"
        ).values()
        yield Figure(
            f"batched pooling, `{name}`",
            "2 times faster than the published loop",
            f"a loop that pads nothing: {ratio(unpadded, published)} times",
            f"{ratio(ours, published)} times",
        )


def measure_memory(options, folder):
    """Yield figures of memory against the number of utterances."""
    few, many = memory.run_apart(folder, MEMORY_COUNTS)
    for key in ("encoding", "training"):
        yield Figure(
            f"peak memory, {key}, {many['utterances']} utterances against "
            f"{few['utterances']}",
            "within 5%",
            f"1: {few[key]:.0f} MB",
            f"{many[key] / few[key]:.2f}",
        )


def _product_seconds(count):
    """Return seconds of a core of the products of all pairs."""
    inputs = torch.randn(count, linear.VALUES)
    start = time.process_time()
    torch.matmul(inputs, inputs.T)
    return time.process_time() - start


def measure_linear(options, folder):
    """Yield the figure of logistic regression and its search for C."""
    with fresh_process() as process:
        limit = process.submit(_product_seconds, LINEAR_COUNT).result()
        measured = process.submit(
            linear.measure, LINEAR_COUNT, LINEAR_CLASSES, False
        ).result()
    yield Figure(
        f"logistic regression, {LINEAR_COUNT} utterances of {linear.VALUES} "
        "values: rotation, search for C, last fit",
        "see benchmarks/linear.png",
        f"products of all pairs: {limit:.1f} s of a core",
        f"{measured[1].sum():.1f} s of a core",
    )


def measure_gpu(options, folder):
    """Yield the figures of a GPU, by benchmarks.gpu."""
    if not torch.cuda.is_available():
        raise Skipped("no GPU; with one: python -m benchmarks.gpu")
    for function in measurements(Card("cuda", False), folder).values():
        for measured in function():
            yield Figure(
                measured["what"], "", measured["share"], measured["value"]
            )


PARTS = {
    "encoding": measure_encoding,
    "padding": measure_padding,
    "update": measure_update,
    "pooling": measure_pooling,
    "memory": measure_memory,
    "linear": measure_linear,
    "gpu": measure_gpu,
}
