"""LoopPlaces: an output that reports which place of the avatar's loop is shown, and sends no pictures."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.types import MediaFrame
from portal.api.event_messages import ServerMessage

__all__ = ["LoopPlaces"]


class LoopPlaces:
    """Posts a `place` message whenever a session's frames do not continue as the last message said.

    An avatar's loop advances by one place per frame, so messages are rare: one when the loop starts again, and a few
    when speech is held or a gesture begins.
    """

    name = "places"

    def __init__(self, post: Callable[[ServerMessage], None]) -> None:
        self._post = post
        self._last: int | None = None
        self._step = 1

    def send(self, frame: MediaFrame) -> None:
        """Report the frame's place, unless it is the one that was expected."""
        place, last = frame.loop_index, self._last
        self._last = place
        if last is not None and place == last + self._step:
            return
        self._step = place - last if last is not None and abs(place - last) <= 1 else 1
        self._post({"type": "place", "number": frame.number, "place": place, "step": self._step})

    def flush(self) -> None:
        """Do nothing: no frames wait here."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""
