"""Training on several corpora: each is standardised by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from modules.errors import BadInput
from modules.models.standardization import Standardization
from modules.training.standardizations import (
    CorpusStandardizations,
    read_standardization,
)

SIZES = {"means": 3, "voice": 2}
NAMES = ["a"] * 30 + ["b"] * 20


def make_embeddings(seed=0):
    """Return embeddings of two corpora, the second elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(50, 5, generator=generator)
    embeddings[30:] = embeddings[30:] * torch.arange(1.0, 6) + 10
    return embeddings


@given(st.integers(0, 1000))
def test_each_corpus_is_standardised_as_if_it_were_alone(seed):
    embeddings = make_embeddings(seed)
    pooled = Standardization(SIZES)
    corpora = CorpusStandardizations(pooled, embeddings, NAMES)
    moved = pooled(corpora.move(embeddings, NAMES))
    for name, places in (("a", slice(30)), ("b", slice(30, 50))):
        alone = Standardization(SIZES)
        alone.fit(embeddings[places])
        expected = alone(embeddings[places])
        torch.testing.assert_close(
            moved[places], expected, atol=1e-4, rtol=1e-3
        )
        torch.testing.assert_close(corpora.own[name].mean, alone.mean)


def test_the_head_has_the_standardisation_of_all():
    embeddings, pooled = make_embeddings(), Standardization(SIZES)
    CorpusStandardizations(pooled, embeddings, NAMES)
    expected = Standardization(SIZES)
    expected.fit(embeddings)
    assert torch.equal(pooled.mean, expected.mean)
    assert torch.equal(pooled.scale, expected.scale)


def test_an_unseen_corpus_is_left_as_it_is():
    embeddings, pooled = make_embeddings(), Standardization(SIZES)
    corpora = CorpusStandardizations(pooled, embeddings, NAMES)
    assert torch.equal(corpora.move(embeddings, ["c"] * 50), embeddings)


def test_a_single_corpus_is_not_changed_at_all():
    embeddings, pooled = make_embeddings(), Standardization(SIZES)
    corpora = CorpusStandardizations(pooled, embeddings, ["a"] * 50)
    assert corpora.move(embeddings, ["a"] * 50) is embeddings
    assert corpora.state() == {}


def test_constant_values_have_no_influence():
    embeddings = make_embeddings()
    embeddings[:, 0] = 7.0
    embeddings[:30, 1] = 3.0  # in one corpus alone
    pooled = Standardization(SIZES)
    corpora = CorpusStandardizations(pooled, embeddings, NAMES)
    moved = pooled(corpora.move(embeddings, NAMES))
    assert moved.isfinite().all()
    np.testing.assert_array_equal(moved[:, 0], 0)
    np.testing.assert_allclose(moved[:30, 1], 0, atol=1e-6)


def test_a_run_on_one_corpus_has_no_standardisation_of_one(tmp_path):
    path = tmp_path / "standardizations.safetensors"
    with pytest.raises(BadInput, match="no standardisation of .*all record"):
        read_standardization(path, "a")
    path.write_bytes(b"none")
    with pytest.raises(BadInput, match="damaged .* train the run again"):
        read_standardization(path, "a")
