"""LoopPlaces: an output that reports which place of the avatar's loop is shown, and sends no pictures."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.types import MediaFrame
from portal.api.event_messages import ServerMessage

__all__ = ["LoopPlaces"]


class LoopPlaces:
    """Posts `place` whenever the places of a session's frames go on in another way than was said last.

    An avatar's loop is walked one place per frame, so there is hardly anything to say: a message when the loop begins
    anew, and a few when speech is held or a gesture begins.
    """

    name = "places"

    def __init__(self, post: Callable[[ServerMessage], None]) -> None:
        self._post = post
        self._last: int | None = None
        self._step = 1

    def send(self, frame: MediaFrame) -> None:
        """Report the frame's place, unless it is where it was to be expected."""
        place, last = frame.loop_index, self._last
        self._last = place
        if last is not None and place == last + self._step:
            return
        self._step = place - last if last is not None and abs(place - last) <= 1 else 1
        self._post({"type": "place", "number": frame.number, "place": place, "step": self._step})

    def flush(self) -> None:
        """Nothing waits here."""

    async def aclose(self) -> None:
        """There is nothing to close."""
