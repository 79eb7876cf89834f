"""Functionals of the voice equal a plain definition in NumPy."""

import numpy as np
import pytest
import torch

from modules.errors import BadInput
from modules.features.stored_states import StoredStates
from modules.models.functionals import FunctionalsPooling
from modules.models.pooling import EPS
from modules.models.vocal import VocalEncoder

SPECTRAL = 22
POOLING = FunctionalsPooling(27)


def random_features(frames, share, seed=0):
    """Return features [frames, 27] with a share of voiced frames."""
    rng = np.random.default_rng(seed)
    features = rng.normal(3.0, 2.0, (frames, 27))
    voiced = rng.uniform(size=frames) < share
    features[:, 23] = voiced
    features[:, 24] = voiced & np.r_[False, voiced[:-1]]
    features[:, 25:] = np.abs(features[:, 25:])
    return features


def plain(features):
    """Return the functionals of one utterance, [frames, 27] -> [119]."""
    spectral, pitch = features[:, :SPECTRAL], features[:, SPECTRAL]
    voiced, consecutive = features[:, 23] == 1, features[:, 24] == 1
    runs, before = 0, False
    for flag in voiced:
        runs += flag and not before
        before = flag

    def mean(values):
        return values.mean(axis=0) if len(values) else 0 * values.sum(axis=0)

    def deviation(values):
        return np.sqrt(mean((values - mean(values)) ** 2) + EPS)

    seconds = len(features) / 100
    return np.concatenate(
        [
            mean(spectral),
            deviation(spectral),
            mean(np.abs(np.diff(spectral, axis=0))),
            mean(spectral[voiced]),
            deviation(spectral[voiced]),
            [
                mean(pitch[voiced]),
                deviation(pitch[voiced]),
                mean(np.abs(np.diff(pitch))[consecutive[1:]]),
                voiced.mean(),
                runs / seconds,
                voiced.sum() / 100 / max(runs, 1),
                mean(features[consecutive, 25]),
                mean(features[consecutive, 26]),
                np.log(len(features)),
            ],
        ]
    )


def pool(features):
    """Pool one utterance alone."""
    one = torch.from_numpy(features).float()[None]
    return POOLING(one, torch.ones(1))[0]


@pytest.mark.parametrize("frames", [1, 2, 3, 150])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_it_is_the_plain_definition(frames, share):
    for seed in range(3):
        features = random_features(frames, share, seed)
        found = pool(features)
        assert len(found) == POOLING.output_size
        wanted = torch.from_numpy(plain(features)).float()
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_padding_does_not_matter():
    counts = [1, 7, 40, 90]
    utterances = [random_features(n, 0.6, n) for n in counts]
    batch = torch.full((4, 90, 27), 1.0)
    for row, features in zip(batch, utterances):
        row[: len(features)] = torch.from_numpy(features)
    found = POOLING(batch, torch.tensor(counts) / 90)
    for one, features in zip(found, utterances):
        torch.testing.assert_close(one, pool(features), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_silence_is_finite(value):
    states, _ = VocalEncoder()(torch.full((2, 3000), value))
    assert torch.isfinite(POOLING(states[0], torch.ones(2))).all()


def test_few_bits_keep_the_flags():
    features = torch.from_numpy(random_features(60, 0.5)).float()
    exact = POOLING(features[None], torch.ones(1))
    for dtype in (torch.float16, torch.int8):
        kept = StoredStates.from_hidden_states(features[:, None], dtype)
        found = POOLING(kept.float()[None, :, 0], torch.ones(1))
        torch.testing.assert_close(found[0, -6:-3], exact[0, -6:-3])


def test_other_channels_are_refused():
    with pytest.raises(BadInput, match="needs the 27 channels of vocal"):
        FunctionalsPooling(80)
