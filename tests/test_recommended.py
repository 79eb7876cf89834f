"""hparams/recommended.yaml and baseline.yaml, from corpus to prediction."""

import csv
import importlib.util
import json

import numpy as np
import pytest
import soundfile
import torch
from conftest import recordings_of, train_and_record
from exported_models import load_foreign

import export
import train
from modules.audio import read_waveform
from modules.errors import BadInput
from modules.features.cache import FeatureCache
from modules.inference import onnx_export
from modules.inference.loading import load_model
from modules.models.functionals import FunctionalsPooling
from modules.training.run import Run

SYSTEMS = ["recommended", "baseline"]


@pytest.fixture(scope="module", params=SYSTEMS)
def finished(request, linear_command, tmp_path_factory):
    """Return the system, a finished run and its test log-probabilities."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    command = linear_command(folder, request.param, cache_format="float32")
    return request.param, folder, train_and_record(command)


def test_a_run_leaves_what_is_promised(finished):
    system, folder, _ = finished
    run = Run(folder)
    assert run.results["WA"] > 0.8  # tones of three pitches
    assert run.results["C"] > 0 and "best_epoch" not in run.results
    assert "layer_weights" not in run.results
    candidates = run.results["candidates"]
    assert all(c["left_out_log_probability"] < 0 for c in candidates)
    assert sum(c["share"] for c in candidates) == pytest.approx(1)
    for name in ("predictions.csv", "dev_predictions.csv", "run.json"):
        assert (folder / name).is_file()
    assert not (folder / "learning_curve.json").exists()
    right = [row["truth"] == row["prediction"] for row in run.predictions()]
    assert np.mean(right) == run.results["WA"]


def test_same_seed_same_result_bit_for_bit(finished, linear_command, tmp_path):
    system, folder, _ = finished
    train.main(linear_command(tmp_path / "run", system, cache_format="float32"))
    for name in ("predictions.csv", "dev_predictions.csv", "results.json"):
        first, again = (folder / name, tmp_path / "run" / name)
        assert first.read_bytes() == again.read_bytes()


def test_the_test_fold_is_read_once_and_last(
    linear_command, tmp_path, monkeypatch
):
    read, order = FeatureCache.read, []

    def record(cache, digest):
        order.append(digest)
        return read(cache, digest)

    monkeypatch.setattr(FeatureCache, "read", record)
    train.main(linear_command(tmp_path / "run", "baseline"))
    entries = Run(tmp_path / "run").manifest("test").values()
    test = {entry["sha256"] for entry in entries}
    assert sorted(order[-len(test) :]) == sorted(test)
    assert not test & set(order[: -len(test)])


def test_early_fusion(linear_command, encoder_folder, tmp_path):
    two = f"{encoder_folder()},fbank"
    train.main(linear_command(tmp_path / "run", "baseline", encoder_hub=two))
    run = Run(tmp_path / "run")
    assert run.graph["sizes"]["num_hidden_states"] == [3, 1]
    assert run.graph["sizes"]["hidden_size"] == [32, 80]
    assert run.results["WA"] > 0.8
    run.make_head()


def test_the_voice_is_a_second_upstream_with_a_part_of_its_own(finished):
    system, folder, _ = finished
    graph = Run(folder).graph
    if system == "baseline":
        assert graph["sizes"]["hidden_size"] == 32
        return
    assert graph["sizes"]["hidden_size"] == [32, 27]
    assert graph["encoder"]["hub"].endswith("random-weights,vocal")
    sizes = Run(folder).make_head().embedding.sizes
    assert sizes["means"] == 2 * 32
    assert sizes["statistics"] == 2 * 3 * 32
    assert sizes["voice"] == FunctionalsPooling(27).output_size


def test_without_acoustics(linear_command, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(linear_command(tmp_path / "refused", acoustics="null"))
    message = capsys.readouterr().err
    assert "uses upstream 1 and the last one is 0" in message
    options = {"embedding": "encoder_alone", "use": "encoder_alone"}
    train.main(linear_command(tmp_path / "run", acoustics="null", **options))
    assert Run(tmp_path / "run").graph["sizes"]["hidden_size"] == 32


@pytest.mark.skipif(
    importlib.util.find_spec("opensmile") is None,
    reason="requirements-opensmile.txt",
)
def test_opensmile_in_the_place_of_the_voice(linear_command, tmp_path):
    options = {"acoustics": "egemaps", "embedding": "encoder_and_egemaps"}
    train.main(linear_command(tmp_path / "run", **options))
    run = Run(tmp_path / "run")
    assert run.make_head().embedding.sizes["voice"] == 88
    export.main([str(run.folder), str(tmp_path / "a"), "--include_encoder"])
    model, _ = load_model(tmp_path / "a")
    with pytest.raises(BadInput, match="cannot export EgemapsEncoder"):
        onnx_export.check_exportable(model)


def test_a_voice_of_other_features_is_refused(linear_command, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(linear_command(tmp_path / "run", acoustics="fbank"))
    assert "needs the 27 channels of vocal, not 80" in capsys.readouterr().err


def test_an_exported_model_equals_the_trained_one(finished, tmp_path):
    _, folder, log_probabilities = finished
    target = tmp_path / "exported"
    export.main([str(folder), str(target), "--include_encoder"])
    model = load_foreign(target)
    files = recordings_of(folder)
    for name, expected in log_probabilities.items():
        wave = read_waveform(files[name])
        torch.testing.assert_close(
            model.classify_file(files[name])[0][0],
            expected,
            atol=1e-5,
            rtol=1e-5,
        )
        padded = torch.cat([wave, torch.full((5000,), 7.0)])
        lengths = torch.tensor([len(wave) / len(padded)])
        torch.testing.assert_close(
            model.classify_batch(padded[None], lengths)[0][0],
            expected,
            atol=1e-5,
            rtol=1e-5,
        )


def test_the_card_names_the_parts_of_the_head(finished, tmp_path):
    system, folder, _ = finished
    export.main([str(folder), str(tmp_path / "model"), "--include_encoder"])
    card = " ".join((tmp_path / "model/README.md").read_text().split())
    parts = {
        "recommended": ("`LayerStack`", "`CorrelationPooling`", "`OneLayer`"),
        "baseline": ("`LayerStack`", "`MeanStdPooling`"),
    }[system]
    assert all(part in card for part in parts)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"correlated_layer": 3}, "layer 3 does not exist"),
        ({"soft_labels": "agreement"}, "has no agreement"),
        ({"embedding": "{class: torch.nn.Linear}"}, "cannot be built"),
    ],
)
def test_what_does_not_fit_is_one_sentence_before_the_encoding(
    linear_command, tmp_path, capsys, changes, words
):
    cache = tmp_path / "cache"
    with pytest.raises(SystemExit) as stopped:
        train.main(
            linear_command(tmp_path / "run", cache_folder=cache, **changes)
        )
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert words in message and "Traceback" not in message, message
    assert not list(cache.rglob("*.safetensors")), "nothing was encoded"


def test_a_head_with_other_weights_is_refused_before_the_encoding(
    linear_command, tmp_path, capsys
):
    part = (
        "{class: modules.models.embedding.Embedding, "
        "layer_pooling: {class: modules.models.layer_pooling.LayerPooling}, "
        "pooling: {class: modules.models.pooling.MeanPooling}}"
    )
    cache = tmp_path / "cache"
    with pytest.raises(SystemExit):
        train.main(
            linear_command(
                tmp_path / "run", embedding=part, use="all", cache_folder=cache
            )
        )
    message = capsys.readouterr().err
    assert "logistic regression trains the classifier alone" in message
    assert not list(cache.rglob("*.safetensors")), "nothing was encoded"


def corpus(folder, counts, speakers, seed=0):
    """Write tones: class -> number of utterances; return the CSV file."""
    rng = np.random.default_rng(seed)
    rows = []
    for k, (label, count) in enumerate(counts.items()):
        for i in range(count):
            time = np.arange(3200 + rng.integers(1600)) / 16000
            pitch = 150 * 1.25**k * rng.uniform(0.95, 1.05)
            wave = 0.3 * np.sin(2 * np.pi * pitch * time)
            wave += 0.01 * rng.standard_normal(len(time))
            name = f"{label}_{i}.wav"
            soundfile.write(folder / name, wave, 16000)
            rows.append([name, label, speakers(k, i)])
    path = folder / "corpus.csv"
    with open(path, "w", newline="") as out:
        csv.writer(out).writerows([["path", "label", "speaker"], *rows])
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "counts, speakers, warning",
    [
        # 40 utterances
        ({"a": 20, "b": 20}, lambda k, i: f"s{i % 4}", ""),
        # a class with a single speaker in the training part
        (
            {"a": 12, "b": 12, "c": 12},
            lambda k, i: f"s{k}" if k == 0 else f"s{i % 4}{k}",
            "single speaker",
        ),
        # 100 : 1
        ({"a": 400, "b": 4}, lambda k, i: f"s{i % 4}", ""),
        # 20 classes
        (
            {f"c{k}": 8 for k in range(20)},
            lambda k, i: f"s{i % 4}",
            "",
        ),
    ],
    ids=["40 utterances", "one speaker of a class", "100 to 1", "20 classes"],
)
def test_unusual_corpora(
    linear_command, tmp_path, capsys, counts, speakers, warning
):
    (tmp_path / "audio").mkdir()
    path = corpus(tmp_path / "audio", counts, speakers)
    options = {
        "csv_file": path,
        "cache_folder": tmp_path / "cache",
        "number_of_folds": 2,
        "test_fold": 2,
    }
    results = []
    for system in SYSTEMS:
        train.main(linear_command(tmp_path / system, system, **options))
        text = (tmp_path / system / "results.json").read_text()
        results.append(json.loads(text))
    assert warning in capsys.readouterr().out
    recommended, baseline = results
    tolerated = 2 * (0.25 / recommended["n_test"]) ** 0.5
    assert recommended["WA"] > baseline["WA"] - tolerated
    assert recommended["UA"] > baseline["UA"] - tolerated


def test_several_corpora_in_one_training(
    linear_command, tone_corpus, tmp_path, capsys
):
    """Each is standardised by itself; a model is for one of them, or for all."""
    rows = list(csv.DictReader(open(tone_corpus)))
    path = tmp_path / "two.csv"
    with open(path, "w", newline="") as out:
        writer = csv.DictWriter(out, [*rows[0], "corpus"])
        writer.writeheader()
        for row in rows:
            number = int(row["speaker"][-1])
            wav = f"{tone_corpus.rpartition('/')[0]}/{row['path']}"
            writer.writerow(row | {"path": wav, "corpus": "ab"[number % 2]})
    folder = tmp_path / "run"
    options = {
        "csv_file": path,
        "number_of_folds": 2,
        "cache_format": "float32",
    }
    recorded = train_and_record(linear_command(folder, **options))
    run = Run(folder)
    weights = run.weights()
    entries = run.manifest("test")
    by_corpus = {}
    for corpus in ("a", "b"):
        export.main(
            [str(folder), str(tmp_path / corpus), "--include_encoder"]
            + ["--corpus", corpus]
        )
        run.choose_corpus(corpus)
        by_corpus[corpus] = run.weights()
        name = "standardization.mean"
        assert not torch.equal(by_corpus[corpus][name], weights[name])
        model = load_foreign(tmp_path / corpus)
        for utterance, entry in entries.items():
            if entry["corpus"] == corpus:
                found = model.classify_file(entry["wav"])[0][0]
                torch.testing.assert_close(
                    found, recorded[utterance], atol=1e-3, rtol=1e-3
                )
    with pytest.raises(SystemExit):
        export.main(
            [str(folder), str(tmp_path / "c"), "--corpus", "c"]
            + ["--include_encoder"]
        )
    assert "'c' (it has a, b): correct --corpus" in capsys.readouterr().err
