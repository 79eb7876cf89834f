#!/usr/bin/env python3
"""Updates per second and memory of fine-tuning, options beside each other.

    python -m benchmarks.fine_tuning [ENCODER] [--updates 100] [--batch_size 8]
                                     [--device cuda] [--precision bf16]

Without an encoder: a WavLM of the large configuration with random weights.
Batches are noise with the durations of IEMOCAP. Prints Markdown.
"""

import argparse
import functools
import pathlib
import resource
import statistics
import sys
import tempfile

import torch

from benchmarks.frozen_features import LARGE
from benchmarks.measure import (
    describe_machine,
    fresh_process,
    print_table,
    ratio,
    time_beside,
)
from benchmarks.recordings import draw_durations
from benchmarks.update import NUM_CLASSES
from demo.random_encoder import make_random_encoder
from modules.audio import SAMPLE_RATE
from modules.errors import one_sentence
from modules.models.embedding import Embedding
from modules.models.encoder import PRECISIONS
from modules.models.head import EmotionHead
from modules.models.layer_pooling import LayerPooling
from modules.models.pooling import MeanPooling
from modules.models.trainable_encoder import TrainableEncoder


class Tuning:
    """An encoder and a head that are trained on noise.

    Arguments
    ---------
    encoder_hub : str
        A local folder or a name on the HuggingFace Hub.
    options : dict
        For `modules.models.trainable_encoder.TrainableEncoder`.
    batch_size : int
        Utterances of an update.
    device, precision : str
        As train.py takes them.
    """

    def __init__(self, encoder_hub, options, batch_size, device, precision):
        self.device, self.dtype = device, PRECISIONS[precision]
        self.encoder = TrainableEncoder(encoder_hub, **options).to(device)
        embedding = functools.partial(
            Embedding,
            layer_pooling=LayerPooling,
            projection=functools.partial(torch.nn.Linear, out_features=256),
            pooling=MeanPooling,
        )
        self.head = EmotionHead(
            1, self.encoder.hidden_size, NUM_CLASSES, embedding
        ).to(device)
        trained = [*self.encoder.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.Adam(
            [p for p in trained if p.requires_grad], lr=1e-5
        )
        self.batch_size = batch_size
        self.durations = torch.from_numpy(draw_durations(1000))

    def update(self, seed):
        """Train on one batch; the same seed, the same noise."""
        chosen = torch.arange(
            seed * self.batch_size, (seed + 1) * self.batch_size
        )
        samples = self.durations[chosen % 1000] * SAMPLE_RATE
        lengths = (samples / samples.max()).float()
        generator = torch.Generator().manual_seed(seed)
        wavs = torch.randn(
            len(samples), int(samples.max()), generator=generator
        )
        self.optimizer.zero_grad()
        with torch.autocast(
            torch.device(self.device).type,
            self.dtype,
            enabled=self.dtype != torch.float32,
        ):
            states, frames = self.encoder(0.1 * wavs.to(self.device), lengths)
            scores = self.head(states, frames / frames.max())
        scores[:, 0].mean().neg().backward()
        self.optimizer.step()


def find_peak(*arguments):
    """Return the peak of memory in GB: the GPU's, or of this process."""
    tuning = Tuning(*arguments)
    for seed in range(3):
        tuning.update(seed)
    if torch.device(tuning.device).type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(encoder_hub, options):
    """Measure every variant that this encoder has."""
    common = options.batch_size, options.device, options.precision
    variants = {
        "as it is": {},
        "gradient checkpointing": {"gradient_checkpointing": True},
    }
    if TrainableEncoder(encoder_hub).is_whisper:
        variants |= {
            f"window of {seconds} s": {"whisper_window": seconds}
            for seconds in (10, 6)
        }
    peaks = []
    for own in variants.values():
        with fresh_process() as process:
            work = process.submit(find_peak, encoder_hub, own, *common)
            peaks.append(work.result())
    functions = {}
    for name, own in variants.items():
        tuning = Tuning(encoder_hub, own, *common)
        seeds = iter(range(10**9))
        functions[name] = lambda tuning=tuning, seeds=seeds: tuning.update(
            next(seeds)
        )
    seconds = time_beside(functions, options.updates, options.device)
    rows = [["fine-tuning", "updates per second", "times as fast", "memory"]]
    for (name, own), peak in zip(seconds.items(), peaks):
        rows.append(
            [
                name,
                f"{1 / statistics.mean(own):.2f}",
                ratio(own, seconds["as it is"]),
                f"{peak:.1f} GB",
            ]
        )
    print_table(
        f"{options.updates} updates of {options.batch_size} utterances, "
        f"{options.precision}; memory is the peak of a process of its own",
        rows,
    )


def main(arguments=None):
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("encoder", nargs="?", help="default: random weights")
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS)
    options = parser.parse_args(arguments)
    print(describe_machine())
    with (
        one_sentence(resumes=False),
        tempfile.TemporaryDirectory() as scratch,
    ):
        encoder = options.encoder
        if encoder is None:
            encoder = pathlib.Path(scratch) / "wavlm-large-random-weights"
            make_random_encoder(
                encoder,
                family="wavlm",
                num_hidden_layers=24,
                hidden_size=1024,
                config_overrides=LARGE,
            )
        print(pathlib.Path(encoder).name)
        measure(str(encoder), options)


if __name__ == "__main__":
    main(sys.argv[1:])
