"""Speaker normalisation: where it is offered, and what it does."""

import json

import numpy as np
import pytest
import torch
from conftest import train_and_record
from exported_models import spoken
from heads import describe_head, store

import export
import predict
from modules.errors import BadInput
from modules.inference.recognizer import Recognizer
from modules.models.layer_pooling import LayerStack
from modules.models.standardization import Standardization
from modules.training.linear import LinearTrainer, embed
from modules.training.speaker_normalization import (
    SpeakerNormalization,
    confounding,
    subtract_means,
)


class Dataset(list):
    """Utterances of six speakers with voices of their own."""

    def __init__(self, seed, voice, label_of=lambda i, speaker: i // 6 % 2):
        generator = torch.Generator().manual_seed(seed)
        voices = voice * torch.randn(6, 8, generator=generator)
        speakers = [i % 6 for i in range(72)]
        labels = [label_of(i, speaker) for i, speaker in enumerate(speakers)]
        self.targets = torch.tensor(labels)
        self.ids = [f"{seed}-{i}" for i in range(72)]
        self.entries = {
            name: {"speaker": f"{seed}-{speaker}", "wav": name}
            for name, speaker in zip(self.ids, speakers)
        }
        for name, label, speaker in zip(self.ids, labels, speakers):
            states = torch.randn(3, 5, 8, generator=generator)
            states += voices[speaker]
            states[..., 0] += label
            self.append((name, store(states), torch.tensor(label)))


def fit(setting, train, dev):
    """Return a head, the predictions of dev, and what was chosen."""
    head = describe_head(
        pooling="mean",
        projection_size=None,
        layer_pooling=LayerStack,
        standardization=Standardization,
    )(num_hidden_states=3, hidden_size=8, num_classes=2)
    trainer = LinearTrainer(speaker_normalization=setting)
    return head, *trainer.fit(head, train, dev)


def test_every_speaker_gets_the_same_mean():
    embeddings = torch.randn(30, 4) + torch.arange(30)[:, None] % 3
    speakers = [f"{i % 3}" for i in range(30)]
    mean = torch.tensor([1.0, 2.0, 3.0, 4.0])
    moved = subtract_means(embeddings, speakers, mean)
    for start in range(3):
        torch.testing.assert_close(moved[start::3].mean(0), mean)
        within = moved[start::3] - moved[start::3].mean(0)
        before = embeddings[start::3] - embeddings[start::3].mean(0)
        torch.testing.assert_close(within, before, atol=1e-5, rtol=0)


def test_confounding_does_not_depend_on_rare_classes():
    speakers = np.repeat(np.arange(10), 40)
    rare = np.tile(np.arange(40) == 0, 10)
    assert confounding(rare, speakers) == pytest.approx(0, abs=1e-9)
    own = speakers % 2
    assert confounding(own, speakers) == pytest.approx(1)
    flipped = np.where(np.arange(400) % 20 == 0, 1 - own, own)
    assert 0.5 < confounding(flipped, speakers) < 1
    assert confounding([0, 0, 0], ["a", "b", "c"]) == 1


def test_voices_that_differ_are_taken_out():
    train, dev = Dataset(0, voice=5.0), Dataset(1, voice=5.0)
    _, plain, chosen = fit(False, train, dev)
    assert "speaker_normalization" not in chosen
    for setting in (True, "auto"):
        head, predictions, chosen = fit(setting, train, dev)
        assert chosen["speaker_normalization"] is True
        scores = chosen["left_out_log_probability"]
        assert (
            scores["with_speaker_normalization"]
            > scores["without_speaker_normalization"]
        )
        assert predictions.accuracy() > plain.accuracy() + 0.1
    embeddings = embed(head, {"train": train, "dev": dev})
    speakers = [e["speaker"] for d in (train, dev) for e in d.entries.values()]
    mean = embeddings[: len(train)].mean(0)
    moved = subtract_means(embeddings, speakers, mean)
    other = Standardization(head.embedding.sizes)
    other.fit(moved[: len(train)])
    torch.testing.assert_close(head.standardization.scale, other.scale)


def test_speakers_with_mostly_one_class_are_left_alone():
    def mostly(i, speaker):
        return speaker % 2 if i < 60 else 1 - speaker % 2

    # 39% of the entropy of the classes; their voices are alike.
    train, dev = Dataset(0, 0.0, mostly), Dataset(1, 0.0, mostly)
    with pytest.raises(BadInput, match=r"is -\d\.\d+ nats with it and -\d"):
        fit(True, train, dev)
    _, plain, _ = fit(False, train, dev)
    _, predictions, chosen = fit("auto", train, dev)
    assert chosen["speaker_normalization"] is False
    torch.testing.assert_close(
        predictions.log_probabilities, plain.log_probabilities
    )


def test_speakers_of_one_class_each_are_refused():
    confounded = Dataset(0, 5.0, lambda i, speaker: speaker % 2)
    with pytest.raises(BadInput, match="determines 100% of the entropy"):
        fit(True, confounded, Dataset(1, 5.0))
    chosen = fit("auto", confounded, Dataset(1, 5.0))[2]
    assert chosen["speaker_normalization"] is False


def test_nobody_to_leave_out():
    with pytest.raises(BadInput, match="no speaker can be left out"):
        SpeakerNormalization(True).helps(None, None)
    assert not SpeakerNormalization("auto").helps(None, -1.0)


def test_a_model_of_normalised_speakers(
    linear_command, foreign_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(SpeakerNormalization, "helps", lambda *_: True)
    run = tmp_path / "run"
    arguments = linear_command(run, speaker_normalization="auto")
    recorded = train_and_record(arguments)
    results = json.loads((run / "results.json").read_text())
    assert results["speaker_normalization"] is True
    assert results["system"].endswith("(speakers normalised)")
    assert len(recorded) == results["n_test"]
    model = tmp_path / "model"
    export.main([str(run), str(model), "--include_encoder"])
    card = " ".join((model / "README.md").read_text().split())
    assert "those minus the mean of their speaker" in card
    with pytest.raises(SystemExit):
        predict.main([str(model), str(foreign_folder), "--device=cpu"])
    assert "give --adapt for recordings of one" in capsys.readouterr().err
    with pytest.raises(BadInput, match="minus the mean of their speaker"):
        Recognizer(str(model), "cpu")
    listed = f"--csv_file={foreign_folder / 'list.csv'}"
    more = ["--adapt", "--adapt_speakers", "--device=cpu"]
    assert predict.main([str(model), listed, *more]) == 0
    adapted = tmp_path / "adapted"
    export.main([str(model), str(adapted), f"--adapt_to={foreign_folder}"])
    wave = spoken(1.0).astype("float32")
    assert Recognizer(str(adapted), "cpu")(wave, rate=16000).emotion
