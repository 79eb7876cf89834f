"""Chosen utterances of one system, to be seen and heard."""

import io

import numpy as np
import soundfile
import torch
from matplotlib.figure import Figure

from modules.audio import SAMPLE_RATE, read_speech
from modules.errors import BadInput
from modules.experiments.breakdowns import manifest
from modules.features.paired_cache import PairedCache
from modules.plots import draw_attention, draw_spectrogram, draw_waveform
from modules.report.plots import STYLE, data_uri, embed, plt
from modules.training.brain import (
    WholeCheckpointer,
    best_checkpoints,
    mean_weights,
)
from modules.training.experiment import load_experiment
from modules.training.settings import is_fine_tuning

LONGEST_SECONDS = 12


def choose(row, count):
    """Return the most confident right and wrong test utterances.

    Of the row's first seed only, so that no utterance is there twice.

    Returns
    -------
    right, wrong : list of tuple
        (run, index of the utterance), the most confident first.
    """
    first = min(seed for _, seed in row.runs)
    found = {True: [], False: []}
    for (_, seed), run in sorted(row.runs.items()):
        if seed != first:
            continue
        confidence = run.test.probabilities.max(axis=1)
        for index, hit in enumerate(run.test.right):
            found[bool(hit)].append((confidence[index], run, index))
    return [
        [
            (run, index)
            for _, run, index in sorted(found[kind], key=lambda one: -one[0])[
                :count
            ]
        ]
        for kind in (True, False)
    ]


class Listener:
    """Reads recordings, and what the head of a run attends to in them."""

    def __init__(self, plan):
        self.plan = plan
        self.known = {}
        self.problem = ""

    def _run(self, run):
        """Return hyperparameters, manifest and head of a run."""
        if run.cell.folder not in self.known:
            hparams, _ = load_experiment(self.plan.arguments(run.cell))
            self.known[run.cell.folder] = (
                hparams,
                manifest(run),
                self._head(run, hparams),
            )
        return self.known[run.cell.folder]

    def _head(self, run, hparams):
        """Return the trained head and its cache; None without attention."""
        if (
            not run.cell.system.is_trained
            or is_fine_tuning(hparams)  # keeps no features
            or hparams["pooling"] != "attentive_corr"
        ):
            return None
        try:
            cache = hparams["cache"](precision=hparams["encoder_precision"])
        except BadInput as problem:
            self.problem = f"No attention is drawn: {problem}."
            return None
        if isinstance(cache, PairedCache):
            self.problem = "No attention is drawn of two upstreams."
            return None
        best = best_checkpoints(
            WholeCheckpointer(run.cell.folder / "save"),
            hparams["average_checkpoints"],
        )
        if not best:
            self.problem = "No attention is drawn: the checkpoints are gone."
            return None
        head = hparams["head"](
            layers=cache.layers,
            width=cache.width,
            classes=len(run.results["labels"]),
        )
        head.load_state_dict(mean_weights(best, "head"))
        return head.eval(), cache

    def listen(self, run, index):
        """Return waveform [samples] and attention [frames] or None.

        Raises
        ------
        BadInput
            If the recording is gone.
        """
        hparams, entries, head = self._run(run)
        entry = entries[run.test.utterances[index]]
        path = entry["wav"].replace(
            "{data_root}", str(hparams["data_folder"] or ".")
        )
        waveform = read_speech(path)
        return waveform, self._attention(head, entry)

    @torch.inference_mode()
    def _attention(self, head, entry):
        """Return the weight of each frame, or None."""
        if head is None:
            return None
        head, cache = head
        if entry["sha256"] not in cache.store:
            self.problem = "No attention is drawn: the features are gone."
            return None
        states = cache.read(entry["sha256"]).float().movedim(1, 0)
        features = head.project(states[:, None])
        return head.pooling.attention_weights(features, torch.ones(1))[0]


def close_up(plan, row, labels, count=3):
    """Return what the report shows of chosen utterances.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan
    row : modules.experiments.results_table.Row
        With runs.
    labels : list of str
    count : int
        How many right ones, and how many wrong ones.

    Returns
    -------
    shown : dict
        ``right`` and ``wrong``, lists of dicts for the template, and
        ``problem``, a sentence or "".
    """
    listener = Listener(plan)
    shown = {}
    for kind, chosen in zip(("right", "wrong"), choose(row, count)):
        shown[kind] = []
        for run, index in chosen:
            try:
                waveform, attention = listener.listen(run, index)
            except (BadInput, KeyError) as problem:
                listener.problem = (
                    f"Recordings are neither drawn nor heard here: {problem}."
                )
                break
            shown[kind].append(
                _describe(run, index, labels)
                | _see_and_hear(waveform, attention, run, index)
            )
    return shown | {"problem": listener.problem}


def _describe(run, index, labels):
    """Return in words what was said of an utterance."""
    test = run.test
    chances = test.probabilities[index]
    return {
        "utterance": test.utterances[index],
        "speaker": test.speakers[index],
        "fold": run.cell.fold,
        "truth": labels[test.truth[index]],
        "guess": labels[test.guess[index]],
        "chances": [
            (labels[i], float(chances[i])) for i in np.argsort(-chances)
        ],
    }


def _see_and_hear(waveform, attention, run, index):
    """Return picture and sound of the first seconds of a recording."""
    samples = LONGEST_SECONDS * SAMPLE_RATE
    cut = len(waveform) > samples
    if cut and attention is not None:
        attention = attention[: round(len(attention) * samples / len(waveform))]
    waveform = waveform[:samples]
    seconds = len(waveform) / SAMPLE_RATE
    with plt.rc_context(STYLE):
        panels = 2 if attention is None else 3
        figure = Figure(figsize=(5.4, 1.1 * panels), layout="constrained")
        axes = figure.subplots(panels, sharex=True)
        draw_waveform(axes[0], waveform.numpy(), SAMPLE_RATE)
        draw_spectrogram(axes[1], waveform.numpy(), SAMPLE_RATE)
        what = "Waveform and spectrogram"
        if attention is not None:
            draw_attention(axes[2], attention.numpy(), seconds)
            axes[2].set_ylabel("attention")
            peak = (int(attention.argmax()) + 0.5) / len(attention)
            what += (
                f", and attention over time, the highest at {peak * seconds:.1f}"
                f" of {seconds:.1f} seconds"
            )
        axes[-1].set_xlabel("seconds")
        axes[-1].set_xlim(0, seconds)
        name = run.test.utterances[index]
        picture = embed(figure, f"{what}: utterance {name}.", "png", dpi=130)
    sound = io.BytesIO()
    soundfile.write(sound, waveform.numpy(), SAMPLE_RATE, format="FLAC")
    return {
        "picture": picture,
        "sound": data_uri(sound.getvalue(), "audio/flac"),
        "cut": LONGEST_SECONDS if cut else None,
    }
