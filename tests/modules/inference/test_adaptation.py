"""Adapting a model to recordings without labels."""

import copy
import csv
import itertools
import json
import math
import pathlib

import numpy as np
import pytest
import soundfile
import torch
import yaml
from exported_models import load_foreign

import export
import predict
from modules.errors import BadInput
from modules.inference.adaptation import (
    FIRST_TEMPERATURE,
    SHRINKAGE,
    SKILL,
    Adaptation,
    confidence_temperature,
    estimate_priors,
)
from modules.inference.loading import load_model, read_class_shares
from modules.inference.predictor import predict as classify
from modules.models.standardization import Standardization
from modules.training.run import Run

LABELS = ["calm", "glad", "mad"]


@pytest.fixture
def ensemble(linear_model):
    """Return the folder of a model with two heads."""
    return linear_model


@pytest.fixture
def foreign(foreign_folder):
    """Return a folder of ten recordings of two speakers, and a list."""
    return foreign_folder


def table(tmp_path, *arguments):
    """Return the rows of predict.py's CSV file."""
    output = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
    arguments = [*map(str, arguments), f"--output={output}", "--device=cpu"]
    assert predict.main(arguments) == 0
    with open(output, newline="") as lines:
        return list(csv.DictReader(lines))


def answers(rows):
    """Return file -> probabilities."""
    return {
        pathlib.Path(row["file"]).name: [row[f"p_{label}"] for label in LABELS]
        for row in rows
    }


def embed_all(model, folder):
    """Return the embeddings of a folder's recordings, fp64 [n, values]."""
    files = sorted(map(str, folder.glob("*.wav")))
    rows = classify(model, files, embed=True, jobs=1).rows
    return torch.stack([row.embedding for row in rows]).double()


def test_mean_and_variance_are_shrunk_towards_training():
    standardization = Standardization({"a": 2, "b": 3})
    training = torch.randn(40, 5) * torch.arange(1, 6)
    training[:, 4] = 1.0
    standardization.fit(training)
    new = 3 + 2 * torch.randn(20, 5).double()
    mean, variance = new.mean(0), new.var(0, correction=0)
    standardization.adapt(mean, variance, 20, shrinkage=5)
    expected = 0.8 * mean + 0.2 * training.mean(0)
    torch.testing.assert_close(standardization.mean.double(), expected)
    expected = 0.8 * variance + 0.2 * training.var(0, correction=0)
    sizes = torch.tensor([2, 2, 3, 3])
    torch.testing.assert_close(
        standardization.scale[:4].double(),
        (sizes * expected[:4]) ** -0.5,
        rtol=1e-5,
        atol=0,
    )
    assert standardization.scale[4] == 0


def test_one_recording_moves_the_mean_alone():
    standardization = Standardization({"a": 3})
    standardization.fit(torch.randn(40, 3))
    before = standardization.scale.clone()
    standardization.adapt(torch.ones(3), torch.zeros(3), 1)
    torch.testing.assert_close(standardization.scale, before)


def test_adapted_heads_by_hand(ensemble, foreign):
    model, _ = load_model(ensemble)
    embeddings = embed_all(model, foreign)
    files = sorted(map(str, foreign.glob("*.wav")))
    adaptation = Adaptation(model)
    rows = classify(model, files, jobs=1, adaptation=adaptation).rows
    assert adaptation.recordings == 10 and not model.is_adapted
    assert adaptation.model.encoder is model.encoder
    share = 10 / (10 + SHRINKAGE)
    members = []
    for head, own in zip(model.heads, embeddings.chunk(2, dim=1)):
        mean = share * own.mean(0) + (1 - share) * head.standardization.mean
        scale = head.standardization.scale.double()
        sizes = torch.cat(
            [
                torch.full((n,), 1.0 * n)
                for n in head.standardization.sizes.values()
            ]
        )
        variance = share * own.var(0, correction=0)
        variance += (1 - share) / (sizes * scale.square())
        inputs = (own - mean) / (sizes * variance).sqrt()
        inputs = torch.where(scale > 0, inputs, 0.0)
        classifier = head.classifier.double()
        members.append(classifier(inputs).log_softmax(dim=1))
        classifier.float()
    temperature = confidence_temperature(torch.stack(members))
    members = [torch.softmax(m / temperature, dim=1) for m in members]
    assert adaptation.model.heads[0].temperature == pytest.approx(temperature)
    found = torch.stack([row.log_probabilities for row in rows]).exp()
    expected = torch.stack(members).mean(0).float()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_mean_confidence_is_a_quarter_of_the_way_to_certainty():
    scores = 9 * torch.randn(2, 400, 5)
    temperature = confidence_temperature(scores.log_softmax(dim=2))
    found = math.exp(
        (405 * math.log(temperature) - 5 * math.log(FIRST_TEMPERATURE)) / 400
    )
    cooled = torch.softmax(scores / found, dim=2).mean(dim=0)
    confidence = cooled.amax(dim=1).mean().item()
    assert confidence == pytest.approx(0.2 + 0.8 * SKILL, abs=1e-4)
    few = confidence_temperature(scores[:, :1])
    assert abs(few - FIRST_TEMPERATURE) < abs(temperature - FIRST_TEMPERATURE)


@pytest.mark.parametrize(
    "scores, expected",
    [(torch.zeros(1, 1000, 4), 1.0), (1e6 * torch.eye(4)[None], 8.363)],
)
def test_scores_without_a_temperature(scores, expected):
    # The even ones are never sharpened, the infinitely sure ones cooled by 50.
    found = confidence_temperature(scores)
    assert found == pytest.approx(expected, rel=0.01)


def test_recordings_like_the_training_keep_their_probabilities(
    ensemble, linear_runs
):
    model, _ = load_model(ensemble)
    manifest = linear_runs[0] / "manifests" / "train.json"
    entries = list(json.loads(manifest.read_text()).values())
    root = Run(linear_runs[0]).settings["data_folder"] or ""
    files = [e["wav"].replace("{data_root}", root) for e in entries]
    adaptation = Adaptation(model)
    classify(model, sorted(files), jobs=1, adaptation=adaptation)
    assert adaptation.model.is_adapted
    assert all(head.temperature == 1 for head in adaptation.model.heads)


def test_three_ways_give_the_same_answer(
    linear_runs, ensemble, foreign, tmp_path
):
    now = table(tmp_path, ensemble, foreign, "--adapt")
    to = table(tmp_path, ensemble, foreign, f"--adapt_to={foreign}")
    saved = tmp_path / "saved"
    export.main([str(ensemble), str(saved), f"--adapt_to={foreign}"])
    loaded = table(tmp_path, saved, foreign)
    assert now == to == loaded
    before = table(tmp_path, ensemble, foreign)
    assert answers(before) != answers(now)
    assert [r["distance"] for r in before] == [r["distance"] for r in now]
    card = " ".join((saved / "README.md").read_text().split())
    assert "Adapted to 10 recordings" in card
    values = (saved / "hyperparams.yaml").read_text().split("\nmodel:")[0]
    assert yaml.safe_load(values)["adapted_to"] == 10
    again = tmp_path / "run"
    export.main(
        [
            str(linear_runs[0]),
            str(again),
            *("--include_encoder", "--folds", "1", "2"),
            f"--adapt_to={foreign}",
        ]
    )
    assert table(tmp_path, again, foreign) == now
    model = load_foreign(saved)
    for file in foreign.glob("*.wav"):
        found = model.classify_file(str(file))[0][0].exp().tolist()
        expected = list(map(float, answers(now)[file.name]))
        assert found == pytest.approx(expected, abs=1e-5)


def test_speakers_have_statistics_of_their_own(ensemble, foreign, tmp_path):
    model, _ = load_model(ensemble)
    files = sorted(map(str, foreign.glob("*.wav")))
    speakers = {f: "ab"[int(pathlib.Path(f).stem) // 5] for f in files}
    adaptation = Adaptation(model, speakers)
    rows = classify(model, files, jobs=1, adaptation=adaptation).rows
    embeddings = embed_all(model, foreign)
    for speaker in (slice(0, 5), slice(5, 10)):
        members = []
        for head, own in zip(
            adaptation.model.heads, embeddings[speaker].chunk(2, dim=1)
        ):
            standardization = copy.deepcopy(head.standardization)
            standardization.adapt(own.mean(0), own.var(0, correction=0), 5)
            scores = head.classifier(standardization(own.float()))
            members.append(torch.softmax(scores / head.temperature, dim=1))
        found = [row.log_probabilities.exp() for row in rows[speaker]]
        torch.testing.assert_close(
            torch.stack(found), torch.stack(members).mean(0), atol=1e-5, rtol=0
        )
    listed = f"--csv_file={foreign / 'list.csv'}"
    by_list = table(tmp_path, ensemble, listed, "--adapt", "--adapt_speakers")
    expected = [r.log_probabilities.exp().tolist() for r in rows]
    found = [list(map(float, row)) for row in answers(by_list).values()]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_speaker_without_a_name_has_the_statistics_of_all(ensemble, foreign):
    model, _ = load_model(ensemble)
    files = sorted(map(str, foreign.glob("*.wav")))
    some = dict.fromkeys(files, "") | {files[0]: "a", files[1]: "a"}
    one, all_alike = Adaptation(model, some), Adaptation(model)
    rows = classify(model, files, jobs=1, adaptation=one).rows
    others = classify(model, files, jobs=1, adaptation=all_alike).rows
    equal = [
        torch.equal(a.log_probabilities, b.log_probabilities)
        for a, b in zip(rows, others)
    ]
    assert equal == [False, False] + [True] * 8


def test_each_recording_is_encoded_once(ensemble, foreign, monkeypatch):
    model, _ = load_model(ensemble)
    encoded = []
    forward = model.encoder.forward

    def count(wavs, *more):
        encoded.append(len(wavs))
        return forward(wavs, *more)

    monkeypatch.setattr(model.encoder, "forward", count)
    files = sorted(map(str, foreign.glob("*.wav")))
    classify(model, files, jobs=1, adaptation=Adaptation(model))
    assert sum(encoded) == len(files)


def test_bad_recordings_change_nothing(ensemble, foreign, tmp_path):
    model, _ = load_model(ensemble)
    files = sorted(map(str, foreign.glob("*.wav")))
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(16000), 16000)
    more = [*files, str(silent), str(tmp_path / "missing.wav")]
    rows, problems = classify(model, more, jobs=1, adaptation=Adaptation(model))
    alone = classify(model, files, jobs=1, adaptation=Adaptation(model)).rows
    assert len(problems) == 2
    for a, b in itertools.zip_longest(rows, alone):
        assert torch.equal(a.log_probabilities, b.log_probabilities)


def test_priors_follow_the_new_classes():
    true = torch.tensor([0.8, 0.1, 0.1])
    labels = torch.multinomial(true, 4000, replacement=True)
    scores = torch.randn(4000, 3).double()
    scores[range(4000), labels] += 2.0  # likelihoods of unit variance
    uniform = torch.softmax(2.0 * scores, dim=1)
    found = estimate_priors(uniform, [1 / 3] * 3).exp() / 3
    np.testing.assert_allclose(found, true, atol=0.03)


def test_priors_are_saved(ensemble, foreign, tmp_path):
    plain = table(tmp_path, ensemble, foreign, "--adapt")
    priors = table(tmp_path, ensemble, foreign, "--adapt", "--adapt_priors")
    assert answers(plain) != answers(priors)
    saved = tmp_path / "saved"
    export.main(
        [str(ensemble), str(saved), f"--adapt_to={foreign}", "--adapt_priors"]
    )
    assert table(tmp_path, saved, foreign) == priors


@pytest.mark.parametrize(
    "options, words",
    [
        (["--adapt", "--adapt_to=x"], "choose one of them"),
        (["--adapt_speakers"], "needs --adapt"),
        (["--adapt", "--adapt_speakers"], "needs speakers"),
        (["--adapt_priors"], "needs --adapt or --adapt_to"),
        (["--adapt", "--engine=onnx"], "cannot be adapted"),
        (["--adapt_to=/missing"], "no recording can be used"),
    ],
)
def test_options_that_contradict(ensemble, foreign, capsys, options, words):
    with pytest.raises(SystemExit) as stop:
        predict.main([str(ensemble), str(foreign), *options, "--device=cpu"])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_what_cannot_be_adapted(exported, ensemble, foreign, tmp_path):
    model, _ = load_model(exported)  # of gradient descent
    with pytest.raises(BadInput, match="does not standardise"):
        Adaptation(model)
    saved = tmp_path / "saved"
    export.main([str(ensemble), str(saved), f"--adapt_to={foreign}"])
    with pytest.raises(BadInput, match="was adapted to other recordings"):
        Adaptation(load_model(saved)[0])
    path = ensemble / "hyperparams.yaml"
    other = tmp_path / "hyperparams.yaml"
    other.write_text(path.read_text().replace("class_shares", "others"))
    shares = read_class_shares(ensemble, 3)
    assert sum(shares) == pytest.approx(1) and min(shares) > 0.25
    with pytest.raises(BadInput, match="class_shares"):
        read_class_shares(tmp_path, 3)


@pytest.mark.parametrize("option", ["--folds=1", "--license=mit"])
def test_export_of_a_model_refuses_options_of_runs(
    ensemble, foreign, tmp_path, capsys, option
):
    arguments = [str(ensemble), str(tmp_path / "x"), f"--adapt_to={foreign}"]
    with pytest.raises(SystemExit):
        export.main([*arguments, option])
    assert "is a model, to which" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_an_adapted_model_in_onnx(ensemble, foreign, tmp_path):
    pytest.importorskip("onnxruntime")
    saved = tmp_path / "saved"
    arguments = [str(ensemble), str(saved), f"--adapt_to={foreign}"]
    export.main([*arguments, "--onnx"])
    expected = answers(table(tmp_path, saved, foreign))
    found = table(tmp_path, saved, foreign, "--engine=onnx")
    assert {row["distance"] for row in found} == {""}
    for file, own in answers(found).items():
        own, other = list(map(float, own)), list(map(float, expected[file]))
        assert own == pytest.approx(other, abs=1e-4)
