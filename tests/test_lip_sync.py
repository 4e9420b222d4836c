"""How well the lips of our own renderer follow speech, measured by an independent detector."""

import pytest

from tests.benchmarks.lip_sync_accuracy import (
    LARGEST_LAG_PICTURES,
    MIN_CORRELATION,
    SENTENCES,
    TARGETS,
    SyncAccuracy,
    measure,
)

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def accuracies() -> dict[str, SyncAccuracy]:
    return {accuracy.driver: accuracy for accuracy in measure(sentences=SENTENCES[:4], size=384)}


@pytest.mark.parametrize("driver", ["phonemes", "audio"])
def test_lips_close_on_p_b_and_m(accuracies: dict[str, SyncAccuracy], driver: str) -> None:
    """An independent detector sees the closures in the rendered pictures, and does not take vowels for them."""
    accuracy = accuracies[driver]
    assert accuracy.closures >= 20
    assert accuracy.closure_recall >= TARGETS[driver]
    assert accuracy.vowels_shut <= 0.2 * accuracy.vowels


@pytest.mark.parametrize("driver", ["phonemes", "audio"])
def test_lips_move_with_the_sound(accuracies: dict[str, SyncAccuracy], driver: str) -> None:
    """The opening follows the speech, at most one picture early or late."""
    accuracy = accuracies[driver]
    assert abs(accuracy.best_lag_pictures) <= LARGEST_LAG_PICTURES
    assert accuracy.correlation >= MIN_CORRELATION
