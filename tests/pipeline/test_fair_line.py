"""The line in which those who ask take turns: who leaves it while others are served."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.fair_line import FairLine


async def test_who_gives_up_in_the_moment_of_their_turn_disturbs_nobody() -> None:
    """Whoever was served ends as ever, and the next one who still waits has the turn."""
    line = FairLine(lambda: 1)
    await line.enter("ada")
    gives_up, waits = (asyncio.create_task(line.enter(asker)) for asker in ("bob", "eve"))
    await asyncio.sleep(0)
    gives_up.cancel()
    line.leave("ada")
    await waits
    with pytest.raises(asyncio.CancelledError):
        await gives_up
    assert line.waiting == 0 and not line.is_idle
    line.leave("eve")
    assert line.is_idle


async def test_a_turn_that_came_too_late_goes_to_the_next() -> None:
    """Cancelled after it was granted, and before the task went on."""
    line = FairLine(lambda: 1)
    await line.enter("ada")
    gives_up, waits = (asyncio.create_task(line.enter(asker)) for asker in ("bob", "eve"))
    await asyncio.sleep(0)
    line.leave("ada")
    gives_up.cancel()
    await waits
    with pytest.raises(asyncio.CancelledError):
        await gives_up
    line.leave("eve")
    assert line.is_idle
