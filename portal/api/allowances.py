"""Rate limits of an address: how often it may connect, offer WebRTC, change a session, and send it elsewhere."""

from __future__ import annotations

from pipeline.clock import Clock
from portal.http.limits import AddressAllowance, Allowance, SessionAllowance, TooOften

__all__ = ["GREETINGS", "OFFERS_EACH", "REFUSALS", "SocketAllowances"]

GREETINGS, GREETINGS_PER_S = 120.0, 4.0
"""New sockets and new sessions of one address. A class of thirty must be able to reload all pages twice at once."""
REFUSALS, REFUSALS_PER_S = 30.0, 1.0
"""Refusals that are explained on an opened socket, so that the page can show the reason. Beyond these the handshake
itself is refused (429)."""
OFFERS, OFFERS_PER_S = 3.0, 0.2
"""WebRTC offers of one session. The page sends one when it starts, and one each time it changes to another network."""
OFFERS_EACH = 12
PUSHES_EACH, PUSHES_EACH_PER_S = 12.0, 0.1
"""Pushes to streaming servers that one address, or one person, may begin. Each starts a process."""
CHANGES, CHANGES_PER_S = 10.0, 0.5
"""Changes of one session. Another avatar may take 0.2 s on the device thread, which draws for all sessions."""
CHANGES_EACH, CHANGES_EACH_PER_S = 20.0, 1.0
"""Changes of all sessions of one address, or of one person."""
OFFERS_REFILL_S = 10.0
"""Time in which an address gets back its full allowance of offers. An offer keeps the event loop busy for about 10 ms,
and meanwhile no other viewer gets a picture."""


class SocketAllowances:
    """Counts what addresses, persons and sessions do on session sockets.

    offers_each: most WebRTC offers from one address at once. The same number comes back in OFFERS_REFILL_S.
    """

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
        """Return whether to explain a refusal on an opened socket, which costs more than refusing the handshake."""
        return not self._refusals.take(address)

    def charge_change(self, session_id: str, address: str, person: str) -> None:
        """Count a change of a session, if it may load files. Raises TooOften."""
        self._changes.charge(session_id, address, person)

    def charge_offer(self, session_id: str, address: str) -> None:
        """Count a WebRTC offer, or something equally costly, for a session and an address. Raises TooOften."""
        self._offers.charge(session_id, address)

    def charge_push(self, session_id: str, address: str, person: str) -> None:
        """Count a push to a streaming server that a session begins. Raises TooOften."""
        self._pushes.charge(f"{session_id} push", address, person)
