"""Parts of an embedding: the weighted concatenation and its few values."""

import pytest
import torch

from modules.errors import BadInput
from modules.models.standardization import Standardization
from modules.training.parts import Parts

SIZES = {"means": 30, "none": 0, "voice": 5}


def make_parts(count):
    generator = torch.Generator().manual_seed(0)
    embeddings = 3 + torch.randn(count, 35, generator=generator)
    standardization = Standardization(SIZES)
    standardization.fit(embeddings)
    return Parts(embeddings, standardization), standardization(embeddings)


def by_definition(standardised, weights):
    """Concatenate the weighted parts; the others are zero."""
    total = sum(weights.values())
    means, voice = standardised.double().split([30, 5], dim=1)
    return torch.cat(
        [
            (weights.get("means", 0) / total) ** 0.5 * means,
            (weights.get("voice", 0) / total) ** 0.5 * voice,
        ],
        dim=1,
    )


@pytest.mark.parametrize("count", [12, 35, 60])  # fewer, as many, more
@pytest.mark.parametrize(
    "weights", [{"means": 1, "voice": 0.25}, {"voice": 2}, {"means": 3}]
)
def test_products_and_weights_are_those_of_the_concatenation(count, weights):
    parts, standardised = make_parts(count)
    inputs, back = parts.combine(weights)
    inputs = torch.from_numpy(inputs)
    expected = by_definition(standardised, weights)
    pairs = expected @ expected.T
    torch.testing.assert_close(inputs @ inputs.T, pairs, atol=1e-6, rtol=0)
    own = torch.randn(3, inputs.shape[1], dtype=torch.float64)
    if inputs.shape[0] == inputs.shape[1]:
        own = own @ inputs / len(own)  # a score is one of the utterances'
    scores = standardised.double() @ back(own).T
    torch.testing.assert_close(scores, inputs @ own.T, atol=1e-4, rtol=1e-4)


def test_a_candidate_of_parts_without_values_is_refused():
    parts, _ = make_parts(12)
    with pytest.raises(BadInput, match="have no values in this embedding"):
        parts.combine({"none": 1})


def test_a_part_without_a_share_gets_no_weight():
    parts, _ = make_parts(12)
    inputs, back = parts.combine({"voice": 1})
    weights = back(torch.ones(2, inputs.shape[1], dtype=torch.float64))
    assert not weights[:, :30].any() and weights[:, 30:].any()
