"""Updates of a head whose store lies in the memory of the card."""

import functools
import pathlib
import statistics
import time
import types

import speechbrain as sb
import torch

from benchmarks.card import row
from benchmarks.frozen_features import UPDATES, UTTERANCES
from benchmarks.recordings import draw_durations
from benchmarks.update import Update, make_head
from modules.features.stored_states import StoredStates
from modules.features.stored_utterances import StoredUtterances, as_is
from modules.models.layer_pooling import LayerPooling
from modules.training.gradient_descent import GradientDescent

BATCH = 32
ROUNDS, UPDATES_PER_ROUND = 5, 40
TRAINED_EPOCHS = 12  # of 173 updates
SPARE = 8e9  # bytes of the card that are left for an update


class CardStore:
    """Random hidden states of IEMOCAP's size in the memory of a device.

    What ``cache_device: cuda`` makes of a store, without the files.

    Arguments
    ---------
    card : benchmarks.card.Card
    layers, hidden_size : int
        Of the hidden states.
    """

    encode_label = int  # the labels of the entries are numbers

    def __init__(self, card, layers=25, hidden_size=1024):
        durations = draw_durations(UTTERANCES)
        if card.smoke:
            durations = durations[:8].clip(max=0.6)
        self.states = {}
        for number, seconds in enumerate(durations):
            if card.free_memory() < SPARE:
                break
            states = torch.randn(
                round(50 * seconds), layers, hidden_size, device=card.device
            )
            self.states[str(number)] = StoredStates.from_hidden_states(
                states, torch.float16
            )
        self.nbytes = sum(s.values.nbytes for s in self.states.values())

    def read(self, recording):
        """Return the hidden states of a recording."""
        return self.states[recording]

    def dataset(self):
        """Return all utterances as training reads them."""
        entries = {
            name: {"sha256": name, "label": str(int(name) % 4)}
            for name in self.states
        }
        return StoredUtterances(entries, self, self)

    def batches(self, count):
        """Return lists of hidden states that training could draw."""
        names = list(self.states)
        generator = torch.Generator().manual_seed(0)
        return [
            [
                self.states[names[i]]
                for i in torch.randperm(len(names), generator=generator)[:BATCH]
            ]
            for _ in range(count)
        ]


class FusedSum(LayerPooling):
    """`LayerPooling` of stored utterances, compiled for the card.

    One kernel reads each stored byte once where PyTorch's own operations write
    an fp32 copy.
    """

    def __init__(self, backend):
        super().__init__(25)
        self.sum = torch.compile(_weighted_sum, dynamic=True, backend=backend)

    def forward(self, hidden_states):
        """Sum the layers; see `LayerPooling.forward`."""
        joined = StoredStates.join(hidden_states)
        return self.sum(self.layer_weights(), joined.values)


def _weighted_sum(weights, values):
    """Return the sum over layers; [layers], [frames, layers, channels]."""
    return (weights[:, None] * values.float()).sum(dim=1)


def compile_update(update, backend):
    """Compile the sum of the layers and the pooling of an `Update`."""
    embedding = update.head.embedding
    device = embedding.layer_pooling.scores.device
    embedding.layer_pooling = FusedSum(backend).to(device)
    pooling = embedding.pooling
    pooling.pool = torch.compile(pooling.pool, dynamic=True, backend=backend)
    update.optimizer = torch.optim.Adam(update.head.parameters(), lr=1e-4)


class Updates:
    """Measurements of updates, and the store that they share.

    Arguments
    ---------
    card : benchmarks.card.Card
    folder : pathlib.Path
        Scratch.
    """

    def __init__(self, card, folder):
        self.card, self.folder = card, folder

    def time(self, store, update):
        """Return seconds per update by round, and bytes read by one."""
        count = self.card.choose(UPDATES_PER_ROUND, 2)
        batches = store.batches(self.card.choose(8, 2))

        def some():
            for number in range(count):
                update(batches[number % len(batches)])

        seconds = self.card.seconds(some, self.card.choose(ROUNDS, 1))
        read = sum(s.values.nbytes for batch in batches for s in batch)
        return [s / count for s in seconds], read / len(batches)

    def row(self, name, seconds, read, **more):
        """Return the row of an update that reads so many bytes."""
        middle = statistics.median(seconds)
        share = f"{2 * read / middle / self.card.copy:.2f} of the copy's "
        share += f"bytes/s, {UPDATES} updates in {UPDATES * middle / 60:.1f} "
        share += "min (extrapolated)"
        return (
            row(f"update, {name}", seconds, "ms", 1000, share, bytes_read=read)
            | more
        )

    def measure(self):
        """Yield a row per pooling: an update on stored utterances."""
        store = CardStore(self.card)
        for pooling in ("mean", "corr", "attentive_corr"):
            update = Update(pooling, self.card.device)
            yield self.row(pooling, *self.time(store, update))

    def measure_compiled(self):
        """Yield a row per pooling: the same, compiled."""
        store = CardStore(self.card)
        backend = self.card.choose("inductor", "eager")
        for pooling in ("mean", "attentive_corr"):
            update = Update(pooling, self.card.device)
            compile_update(update, backend)
            start = time.perf_counter()
            seconds, read = self.time(store, update)
            spent = time.perf_counter() - start
            # The rounds that count are no compilation.
            spent -= sum(seconds) * self.card.choose(UPDATES_PER_ROUND, 2)
            name = f"{pooling}, compiled in {spent:.0f} s"
            yield self.row(name, seconds, read, compilation_s=spent)

    def measure_training(self):
        """Yield the row of epochs as train.py runs them, with SpeechBrain."""
        store = CardStore(self.card)
        dataset = store.dataset()
        brain = make_brain(self.card.device, self.folder)
        loader = {"batch_size": BATCH, "collate_fn": as_is, "shuffle": True}
        seconds, updates = [], -(-len(dataset) // BATCH)
        epochs = self.card.choose(TRAINED_EPOCHS, 2)
        for epoch in range(1, epochs + 1):
            self.card.wait()
            start = time.perf_counter()
            brain.fit([epoch], dataset, train_loader_kwargs=loader)
            self.card.wait()
            seconds.append((time.perf_counter() - start) / updates)
        total = sum(seconds) * updates
        minutes = UPDATES * total / epochs / updates / 60
        yield row(
            f"{epochs * updates} updates of train.py's Brain, attentive_corr, "
            f"{len(dataset)} utterances, {store.nbytes / 1e9:.1f} GB on the "
            "card",
            seconds,
            "ms per update",
            1000,
            f"{total:.1f} s in all; {UPDATES} updates in {minutes:.1f} min "
            "(extrapolated)",
            total_s=total,
        )


def make_brain(device, folder):
    """Return the Brain that train.py trains a head with.

    Its trainer makes it, with the defaults of its settings.
    """
    trainer = GradientDescent(
        seed=0,
        number_of_epochs=TRAINED_EPOCHS,
        batch_size=BATCH,
        max_grad_norm=1.0,
        optimizer=functools.partial(torch.optim.Adam, lr=1e-4),
        compute_loss=functools.partial(
            sb.nnet.losses.nll_loss, label_smoothing=0.1
        ),
    )
    folder = pathlib.Path(folder)
    run = types.SimpleNamespace(
        folder=folder, save_folder=folder / "save", settings={}
    )
    options = {"device": device, "noprogressbar": True}
    head = make_head("attentive_corr", 25, 1024)
    return trainer.make_brain(run, options, None, head)
