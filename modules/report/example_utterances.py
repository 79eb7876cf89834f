"""Plots and sound of the example utterances of one system."""

import io
from typing import Any

import soundfile
import torch
from matplotlib.figure import Figure

from modules.audio import SAMPLE_RATE, read_speech
from modules.errors import BadInput
from modules.experiments.plan import Plan, PlannedRun
from modules.features.stored_states import StoredStates
from modules.manifest import channel_of, read_manifest, recording_of
from modules.plots import draw_attention, draw_spectrogram, draw_waveform
from modules.report.plots import STYLE, data_uri, embed, plt
from modules.training.configuration import load_configuration
from modules.training.run import Run

LONGEST_SECONDS = 12


def show_examples(plan: Plan, examples: dict) -> dict:
    """Return the example utterances with plots and sound.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan
        Locates the runs and the recordings.
    examples : dict
        From `modules.experiments.breakdowns.confident_examples`.

    Returns
    -------
    shown : dict
        ``system``, ``right`` and ``wrong`` (dicts for the template), and
        ``problems``: sentences on what cannot be shown.
    """
    runs = {
        (run.fold, run.seed): _ExampleRun(plan, run)
        for run in plan.runs
        if run.system.name == examples["system"]
    }
    shown = {"system": examples["system"], "right": [], "wrong": []}
    problems = []
    for kind in ("right", "wrong"):
        for example in examples[kind]:
            run = runs[example["fold"], example["seed"]]
            try:
                waveform, attention = run.read(example["utterance"])
            except (BadInput, OSError, KeyError) as problem:
                problems.append(
                    f"The recordings cannot be shown here: {problem}"
                )
                break
            shown[kind].append(example | _plots(waveform, attention, example))
    problems += [run.problem for run in runs.values() if run.problem]
    return shown | {"problems": list(dict.fromkeys(problems))}


class _ExampleRun:
    """Reads recordings of a run, and the attention of its head to them."""

    def __init__(self, plan: Plan, run: PlannedRun):
        self.plan, self.run = plan, run
        self.entries: dict[str, dict] | None = None
        self.head: Any = None
        self.cache: Any = None
        self.problem = ""

    def read(self, utterance: str) -> tuple:
        """Return waveform [samples] and attention [frames] or None."""
        if self.entries is None:
            # The places of the command line: the corpus may have moved.
            hparams, _ = load_configuration(self.plan.arguments(self.run))
            path = self.run.folder / "manifests" / "test.json"
            self.entries = read_manifest(path, hparams["data_folder"])
            self._load_head(hparams)
        entry = self.entries[utterance]
        waveform = read_speech(entry["wav"], channel=channel_of(entry))
        return waveform, self._attention(entry)

    def _load_head(self, hparams):
        """Load the head and the stored hidden states, as far as there are."""
        if self.run.system.fuses:
            return
        try:
            self.cache = getattr(hparams["upstream"](), "cache", None)
            self.head = Run(self.run.folder).make_head()
        except BadInput as problem:
            self.problem = f"Attention cannot be shown: {problem}."

    @torch.inference_mode()
    def _attention(self, entry):
        """Return the weight of each frame, or None."""
        if self.head is None or self.cache is None:
            return None
        try:
            stored = self.cache.read(recording_of(entry))
        except (BadInput, KeyError):
            self.problem = (
                "Attention cannot be shown: the stored hidden states of a "
                "recording are gone."
            )
            return None
        if not isinstance(stored, StoredStates):  # of two encoders
            return None
        states = stored.float().movedim(1, 0)[:, None]
        weights = self.head.embedding.attention_weights(states, torch.ones(1))
        return None if weights is None else weights[0]


def _plots(
    waveform: torch.Tensor, attention: torch.Tensor | None, example: dict
) -> dict:
    """Return plot and sound of the first seconds of a recording."""
    samples = LONGEST_SECONDS * SAMPLE_RATE
    cut = len(waveform) > samples
    if cut and attention is not None:
        attention = attention[: round(len(attention) * samples / len(waveform))]
    shown = waveform[:samples].numpy()
    seconds = len(shown) / SAMPLE_RATE
    content = "Waveform and spectrogram"
    with plt.rc_context(STYLE):
        panels = 2 if attention is None else 3
        figure = Figure(figsize=(5.4, 1.1 * panels), layout="constrained")
        axes = figure.subplots(panels, sharex=True)
        draw_waveform(axes[0], shown, SAMPLE_RATE)
        draw_spectrogram(axes[1], shown, SAMPLE_RATE)
        if attention is not None:
            draw_attention(axes[2], attention.numpy(), seconds)
            axes[2].set_ylabel("attention")
            peak = (int(attention.argmax()) + 0.5) / len(attention)
            content += (
                f", and attention over time, the highest at {peak * seconds:.1f}"
                f" of {seconds:.1f} seconds"
            )
        axes[-1].set_xlabel("seconds")
        axes[-1].set_xlim(0, seconds)
        alt = f"{content}: utterance {example['utterance']}."
        plot = embed(figure, alt, "png", dpi=130)
    sound = io.BytesIO()
    soundfile.write(sound, shown, SAMPLE_RATE, format="FLAC")
    return {
        "plot": plot,
        "sound": data_uri(sound.getvalue(), "audio/flac"),
        "cut": LONGEST_SECONDS if cut else None,
    }
