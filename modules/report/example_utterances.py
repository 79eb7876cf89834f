"""Plots and sound of the example utterances of one system."""

import io

import soundfile
import torch
from matplotlib.figure import Figure

from modules.audio import SAMPLE_RATE, read_speech
from modules.errors import BadInput
from modules.experiments.plan import Plan, PlannedRun
from modules.files import read_json
from modules.plots import draw_attention, draw_spectrogram, draw_waveform
from modules.report.attention import TrainedHead
from modules.report.plots import STYLE, data_uri, embed, plt
from modules.training.experiment import load_experiment

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
        run.fold: run
        for run in reversed(plan.runs)
        if run.system.name == examples["system"] and run.finished
    }
    readers = {fold: _Reader(plan, run) for fold, run in runs.items()}
    shown = {"system": examples["system"], "problems": []}
    for kind in ("right", "wrong"):
        shown[kind] = []
        for example in examples[kind]:
            reader = readers[example["fold"]]
            try:
                waveform, attention = reader.read(example["utterance"])
            except (BadInput, OSError, KeyError, ValueError) as problem:
                reader.problem = (
                    f"The recordings cannot be shown here: {problem}."
                )
                break
            shown[kind].append(example | _plots(waveform, attention, example))
    problems = (reader.problem for reader in readers.values())
    shown["problems"] = list(dict.fromkeys(filter(None, problems)))
    return shown


class _Reader:
    """Reads recordings of a run, and the attention of its head to them.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan
    run : modules.experiments.plan.PlannedRun
    """

    def __init__(self, plan: Plan, run: PlannedRun):
        self.plan, self.run = plan, run
        self.problem = ""
        self.loaded = None

    def read(self, utterance: str) -> tuple:
        """Return waveform [samples] and attention [frames] or None.

        Raises
        ------
        BadInput, OSError, KeyError, ValueError
            If the recording or its manifest is gone.
        """
        if self.loaded is None:
            self._load()
        entries, data_folder, head = self.loaded
        entry = entries[utterance]
        path = entry["wav"].replace("{data_root}", str(data_folder or "."))
        waveform = read_speech(path)
        attention = None
        if head is not None:
            try:
                attention = head.attention(entry)
            except BadInput as problem:
                self.problem = f"Attention cannot be shown: {problem}."
        return waveform, attention

    def _load(self):
        """Load manifest, data folder and head once."""
        hparams, _ = load_experiment(self.plan.arguments(self.run))
        head = None
        try:
            if self.run.system.is_trained:
                head = TrainedHead.with_attention(self.run.folder, hparams)
        except BadInput as problem:
            self.problem = f"Attention cannot be shown: {problem}."
        entries = read_json(self.run.folder / "manifests" / "test.json")
        self.loaded = entries, hparams["data_folder"], head


def _plots(
    waveform: torch.Tensor, attention: torch.Tensor | None, example: dict
) -> dict:
    """Return plot and sound of the first seconds of a recording."""
    samples = LONGEST_SECONDS * SAMPLE_RATE
    cut = len(waveform) > samples
    if cut and attention is not None:
        attention = attention[: round(len(attention) * samples / len(waveform))]
    waveform = waveform[:samples].numpy()
    seconds = len(waveform) / SAMPLE_RATE
    content = "Waveform and spectrogram"
    with plt.rc_context(STYLE):
        panels = 2 if attention is None else 3
        figure = Figure(figsize=(5.4, 1.1 * panels), layout="constrained")
        axes = figure.subplots(panels, sharex=True)
        draw_waveform(axes[0], waveform, SAMPLE_RATE)
        draw_spectrogram(axes[1], waveform, SAMPLE_RATE)
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
    soundfile.write(sound, waveform, SAMPLE_RATE, format="FLAC")
    return {
        "plot": plot,
        "sound": data_uri(sound.getvalue(), "audio/flac"),
        "cut": LONGEST_SECONDS if cut else None,
    }
