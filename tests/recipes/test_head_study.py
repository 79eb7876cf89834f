"""The parts of the head study: what they change, and nothing else."""

import functools

import numpy as np
import pytest
import torch
from conftest import ROOT
from exported_models import load_foreign
from scipy.linalg import logm
from sklearn.covariance import oas

import train
from modules.errors import BadInput
from modules.inference.packaging import build, write_files
from modules.models.embedding import Embedding
from modules.models.head import EmotionHead
from modules.models.joint_embedding import JointEmbedding
from modules.models.layer_pooling import LayerPooling
from modules.models.pooling import (
    AttentiveCorrelationPooling,
    CorrelationPooling,
    MeanPooling,
)
from modules.models.standardization import Standardization
from modules.training.configuration import load_configuration
from modules.training.run import Run
from recipes.EMODB.head_study import attention_weights
from recipes.EMODB.head_study.parts import (
    CosineAdamW,
    LogCovariancePooling,
    LowRankClassifier,
    StandardizedClassifier,
    StdPooling,
    StudyPooling,
)

REFIT = str(ROOT / "recipes/EMODB/head_study/refit.yaml")


def batch():
    """Return features [3, 9, 6], their lengths, and each utterance alone."""
    torch.manual_seed(0)
    features = torch.randn(3, 9, 6)
    lengths = torch.tensor([1.0, 4 / 9, 7 / 9])
    return features, lengths, [features[0], features[1, :4], features[2, :7]]


def run_small(corpus, encoder, folder, *options, hparams=None):
    """Train a small run and return it."""
    fixed = [
        "--corpus=csv",
        f"--csv_file={corpus}",
        f"--encoder_hub={encoder}",
        f"--cache_folder={folder.parent / 'cache'}",
        f"--output_folder={folder}",
        "--noprogressbar",
        "--device=cpu",
    ]
    file = hparams or str(ROOT / "hparams/corr_wavlm.yaml")
    train.train_fold(*load_configuration([file, *fixed, *options]))
    return Run(folder)


def test_with_nothing_changed_it_is_the_pooling_that_is_studied():
    features, lengths, _ = batch()
    study = StudyPooling(6)
    published = AttentiveCorrelationPooling(6)
    published.load_state_dict(study.state_dict())
    torch.testing.assert_close(
        study(features, lengths), published(features, lengths)
    )


def test_without_a_temperature_there_is_no_attention():
    features, lengths, _ = batch()
    torch.testing.assert_close(
        StudyPooling(6, temperature=None)(features, lengths),
        CorrelationPooling(6)(features, lengths),
    )


@pytest.mark.parametrize("shrinkage", [False, True])
@pytest.mark.parametrize("own_moments", [False, True])
def test_padding_changes_nothing(shrinkage, own_moments):
    features, lengths, alone = batch()
    pooling = StudyPooling(6, own_moments=own_moments, shrinkage=shrinkage)
    together = pooling(features, lengths)
    for row, utterance in zip(together, alone):
        own = pooling(utterance[None], torch.ones(1))[0]
        torch.testing.assert_close(row, own)


def test_one_head_has_moments_of_its_own_or_not():
    features, lengths, _ = batch()
    pooling = StudyPooling(6, attention_heads=1, own_moments=True)
    merged = AttentiveCorrelationPooling(6, attention_heads=1)
    merged.load_state_dict(pooling.state_dict())
    torch.testing.assert_close(
        pooling(features, lengths), merged(features, lengths)
    )


def test_shrinkage_is_strong_where_frames_are_few():
    torch.manual_seed(2)
    noise = torch.randn(1, 1000, 6)
    shared = noise + 2 * torch.randn(1, 1000, 1)
    sizes = []
    for features in (noise, shared[:, :20], shared):
        with torch.no_grad():
            pooling = StudyPooling(6, temperature=None, shrinkage=True)
            shrunk = pooling(features, torch.ones(1))
            plain = CorrelationPooling(6)(features, torch.ones(1))
        sizes.append((shrunk.norm() / plain.norm()).item())
    assert sizes[0] < 0.5 < sizes[1] < sizes[2] < 1


def test_evenness_makes_weights_even():
    features, lengths, _ = batch()
    torch.manual_seed(3)
    pooling = StudyPooling(6, evenness=100.0)
    optimizer = torch.optim.Adam(pooling.parameters(), lr=0.01)

    def peak():
        return pooling.attention_weights(features, lengths)[0].max().item()

    before = peak()
    for _ in range(100):
        optimizer.zero_grad()
        # No loss of its own: the cost alone.
        (0 * pooling(features, lengths)).sum().backward()
        optimizer.step()
    assert 1 / 9 < peak() < (before + 1 / 9) / 2
    assert all(p.isfinite().all() for p in pooling.parameters())


def test_the_classifier_has_a_low_rank():
    classifier = LowRankClassifier(10, 4, rank=2)
    product = classifier[1].weight @ classifier[0].weight
    assert torch.linalg.matrix_rank(product) == 2


def test_the_learning_rate_falls_and_goes_on():
    parameter = torch.nn.Parameter(torch.ones(1))

    def steps(optimizer, count):
        rates = []
        for _ in range(count):
            parameter.grad = torch.ones(1)
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    whole = steps(CosineAdamW([parameter], 0.1, updates=10), 12)
    assert whole[0] == 0.1 and whole[5] == pytest.approx(0.05)
    assert whole[10:] == pytest.approx([0, 0])
    first = CosineAdamW([parameter], 0.1, updates=10)
    begun = steps(first, 4)
    second = CosineAdamW([parameter], 0.1, updates=10)
    second.load_state_dict(first.state_dict())
    assert begun + steps(second, 8) == pytest.approx(whole)


def test_the_logarithm_of_a_shrunk_covariance():
    features, lengths, alone = batch()
    logs = LogCovariancePooling(6)(features, lengths)
    for row, utterance in zip(logs, alone):
        matrix = logm(oas(utterance.double().numpy())[0])
        assert row.norm().item() == pytest.approx(np.linalg.norm(matrix))
        assert row[0].item() == pytest.approx(matrix[0, 0], abs=1e-5)
        off_diagonal = matrix[0, 1] * 2**0.5
        assert row[1].item() == pytest.approx(off_diagonal, abs=1e-5)


def test_every_moment_has_the_same_variance():
    part = functools.partial(
        Embedding,
        layer_pooling=functools.partial(LayerPooling, learned=False),
    )
    poolings = {
        "mean": MeanPooling,
        "std": StdPooling,
        "corr": CorrelationPooling,
        "log_covariance": LogCovariancePooling,
    }
    parts = {
        name: functools.partial(part, pooling=pooling)
        for name, pooling in poolings.items()
    }
    embedding = JointEmbedding(3, 6, parts)
    torch.manual_seed(4)
    with torch.no_grad():
        values = embedding(torch.randn(3, 20, 30, 6), torch.ones(20))
    assert list(embedding.sizes.values()) == [6, 6, 15, 21]
    standardization = Standardization(embedding.sizes)
    standardization.fit(values)
    sizes = list(embedding.sizes.values())
    for part in standardization(values).split(sizes, dim=1):
        variance = part.var(dim=0, correction=0).sum().item()
        assert variance == pytest.approx(1, rel=1e-4)


def test_a_last_batch_of_one_can_be_standardised():
    embedding = functools.partial(
        Embedding, layer_pooling=LayerPooling, pooling=MeanPooling
    )
    head = EmotionHead(3, 6, 4, embedding, classifier=StandardizedClassifier)
    output = head.train()(torch.randn(3, 1, 9, 6), torch.ones(1))
    output[0, 0].backward()
    assert torch.isfinite(head.classifier.weight.grad).all()


def test_a_batch_is_standardised_and_a_test_is_not():
    classifier = StandardizedClassifier(5, 4)
    values = 3 + 2 * torch.randn(8, 5)
    scores = classifier(values)
    centred = values - values.mean(dim=0)
    scale = (values.var(dim=0, correction=0) + 1e-5).rsqrt()
    expected = centred * scale @ classifier.weight.T + classifier.bias
    torch.testing.assert_close(scores, expected)
    classifier.eval()
    alone = torch.cat([classifier(value[None]) for value in values])
    torch.testing.assert_close(classifier(values), alone)


def test_parts_of_a_study_work_without_this_repository(
    tone_corpus, encoder_folder, tmp_path
):
    parts = "recipes.EMODB.head_study.parts"
    run = run_small(
        tone_corpus,
        encoder_folder(),
        tmp_path / "run",
        f"--pooling={{class: {parts}.StudyPooling, temperature: null}}",
        f"--classifier={{class: {parts}.LowRankClassifier, rank: 2}}",
        "--layer_pooling={class: modules.models.layer_pooling.OneLayer}",
        "--number_of_epochs=1",
        "--cache_format=float32",
    )
    (tmp_path / "model").mkdir()
    write_files(tmp_path / "model", build([run], True, None, None, "study"))
    classifier = load_foreign(tmp_path / "model")
    head = type(classifier.mods.classifier.model.heads[0].classifier)
    assert head.__module__ == "custom_interface"
    for row in run.predictions():
        wav = run.manifest("test")[row["utterance"]]["wav"]
        expected = torch.tensor([float(row[label]) for label in run.labels])
        found = classifier.classify_file(wav)[0][0]
        torch.testing.assert_close(found, expected.log(), rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def trained_head(tone_corpus, encoder_folder, tmp_path_factory):
    """Return a function that refits, and a finished run of two epochs."""
    root = tmp_path_factory.mktemp("refit")
    small = functools.partial(run_small, tone_corpus, encoder_folder())
    options = ["--projection_size=8", "--number_of_epochs=2", "--lr=0.001"]
    return small, small(root / "trained", *options)


def test_a_refitted_head_keeps_all_but_its_classifier(trained_head):
    small, first = trained_head
    folder = first.folder.parent / "refitted"
    option = f"--trained_folder={first.folder}"
    run = small(folder, option, hparams=REFIT)
    weights, refitted = first.weights(), run.weights()
    for name, value in weights.items():
        same = torch.equal(value, refitted[name])
        assert same != name.startswith("classifier."), name
    expected = first.graph["head"] | {
        "standardization": {
            "class": "modules.models.standardization.Standardization"
        }
    }
    assert run.graph["head"] == expected
    assert run.results["pooling"] is None  # a setting of the first run
    assert run.results["candidates"][0]["left_out_log_probability"] < 0


def test_another_fold_or_no_run_is_refused(trained_head):
    small, first = trained_head
    folder = first.folder.parent
    option = f"--trained_folder={first.folder}"
    with pytest.raises(BadInput, match="same fold, seed and encoder"):
        small(folder / "other", option, "--test_fold=2", hparams=REFIT)
    with pytest.raises(BadInput, match="no finished run"):
        small(folder / "none", "--trained_folder=none", hparams=REFIT)


def test_how_attention_distributes_its_weight(
    tone_corpus, encoder_folder, tmp_path, capsys
):
    small = functools.partial(run_small, tone_corpus, encoder_folder())
    options = ["--number_of_epochs=1", "--projection_size=8"]
    for seed in (1, 2):
        folder = tmp_path / f"attention/fold_1/seed_{seed}"
        small(folder, f"--seed={seed}", *options)
    capsys.readouterr()
    attention_weights.main([str(tmp_path / "attention")])
    printed = capsys.readouterr().out
    for words in ("frames in effect", "heaviest tenth", "another seed"):
        assert words in printed
    small(tmp_path / "mean/fold_1/seed_1", "--pooling=mean", *options)
    for folder, words in (("mean", "has no attention"), ("x", "no finished")):
        with pytest.raises(SystemExit):
            attention_weights.main([str(tmp_path / folder)])
        assert words in capsys.readouterr().err
