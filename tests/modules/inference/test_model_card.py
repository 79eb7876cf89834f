"""The README.md of an exported model."""

import json

import pytest
from huggingface_hub import ModelCard


def test_the_cards_header_is_the_hubs(exported, trained):
    card = ModelCard.load(exported / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "speechbrain"
    assert data["pipeline_tag"] == "audio-classification"
    assert {"license", "tags", "datasets", "metrics"} <= set(data)
    results = json.loads((trained.folders[1] / "results.json").read_text())
    values = {r.metric_type: r.metric_value for r in card.data.eval_results}
    assert values["accuracy"] == pytest.approx(results["WA"], abs=1e-4)
    for words in (
        "What executes code",
        "Limits and ethical notes",
        "How to use",
        "@inproceedings",
        f"{results['UA']:.1%}",
    ):
        assert words in card.text
