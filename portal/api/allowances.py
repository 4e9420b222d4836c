"""How often an address may connect, offer WebRTC, and have a session sent elsewhere."""

from __future__ import annotations

from pipeline.clock import Clock
from portal.http.limits import AddressAllowance, Allowance, SessionAllowance, TooOften

__all__ = ["GREETINGS", "OFFERS_EACH", "REFUSALS", "SocketAllowances"]

GREETINGS, GREETINGS_PER_S = 120.0, 4.0
"""New sockets and new sessions of one address: a class of thirty may reload its pages twice at the same moment."""
REFUSALS, REFUSALS_PER_S = 30.0, 1.0
"""Refusals that are explained on an opened socket, which the page shows; after these the handshake is refused (429)."""
OFFERS, OFFERS_PER_S = 3.0, 0.2
"""WebRTC offers of one session. The page sends one as it starts, and one on each network that it changes to."""
OFFERS_EACH = 12
PUSHES_EACH, PUSHES_EACH_PER_S = 12.0, 0.1
"""Streams to streaming servers that one address, and one person, may begin: each starts a process."""
CHANGES, CHANGES_PER_S = 10.0, 0.5
"""Of one session: another avatar may take 0.2 s of work on the thread that draws for all."""
CHANGES_EACH, CHANGES_EACH_PER_S = 20.0, 1.0
"""The same in all sessions of one address, and of one person."""
OFFERS_REFILL_S = 10.0
"""An offer keeps the event loop busy for some 10 ms, in which no other viewer gets a picture."""


class SocketAllowances:
    """offers_each: most WebRTC offers from one address at once; as many more come in every OFFERS_REFILL_S."""

    def __init__(self, clock: Clock, offers_each: int = OFFERS_EACH) -> None:
        self._greetings = AddressAllowance(clock, burst=GREETINGS, per_s=GREETINGS_PER_S)
        self._refusals = AddressAllowance(clock, burst=REFUSALS, per_s=REFUSALS_PER_S)
        offers = Allowance(clock, burst=OFFERS, per_s=OFFERS_PER_S)
        changes = Allowance(clock, burst=CHANGES, per_s=CHANGES_PER_S)
        self._offers = SessionAllowance(
            clock,
            "Connections of this session are made too often.",
            offers,
            burst=offers_each,
            per_s=offers_each / OFFERS_REFILL_S,
        )
        self._changes = SessionAllowance(
            clock, "This session is changed too often.", changes, burst=CHANGES_EACH, per_s=CHANGES_EACH_PER_S
        )
        self._pushes = SessionAllowance(
            clock, "Streams are begun too often.", offers, burst=PUSHES_EACH, per_s=PUSHES_EACH_PER_S
        )

    def charge_greeting(self, address: str) -> None:
        """Count a new socket, or a new session, of an address. Raises TooOften."""
        retry_s = self._greetings.take(address) if address else 0.0
        if retry_s:
            raise TooOften("This address connects too often.", "Wait a minute, then try again.", retry_s)

    def explains_refusal(self, address: str) -> bool:
        """Whether a refusal is explained on an opened socket. That costs more than a refused handshake."""
        return not self._refusals.take(address)

    def charge_change(self, session_id: str, address: str, person: str) -> None:
        """Count a change of a session that may load files. Raises TooOften."""
        self._changes.charge(session_id, address, person)

    def charge_offer(self, session_id: str, address: str) -> None:
        """Count a WebRTC offer of a session and its address, or what costs as much. Raises TooOften."""
        self._offers.charge(session_id, address)

    def charge_push(self, session_id: str, address: str, person: str) -> None:
        """Count a stream to a streaming server that a session begins. Raises TooOften."""
        self._pushes.charge(f"{session_id} push", address, person)
