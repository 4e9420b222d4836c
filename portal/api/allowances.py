"""How often an address may connect, offer WebRTC, and have a session sent elsewhere."""

from __future__ import annotations

import math

from pipeline.clock import Clock
from portal.http.limits import AddressAllowance, Allowance, TooOften

__all__ = ["GREETINGS", "OFFERS_EACH", "REFUSALS", "SocketAllowances"]

GREETINGS, GREETINGS_PER_S = 120.0, 4.0
"""New sockets and new sessions of one address: a class of thirty may reload its pages twice at the same moment."""
REFUSALS, REFUSALS_PER_S = 30.0, 1.0
"""Refusals that are explained on an opened socket, which the page shows; after these the handshake is refused (429)."""
OFFERS, OFFERS_PER_S = 3.0, 0.2
"""WebRTC offers of one session. The page sends one as it starts, and one on each network that it changes to."""
OFFERS_EACH = 12
CHANGES, CHANGES_PER_S = 5.0, 0.5
"""Of one session by requests: each may load an avatar. A session socket has an allowance for all its messages."""
OFFERS_REFILL_S = 10.0
"""An offer keeps the event loop busy for some 10 ms, in which no other viewer gets a picture."""


class SocketAllowances:
    """offers_each: most WebRTC offers from one address at once; as many more come in every OFFERS_REFILL_S."""

    def __init__(self, clock: Clock, offers_each: int = OFFERS_EACH) -> None:
        self._greetings = AddressAllowance(clock, burst=GREETINGS, per_s=GREETINGS_PER_S)
        self._refusals = AddressAllowance(clock, burst=REFUSALS, per_s=REFUSALS_PER_S)
        self._offers = Allowance(clock, burst=OFFERS, per_s=OFFERS_PER_S)
        self._changes = Allowance(clock, burst=CHANGES, per_s=CHANGES_PER_S)
        self._offers_each = AddressAllowance(clock, burst=offers_each, per_s=offers_each / OFFERS_REFILL_S)

    def charge_greeting(self, address: str) -> None:
        """Count a new socket, or a new session, of an address. Raises TooOften."""
        retry_s = self._greetings.take(address) if address else 0.0
        if retry_s:
            raise TooOften("This address connects too often.", "Wait a minute, then try again.", retry_s)

    def explains_refusal(self, address: str) -> bool:
        """Whether a refusal is explained on an opened socket. That costs more than a refused handshake."""
        return not self._refusals.take(address)

    def charge_change(self, session_id: str) -> None:
        """Count a request to change a session. Raises TooOften."""
        retry_s = self._changes.take(session_id)
        if retry_s:
            raise TooOften(
                "This session is changed too often.", f"Wait {math.ceil(retry_s)} s, then try again.", retry_s
            )

    def charge_offer(self, session_id: str, address: str) -> None:
        """Count a WebRTC offer of a session and its address, or what costs as much. Raises TooOften."""
        retry_s = self._offers.take(session_id)
        if not retry_s and address:
            retry_s = self._offers_each.take(address)
        if retry_s:
            raise TooOften(
                "Connections of this session are made too often.",
                f"Wait {math.ceil(retry_s)} s, then try again.",
                retry_s,
            )
