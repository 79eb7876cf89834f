"""Learning rates: their schedules, and that of the weights of the layers."""

import json

import pytest
import torch
from conftest import command_line
from hypothesis import given, strategies as st

import train
from modules.training.brain import EmotionBrain
from modules.training.run import Run
from modules.training.schedule import constant, cosine, linear

SHARES = st.floats(0, 1)


@given(SHARES, st.floats(0, 0.9))
def test_a_factor_is_a_share_and_what_the_formula_gives(done, warm_up):
    for schedule in (constant, linear, cosine):
        assert 0 <= schedule(done, warm_up) <= 1
    if done < warm_up:
        rising = min(1, done / warm_up)
        assert constant(done, warm_up) == rising
        assert linear(done, warm_up) == cosine(done, warm_up) == rising
    else:
        assert constant(done, warm_up) == 1
        left = (1 - done) / (1 - warm_up)
        assert linear(done, warm_up) == pytest.approx(left, abs=1e-9)


@given(st.floats(0, 0.9))
def test_all_end_at_zero_but_the_constant(warm_up):
    assert constant(1.0, warm_up) == 1
    assert linear(1.0, warm_up) == pytest.approx(0, abs=1e-9)
    assert cosine(1.0, warm_up) == pytest.approx(0, abs=1e-9)


@pytest.fixture
def small_command(shared_options):
    """Return a function: the command line of a small run of corr_modern."""

    def make(folder, **changes):
        small = {"number_of_epochs": 4, "batch_size": 8, "projection_size": 8}
        options = shared_options | small | {"warm_up": 0.25} | changes
        return command_line("corr_modern", folder, options)

    return make


@pytest.fixture
def rates(monkeypatch):
    """Return a list that gets the learning rates of each update."""
    used = []
    step = EmotionBrain.optimizers_step

    def record(brain):
        used.append([group["lr"] for group in brain.optimizer.param_groups])
        step(brain)

    monkeypatch.setattr(EmotionBrain, "optimizers_step", record)
    return used


def test_every_update_has_the_rate_of_its_share(small_command, rates, tmp_path):
    changes = {"layer_pooling": "weighted", "layer_lr": 0.5, "lr": 0.01}
    train.main(small_command(tmp_path / "run", **changes))
    updates = 4 * 5  # 38 utterances, 8 an update
    assert len(rates) == updates
    for done, (rest, layers) in enumerate(rates):
        factor = cosine(done / updates, 0.25)
        assert rest == pytest.approx(0.01 * factor)
        assert layers == pytest.approx(0.5 * factor)


def test_an_interrupted_run_goes_on_with_its_rates(
    small_command, rates, tmp_path, monkeypatch
):
    train.main(small_command(tmp_path / "whole"))
    whole = list(rates)
    rates.clear()
    start = EmotionBrain.on_stage_start

    def stop(brain, stage, epoch=None):
        if epoch == 3:
            raise KeyboardInterrupt
        start(brain, stage, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(EmotionBrain, "on_stage_start", stop)
        with pytest.raises(SystemExit):
            train.main(small_command(tmp_path / "broken"))
    train.main(small_command(tmp_path / "broken"))
    assert rates == whole
    for name in ("results.json", "predictions.csv", "learning_curve.json"):
        broken = (tmp_path / "broken" / name).read_bytes()
        assert broken == (tmp_path / "whole" / name).read_bytes(), name


def test_layers_with_a_rate_of_their_own_leave_the_uniform(
    small_command, tmp_path
):
    farthest = {}
    for rate in ("0.001", "0.5"):
        folder = tmp_path / rate
        train.main(
            small_command(folder, layer_pooling="weighted", layer_lr=rate)
        )
        weights = json.loads((folder / "results.json").read_text())
        weights = torch.tensor(weights["layer_weights"])
        farthest[rate] = (weights - 1 / len(weights)).abs().max()
    assert farthest["0.5"] > 10 * farthest["0.001"]


def test_the_graph_has_the_temperature(small_command, tmp_path):
    train.main(small_command(tmp_path / "run"))
    pooling = Run(tmp_path / "run").graph["head"]["embedding"]["pooling"]
    assert pooling["temperature"] == 4.0
