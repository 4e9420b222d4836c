"""IncomingSound: a microphone's sound keeps time, and comes no faster than it is spoken."""

from __future__ import annotations

import numpy as np

from pipeline.clock import ManualClock
from pipeline.transports.incoming import BURST_S, IncomingSound

RATE_HZ = 16_000
PIECE = np.full(640, 0.5, np.float32)


def incoming(clock: ManualClock | None = None) -> IncomingSound:
    return IncomingSound(RATE_HZ, clock or ManualClock())


def test_what_follows_is_handed_on_as_it_is() -> None:
    """Nothing is missing, so nothing is added; also where the position wraps."""
    sound = incoming()
    for position in (2**32 - 640, 0, 640):
        assert sound.take(position, PIECE) is PIECE


def test_a_loss_becomes_silence() -> None:
    """The stream is as long as the time that has passed."""
    sound = incoming()
    sound.take(0, PIECE)
    taken = sound.take(1280, PIECE)
    assert taken is not None
    assert np.array_equal(taken, np.concatenate([np.zeros(640, np.float32), PIECE]))


def test_after_a_long_pause_or_another_start_nothing_is_added() -> None:
    """More than a second, or a position that goes back, is a microphone that was opened anew."""
    sound = incoming()
    sound.take(0, PIECE)
    assert sound.take(640 + RATE_HZ + 1, PIECE) is PIECE
    assert sound.take(0, PIECE) is PIECE
    assert sound.take(640, PIECE) is PIECE


async def test_sound_is_refused_when_it_comes_faster_than_it_is_spoken() -> None:
    """Two seconds may come at once; then as much as time has passed. Silence that is filled in counts too."""
    clock = ManualClock()
    sound = incoming(clock)
    taken = [sound.take(640 * number, PIECE) for number in range(60)]
    assert sum(piece is not None for piece in taken) == BURST_S * RATE_HZ / 640
    await clock.advance(0.5)
    assert sound.take(640 * 60 + 8000, PIECE) is None
    assert sound.take(640 * 61 + 8000, PIECE) is PIECE


async def test_a_sound_card_that_runs_fast_is_heard_for_hours() -> None:
    """One that is 1 % fast, which is far more than any is, never loses a sample."""
    clock = ManualClock()
    sound = incoming(clock)
    for number in range(10_000):
        assert sound.take(640 * number, PIECE) is PIECE
        await clock.advance(0.04 / 1.01)
