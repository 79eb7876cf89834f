"""Encoders on a GPU: hours of audio per second, padding, fine-tuning."""

import functools
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import WavLMConfig, WhisperConfig

from benchmarks.card import row
from benchmarks.fine_tuning import Tuning
from benchmarks.frozen_features import LARGE, UTTERANCES
from benchmarks.recordings import draw_durations, make_recordings
from demo.random_encoder import make_random_encoder
from modules.audio import SAMPLE_RATE
from modules.features.cache import GPU_BATCH_SECONDS, FeatureCache
from modules.features.extraction import plan_batches
from modules.models.encoder import FrozenEncoder, computed_seconds

LARGE_V3 = {
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "decoder_attention_heads": 20,
    "num_mel_bins": 128,
}
ENCODERS = {
    "wavlm": {
        "family": "wavlm",
        "num_hidden_layers": 24,
        "hidden_size": 1024,
        "config_overrides": LARGE,
    },
    "whisper": {
        "family": "whisper",
        "num_hidden_layers": 32,
        "hidden_size": 1280,
        "config_overrides": LARGE_V3,
    },
}
CONFIGS = {"wavlm": WavLMConfig(), "whisper": WhisperConfig()}
TITLES = {"wavlm": "WavLM large", "whisper": "Whisper large-v3"}


class Encoders:
    """Measurements of encoders, and what they share.

    Arguments
    ---------
    card : benchmarks.card.Card
    folder : pathlib.Path
        Scratch.
    """

    def __init__(self, card, folder):
        self.card, self.folder = card, folder
        self.durations = [
            {"duration": seconds, "sha256": str(number)}
            for number, seconds in enumerate(
                draw_durations(card.choose(UTTERANCES, 40))
            )
        ]
        if card.smoke:
            for entry in self.durations:
                entry["duration"] = min(entry["duration"], 2.0)

    def encoder_folder(self, name):
        """Return an encoder's folder; the first call makes it."""
        options = dict(ENCODERS[name])
        if self.card.smoke:
            options |= {"num_hidden_layers": 2, "hidden_size": 64}
            del options["config_overrides"]
        return make_random_encoder(self.folder / name, **options)

    def plan(self, name, window, every):
        """Return batches of the plan of a GPU, one of so many.

        Whisper's batches of all windows have the utterances that the plan of
        `fit` has in them.
        """
        first = "fit" if name == "whisper" else None
        batches = self.all_batches(self.durations, name, first)
        chosen = batches[self.card.choose(every // 2, 0) :: every]
        if window == first:
            return chosen
        entries = [entry for batch in chosen for entry in batch]
        return self.all_batches(entries, name, window)

    def all_batches(self, entries, name, window):
        """Return the batches in which extraction encodes on a GPU."""
        cost = functools.partial(computed_seconds, CONFIGS[name], window)
        return plan_batches(entries, GPU_BATCH_SECONDS, cost)

    def padding(self):
        """Yield the share of a batch's audio that is padding, all batches."""
        for name, window, title in (
            ("wavlm", None, "WavLM"),
            ("whisper", "fit", "Whisper, fit"),
            ("whisper", None, "Whisper, 30 s"),
        ):
            batches = self.all_batches(self.durations, name, window)
            padded = sum(
                len(batch)
                * computed_seconds(CONFIGS[name], window, batch[0]["duration"])
                for batch in batches
            )
            audio = sum(entry["duration"] for entry in self.durations)
            yield row(
                f"padding, {title}: {len(batches)} batches of "
                f"{GPU_BATCH_SECONDS} s for {len(self.durations)} utterances",
                [1 - audio / padded],
                "%",
                100,
            )

    def encoding(self, name, precision, every, window=None):
        """Yield the row of an encoder on some of its batches."""
        folder = self.encoder_folder(name)
        encoder = FrozenEncoder(
            folder, precision=precision, whisper_window=window
        ).to(self.card.device)
        plan = self.plan(name, window, every)
        batches = [_noise(batch) for batch in plan]
        self.card.forget()

        def encode():
            for wavs, lengths in batches:
                encoder(wavs.to(self.card.device), lengths)

        with FlopCounterMode(display=False) as counter:
            encode()
        operations = counter.get_total_flops()
        seconds = self.card.seconds(encode, self.card.choose(3, 1))
        hours = sum(e["duration"] for batch in plan for e in batch) / 3600
        rate = operations / statistics.median(seconds)
        shares = [f"{rate * 1e-12:.0f} TFLOP/s"] + [
            f"{rate / best:.2f} of the {kind} product"
            for kind, best in self.card.products.items()
        ]
        title = TITLES[name]
        if name == "whisper":
            title += ", fit" if window else ", windows of 30 s"
        yield row(
            f"{title}, {precision}; {len(plan)} batches",
            [hours / s for s in seconds],
            "hours of audio per second",
            1,
            ", ".join(shares),
            operations=operations,
            hours=hours,
            peak_bytes=self.card.peak_memory(),
        )

    def extraction(self):
        """Yield the row of `FeatureCache.fill`: read, encode, check, write."""
        folder = self.encoder_folder("wavlm")
        encoder = FrozenEncoder(folder, precision="bf16").to(self.card.device)
        durations = draw_durations(self.card.choose(384, 4))
        entries = make_recordings(self.folder, durations)
        hours = sum(entry["duration"] for entry in entries.values()) / 3600
        rates = []
        for turn in range(2):
            cache = FeatureCache(
                self.folder / f"cache{turn}", folder, precision="bf16"
            )
            start = time.perf_counter()
            cache.fill(entries, lambda: encoder, self.card.device, False)
            rates.append(hours / (time.perf_counter() - start))
        yield row(
            f"WavLM large, bf16, {len(entries)} recordings read, encoded, "
            "checked and written in fp16, two passes",
            rates,
            "hours of audio per second",
        )

    def tuning(self, checkpointing):
        """Yield rows of fine-tuning in bf16."""
        folder = self.encoder_folder("wavlm")
        name = ", gradient checkpointing" if checkpointing else ""
        for batch_size in self.card.choose((8, 32), (2,)):
            self.card.forget()
            options = {"gradient_checkpointing": checkpointing}
            tuning = Tuning(
                folder, options, batch_size, self.card.device, "bf16"
            )
            seconds = []
            for seed in range(self.card.choose(13, 2)):
                self.card.wait()
                start = time.perf_counter()
                tuning.update(seed)
                self.card.wait()
                seconds.append(time.perf_counter() - start)
            peak = self.card.peak_memory()
            yield row(
                f"fine-tuning WavLM large, {batch_size} utterances{name}",
                seconds[self.card.choose(3, 1) :],
                "s per update",
                1,
                f"peak {peak / 1e9:.1f} GB",
                peak_bytes=peak,
            )
            del tuning


def _noise(batch):
    """Return noise for a batch, [batch, samples], and relative lengths."""
    samples = [round(SAMPLE_RATE * entry["duration"]) for entry in batch]
    lengths = torch.tensor([count / max(samples) for count in samples])
    return 0.1 * torch.randn(len(samples), max(samples)), lengths
