"""The parts of the head study: what they change, and nothing else."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy.linalg import logm
from sklearn.covariance import oas

import train
from modules.models.head import EmotionHead
from modules.models.pooling import (
    AttentiveCorrelationPooling,
    CorrelationPooling,
)
from modules.training.run import Run
from recipes.EMODB.head_study import attention_weights
from recipes.EMODB.head_study.head import CosineAdamW, StudyHead, StudyPooling
from recipes.EMODB.head_study.moments import LogCovariancePooling, MomentsHead
from recipes.EMODB.head_study.refit import TrainedHead

SIZES = {"layers": 3, "width": 6, "classes": 4, "projection_size": 5}


def batch():
    """Return features [3, 9, 6], their lengths, and each utterance alone."""
    torch.manual_seed(0)
    features = torch.randn(3, 9, 6)
    lengths = torch.tensor([1.0, 4 / 9, 7 / 9])
    return features, lengths, [features[0], features[1, :4], features[2, :7]]


def test_nothing_changed_it_is_the_head_that_is_studied():
    torch.manual_seed(1)
    head = EmotionHead(**SIZES).eval()
    study = StudyHead(**SIZES).eval()
    study.load_state_dict(head.state_dict())
    states = torch.randn(3, 2, 8, 6)
    lengths = torch.tensor([1.0, 0.5])
    torch.testing.assert_close(study(states, lengths), head(states, lengths))


def test_an_infinite_temperature_is_no_attention():
    features, lengths, _ = batch()
    torch.testing.assert_close(
        StudyPooling(6, temperature=float("inf"))(features, lengths),
        CorrelationPooling(6)(features, lengths),
    )


@pytest.mark.parametrize("shrinkage", [False, True])
@pytest.mark.parametrize("own_moments", [False, True])
def test_padding_is_not_heard(shrinkage, own_moments):
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
            pooling = StudyPooling(6, temperature=float("inf"), shrinkage=True)
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


def test_layers_and_rank():
    states = torch.randn(3, 2, 8, 6)
    head = StudyHead(**SIZES, one_layer=1, classifier_rank=2)
    torch.testing.assert_close(head.layer_pooling(states), states[1])
    assert not head.layer_pooling.scores.requires_grad
    product = head.classifier[1].weight @ head.classifier[0].weight
    assert torch.linalg.matrix_rank(product) == 2
    even = StudyHead(**SIZES, even_layers=True)
    torch.testing.assert_close(even.layer_pooling(states), states.mean(dim=0))


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
    assert steps(CosineAdamW([parameter], 0.1), 3) == [0.1] * 3


def test_what_attention_attends_to(command, tmp_path, capsys):
    for seed in (1, 2):
        folder = tmp_path / f"attention/fold_1/seed_{seed}"
        train.main(command(folder, seed=seed, number_of_epochs=1))
    capsys.readouterr()
    attention_weights.main([str(tmp_path / "attention")])
    said = capsys.readouterr().out
    for words in ("frames in effect", "heaviest tenth", "another seed"):
        assert words in said
    train.main(
        command(
            tmp_path / "mean/fold_1/seed_1", pooling="mean", number_of_epochs=1
        )
    )
    with pytest.raises(SystemExit):
        attention_weights.main([str(tmp_path / "mean")])
    assert "has no attention" in capsys.readouterr().err


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
    head = MomentsHead(
        "mean+std+corr+log_covariance",
        layers=3,
        width=6,
        classes=4,
        projection_size=None,
    )
    features = torch.randn(20, 30, 6)
    embeddings = head.pool(features, torch.ones(20)).detach()
    assert head.pooling.sizes == [6, 6, 15, 21]
    head.standardization.fit(embeddings)
    parts = head.standardization(embeddings).split(head.pooling.sizes, dim=1)
    for part in parts:
        variance = part.var(dim=0, correction=0).sum().item()
        assert variance == pytest.approx(1 / 4, rel=1e-4)


def test_the_mean_alone_is_the_recommended_head(
    recommended_command, encoder_folder, tmp_path
):
    study = (ROOT / "recipes/EMODB/head_study/moments.yaml").read_text()
    own = (ROOT / "hparams/own_corpus.yaml").read_text()
    path = tmp_path / "moments_own.yaml"
    path.write_text(
        own[: own.index("# Head")]
        + study[study.index("# Head") : study.index("# Training")]
        + own[own.index("# Training") :]
    )
    runs = []
    for name, file in (("study", str(path)), ("own", None)):
        folder = tmp_path / name
        own_file, *options = recommended_command(
            folder, layer_pooling="sum", pooling="mean"
        )
        train.main([file or own_file, *options])
        runs.append((folder / "predictions.csv").read_text())
    assert runs[0] == runs[1]


def test_a_trained_head_keeps_all_but_its_classifier(command, tmp_path):
    folder = tmp_path / "run"
    train.main(command(folder, number_of_epochs=1))
    trained = Run(folder).weights
    head = TrainedHead(folder, layers=3, width=32, classes=3).eval()
    for name, value in head.state_dict().items():
        if not name.startswith(("classifier.", "standardization.")):
            assert torch.equal(value, trained[name]), name
    assert not torch.equal(head.classifier.weight, trained["classifier.weight"])
    assert not any(p.requires_grad for p in head.parameters())


def test_the_study_is_corr_emodb_with_more_keys():
    study = (ROOT / "recipes/EMODB/head_study/head.yaml").read_text()
    corr = (ROOT / "hparams/corr_emodb.yaml").read_text()
    for line in corr[: corr.index("# Head")].splitlines()[6:]:
        if not line.startswith(("encoder_hub:", "output_folder:")):
            assert line in study.splitlines()


def test_a_last_batch_of_one_can_be_standardised():
    head = StudyHead(**SIZES, normalize_embeddings=True).train()
    states = torch.randn(SIZES["layers"], 1, 9, SIZES["width"])
    output = head(states, torch.ones(1))
    output[0, 0].backward()
    assert torch.isfinite(head.projection.weight.grad).all()
