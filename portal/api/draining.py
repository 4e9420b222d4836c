"""Draining: sends sessions away from a portal that is about to stop, without cutting off an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from pipeline.clock import Clock
from portal.api.seats import Seat, Seats

__all__ = ["LOOK_S", "RESTART", "RESTART_REASON", "drain"]

LOOK_S = 0.1
RESTART = 1012
"""Close code "Service Restart" in IANA's registry of WebSocket close codes (RFC 6455, section 11.7)."""
RESTART_REASON = "This portal stops. Come back with your token."


async def drain(seats: Seats, clock: Clock, within_s: float) -> None:
    """Send all viewers away with RESTART, and wait until callers' sessions have said what they were asked to say.

    If other nodes can take the sessions over, each viewer is sent away as soon as their session is not in a turn.
    Otherwise all viewers are sent away together, after the last turn, so that each is without the portal for as short
    as possible. After within_s seconds, turns are no longer waited for.
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
    """Write the state of these sessions, then dismiss their sockets.

    A session in which a turn began while its state was being written stays until that turn is over.
    """
    await seats.keeper.write_now([seat.session.id for seat in leaving])
    quiet = [seat for seat in leaving if is_late or not seat.session.is_mid_turn]
    await asyncio.gather(*(seats.part(seat, RESTART, RESTART_REASON) for seat in quiet))
