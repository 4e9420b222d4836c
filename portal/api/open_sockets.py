"""Limits how many session sockets may be open: per address, per person, and in total."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from portal.api.viewer_socket import TRY_AGAIN_LATER, ViewerSocket
from portal.http.limits import AskerShares, TooMany

__all__ = ["OpenSockets"]


class OpenSockets:
    """Counts open session sockets. max_total: sockets in total. max_each: sockets of one address or one person."""

    def __init__(self, max_total: int, max_each: int) -> None:
        self._max_total = max_total
        self._each = AskerShares(max_each)
        self._open: list[ViewerSocket] = []  # in the order of coming

    @contextmanager
    def one(self, viewer: ViewerSocket, address: str, person: str) -> Iterator[None]:
        """Count the socket for as long as the block runs.

        If the total is reached, the oldest socket without a session is closed to make room. So sockets that ask for
        nothing cannot keep others out. address, person: "" if unknown, which is not limited.

        Raises TooMany.
        """
        refusal = TooMany("Too many pages are connected.", "Close another, or try again in a minute.")
        with self._each.held(address, person, refusal):
            if len(self._open) >= self._max_total and not self._end_idlest():
                raise refusal
            self._open.append(viewer)
            try:
                yield
            finally:
                if viewer in self._open:
                    self._open.remove(viewer)

    def _end_idlest(self) -> bool:
        """Close the oldest socket that has no session and asks for none. Return whether there was one."""
        idle = next((viewer for viewer in self._open if viewer.expires_s is not None), None)
        if idle is not None:
            self._open.remove(idle)
            idle.for_good = True
            idle.abandon(TRY_AGAIN_LATER, "Others wait for this connection.")
        return idle is not None
