from __future__ import annotations

import numpy as np
import pytest

from models.viseme_net import (
    N_FEATURES,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_STEP,
    WEIGHTS_PATH,
    FeatureStream,
    VisemeNetwork,
    VisemeStep,
)
from models.visemes import REST, VISEMES


@pytest.fixture(scope="module")
def network() -> VisemeNetwork:
    return VisemeNetwork.load()


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose loudness comes and goes."""
    n = round(seconds * SAMPLE_RATE_HZ)
    envelope = np.abs(np.sin(np.arange(n) / 2500)) ** 2
    return (np.random.default_rng(seed).standard_normal(n) * envelope * 0.1).astype(np.float32)


def heard(network: VisemeNetwork, pieces: list[np.ndarray]) -> VisemeStep:
    stream = network.stream()
    steps = [*(stream.push(piece) for piece in pieces), stream.finish()]
    joined = (np.concatenate([getattr(s, name) for s in steps]) for name in ("probabilities", "loudness", "change"))
    return VisemeStep(*joined)


def test_weights_are_small() -> None:
    """The weights that ship take less than a megabyte."""
    assert WEIGHTS_PATH.stat().st_size < 1_000_000


@pytest.mark.parametrize("n", [0, 1, 319, 320, 321, 20_000])
def test_one_step_every_20_ms(network: VisemeNetwork, n: int) -> None:
    """After finish() there is a step for every begun 20 ms, and each is a probability distribution."""
    steps = heard(network, [noise(2)[:n]])
    assert steps.probabilities.shape == (-(-n // SAMPLES_PER_STEP), len(VISEMES))
    assert steps.loudness.shape == steps.probabilities.shape[:1]
    np.testing.assert_allclose(steps.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_streamed_is_offline(network: VisemeNetwork, seed: int) -> None:
    """Pieces of any size give what one piece gives, to 1e-5."""
    samples = noise(3.3, seed)
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(samples), [3, 30, 300, 80][seed]))
    pieces, whole = heard(network, np.split(samples, cuts)), heard(network, [samples])
    np.testing.assert_allclose(pieces.probabilities, whole.probabilities, atol=1e-5)
    np.testing.assert_allclose(pieces.loudness, whole.loudness, atol=1e-5)
    np.testing.assert_allclose(pieces.change, whole.change, atol=1e-5)


def test_a_step_is_final_after_the_lookahead(network: VisemeNetwork) -> None:
    """127.5 ms after its last sample a step is out, and later audio cannot change it."""
    stream = network.stream()
    known = SAMPLES_PER_STEP * 10 + round(0.1275 * SAMPLE_RATE_HZ)
    first = stream.push(noise(1)[:known]).probabilities
    assert len(first) == 10
    other = heard(network, [np.concatenate([noise(1)[:known], noise(1, seed=9)])]).probabilities
    np.testing.assert_allclose(other[:10], first, atol=1e-5)


def test_silence_is_rest(network: VisemeNetwork) -> None:
    """Digital silence and faint hiss are heard as rest."""
    for level in (0.0, 1e-4):
        hiss = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ).astype(np.float32) * level
        assert (heard(network, [hiss]).probabilities.argmax(axis=1) == REST).all()


def test_features_do_not_depend_on_the_gain() -> None:
    """A louder recording gives the same spectrum features once the level has settled."""
    quiet, loud = (FeatureStream().push(noise(3) * np.float32(gain))[100:, :40] for gain in (0.5, 1.0))
    assert np.abs(quiet - loud).mean() < 0.1
    assert quiet.shape[1] + 2 == N_FEATURES
