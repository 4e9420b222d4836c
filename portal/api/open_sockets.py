"""How many session sockets may be open: of one address, of one person, and in all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from portal.api.viewer_socket import TRY_AGAIN_LATER, ViewerSocket
from portal.http.limits import AskerShares, TooMany

__all__ = ["OpenSockets"]


class OpenSockets:
    """most, most_each: sockets in all, and of one address or person."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._each = AskerShares(most_each)
        self._open: list[ViewerSocket] = []  # in the order of coming

    @contextmanager
    def one(self, viewer: ViewerSocket, address: str, person: str) -> Iterator[None]:
        """The socket counts for as long as the block runs.

        Where all are taken, that one ends which has been without a session for longest: a socket that asks for nothing
        keeps nobody out. address, person: "" for nobody's, which is not limited.

        Raises TooMany.
        """
        refusal = TooMany("Too many pages are connected.", "Close another, or try again in a minute.")
        with self._each.held(address, person, refusal):
            if len(self._open) >= self._most and not self._end_idlest():
                raise refusal
            self._open.append(viewer)
            try:
                yield
            finally:
                if viewer in self._open:
                    self._open.remove(viewer)

    def _end_idlest(self) -> bool:
        """Whether there was one that has no session, and asks for none."""
        idle = next((viewer for viewer in self._open if viewer.expires_s is not None), None)
        if idle is not None:
            self._open.remove(idle)
            idle.for_good = True
            idle.abandon(TRY_AGAIN_LATER, "Others wait for this connection.")
        return idle is not None
