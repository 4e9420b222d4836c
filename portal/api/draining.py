"""Draining: how sessions leave a portal that is about to stop, without an answer being cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from pipeline.clock import Clock
from portal.api.seats import Seat, Seats

__all__ = ["LOOK_S", "RESTART", "RESTART_REASON", "drain"]

LOOK_S = 0.1
RESTART = 1012
"""Close code: Service Restart, of the registry that RFC 6455 began."""
RESTART_REASON = "This portal stops. Come back with your token."


async def drain(seats: Seats, clock: Clock, within_s: float) -> None:
    """Return when all viewers have been sent away with RESTART, and what callers have asked for has been said.

    Whoever says nothing and hears nothing is sent to another node at once; where there is none, all are sent away
    together, so that nobody is without the portal for longer than it takes. After within_s nobody is waited for.
    """
    until_s = clock.now_s() + within_s
    while True:
        is_late = clock.now_s() >= until_s
        busy = {seat for seat in seats if seat.session.is_mid_turn and not is_late}
        if seats.keeper.hands_over or not busy:
            await _send_away(seats, [seat for seat in seats if seat.token and seat not in busy], is_late=is_late)
        if not busy and not any(seat.token for seat in seats):
            return
        await clock.sleep_until(clock.now_s() + LOOK_S)


async def _send_away(seats: Seats, leaving: Collection[Seat], *, is_late: bool) -> None:
    """Those who have begun to talk while their state was being written stay until they are heard."""
    await seats.keeper.write_now([seat.session.id for seat in leaving])
    quiet = [seat for seat in leaving if is_late or not seat.session.is_mid_turn]
    await asyncio.gather(*(seats.part(seat, RESTART, RESTART_REASON) for seat in quiet))
