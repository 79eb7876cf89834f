"""The floor: chosen on dev, written like any other run."""

import json

import floor
import numpy as np
import torch

from modules.features.cache import FeatureCache
from modules.models.pooling import MeanStdPooling


def test_features_are_mean_and_deviation_of_each_layer():
    states = torch.randn(7, 3, 5)  # [frames, layers, width]
    dataset = [("a", states, torch.tensor(2))]
    features, targets = floor.pooled_features(dataset)
    assert features.shape == (1, 3, 10) and targets.tolist() == [2]
    pooled = MeanStdPooling()(states[:, 1][None], torch.ones(1))[0]
    np.testing.assert_allclose(features[0, 1], pooled, atol=1e-6)


def test_the_layer_that_knows_is_chosen_on_dev():
    rng = np.random.default_rng(0)

    def draw(count):
        targets = rng.integers(0, 2, count)
        features = rng.standard_normal((count, 3, 4))
        features[:, 1, 0] += 10 * targets
        return features, targets

    model, choice = floor.choose_on_dev(draw(60), draw(30))
    assert choice["layer"] == 1 and choice["dev_WA"] == 1
    test = draw(50)
    assert model.score(floor.select_layer(test[0], 1), test[1]) > 0.95


def test_run_from_the_command_line(command, tmp_path, monkeypatch):
    read, order = FeatureCache.read, []

    def spy(cache, digest):
        order.append(digest)
        return read(cache, digest)

    monkeypatch.setattr(FeatureCache, "read", spy)
    floor.main(command(tmp_path / "run"))
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["pooling"] == "logistic_regression"
    assert {"WA", "UA", "layer", "C", "dev_WA"} <= set(results)
    assert 0 <= results["all_layers"]["UA"] <= 1
    manifest = json.loads((tmp_path / "run/manifests/test.json").read_text())
    test = {entry["sha256"] for entry in manifest.values()}
    assert set(order[-len(test) :]) == test
    assert not test & set(order[: -len(test)])
