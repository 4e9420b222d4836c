"""Numbers computed with LiveTalking's own code (a5a77f4) that no other test holds: which audio a picture looks at.

LiveTalking cuts what it hears into batches and keeps ten chunks of 20 ms on either side; so its picture i of a batch
is the picture at i + 5 of the audio it holds then.
"""

import numpy as np
import pytest

from avatars.importers.foreign import Pictures, fold
from pipeline.features.grouped import GroupedStream, ReceptiveField
from pipeline.features.mel import MelStream
from pipeline.types import FEATURE_RATE_HZ, AudioChunk, FloatArray

CHUNK = 320
MEL_CHUNKS = {
    4: [(16, 31), (19, 34), (22, 37), (25, 40)],
    16: [
        *[(16, 31), (19, 34), (22, 37), (25, 40), (28, 43), (32, 47), (35, 50), (38, 53)],
        *[(41, 56), (44, 59), (48, 63), (51, 66), (54, 69), (57, 72), (60, 75), (64, 79)],
    ],
}
"""wav2lip_mel_chunks_b4 and _b16: first and last mel column of each picture. Exact."""
MIRROR_INDEX = {
    1: [0, 0],
    2: [0, 1, 1, 0],
    5: [0, 1, 2, 3, 4, 4, 3, 2, 1, 0],
    7: [0, 1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1, 0],
}
"""mirror_index: one period for each length of the cycle. Exact."""


@pytest.mark.parametrize("batch", MEL_CHUNKS)
def test_wav2lip_looks_at_the_mel_columns_of_livetalking(batch: int) -> None:
    """An impulse in a picture's first and last column, and just outside them, is seen and not seen."""
    for number, (first, last) in enumerate(MEL_CHUNKS[batch]):
        picture = number + 5
        assert sees_column(picture, first)
        assert sees_column(picture, last)
        assert not sees_column(picture, first - 4)
        assert not sees_column(picture, last + 4)
        assert first == picture * 16 // 5
        assert last - first == 15


def sees_column(picture: int, column: int) -> bool:
    """Whether a click at the middle of a mel column (200 samples each, heard over 800) changes a picture's window."""
    samples = np.zeros((picture + 12) * 640, np.float32)
    samples[column * 200] = 1.0
    stream = MelStream()
    windows = stream.push(AudioChunk(samples, FEATURE_RATE_HZ)) + stream.flush()
    return bool((windows[picture].data > -4).any())


class StepNumbers:
    """An encoder whose state of a step is the step's number."""

    def states(self, samples: FloatArray, first_step: int) -> FloatArray:
        return np.arange(first_step, first_step + len(samples) // CHUNK, dtype=np.float32)


def test_musetalk_looks_at_the_steps_of_livetalking_but_for_its_shift() -> None:
    """LiveTalking's picture i takes steps 2(i + 5) to 2(i + 5) + 9, which are those of our picture i + 7: it shows
    each mouth 80 ms too late (musetalk_live_chunks). The ten steps are the same, in the same order. Exact.
    """
    stream = GroupedStream(ReceptiveField(0, 0, 50, 25, 4, 6, True, (10,)), StepNumbers)
    samples = np.full(60 * 640, 0.5, np.float32)
    windows = stream.push(AudioChunk(samples, FEATURE_RATE_HZ)) + stream.flush()
    for number in range(16):
        live = 2 * (number + 5) + np.arange(10)
        np.testing.assert_array_equal(windows[number + 7].data, live)


@pytest.mark.parametrize("size", MIRROR_INDEX)
def test_a_doubled_cycle_is_a_period_of_livetalkings_mirror(size: int) -> None:
    """A foreign avatar stored in the order in which LiveTalking plays one is folded to each picture once."""
    order = MIRROR_INDEX[size]
    pictures = Pictures(size, lambda index: np.full((8, 8, 3), index, np.uint8))
    single, boxes, doubled = fold(pictures, np.array([[at, at, at + 4, at + 4] for at in order], np.float32))
    assert doubled
    assert single.count == size
    assert [box[0] for box in boxes] == list(range(size))
