"""Redraws pictures of speech that wait to be shown, when a gesture begins or ends before their moment.

0.4 s of speech is drawn ahead. The sound stays as it is; only the pictures are redrawn, the next one first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pipeline.types import FloatArray, ImageArray, Picture

__all__ = ["Anew", "DrawnFrame", "Redrawing", "Subtitle"]

logger = logging.getLogger(__name__)

REDRAWN_AT_ONCE: Final = 50
"""Most pictures that are redrawn at once: enough for two gestures, from their beginning to their end."""
REDRAWN_PER_S: Final = 5
"""Most that are redrawn from then on. A device is shared by sessions that draw 25 a second each, so whoever asks for
one gesture after another must not draw several times as many."""


@dataclass(frozen=True, slots=True)
class Subtitle:
    """The subtitle of a sentence, and how long it is shown."""

    text: str
    duration_s: float
    spoken: bool = True


@dataclass(frozen=True, slots=True)
class Anew:
    """How to redraw a drawn picture."""

    reserved: int
    "Its place, in the numbering of LoopCursor.place_of()."
    draw: Callable[[int, float], Awaitable[ImageArray]]
    "Draws the picture for a place, by a clock time in seconds. Raises what the backend raises."


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """A drawn picture with its sound, waiting for its moment."""

    picture: Picture
    audio: FloatArray
    turn: int
    loop_index: int
    sentence: int
    "index of the sentence within the turn"
    played_share: float
    "share of the sentence that has been played once this frame is, 0..1"
    subtitle: Subtitle | None = None
    anew: Anew | None = None
    "None: the frame always stays at the place it was drawn for."


@dataclass(frozen=True, slots=True)
class _Stale:
    anew: Anew
    place: int
    "the place where it is shown now"
    ahead: int
    "number of pictures shown before it"


class Redrawing:
    """Redraws one picture at a time, until every waiting picture fits its place.

    waiting: returns the frames that wait, in order. place_of: returns the place where a frame is shown now.
    due_s: returns the clock time at which the picture that many places from now is released. now_s: the clock's time.
    """

    def __init__(
        self,
        waiting: Callable[[], Iterable[DrawnFrame]],
        place_of: Callable[[DrawnFrame], int],
        due_s: Callable[[int], float],
        now_s: Callable[[], float],
    ) -> None:
        self._waiting = waiting
        self._place_of = place_of
        self._due_s = due_s
        self._now_s = now_s
        self._left: float = REDRAWN_AT_ONCE
        self._counted_s = now_s()
        self._made: dict[int, tuple[int, ImageArray]] = {}  # by reserved place: the place now, the picture
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Start redrawing if it is needed. Call it when places may have changed or a frame was queued."""
        is_busy = self._task is not None and not self._task.done()
        if not is_busy and self._may_draw() and self._next() is not None:
            self._task = asyncio.create_task(self._draw_all(), name="pictures-drawn-anew")

    def picture(self, anew: Anew, place: int) -> ImageArray | None:
        """Return the picture redrawn for that place; None if it is not ready."""
        made_for, image = self._made.get(anew.reserved, (None, None))
        return image if made_for == place else None

    def forget(self, drawn: DrawnFrame) -> None:
        """Drop what was redrawn for this frame, which waits no longer."""
        if drawn.anew is not None:
            self._made.pop(drawn.anew.reserved, None)

    def clear(self) -> None:
        """Stop redrawing, because no frame waits any more."""
        if self._task is not None:
            self._task.cancel()
        self._made.clear()

    async def aclose(self) -> None:
        """Stop redrawing, and wait until it has stopped. Idempotent."""
        self.clear()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _draw_all(self) -> None:
        while self._may_draw() and (stale := self._next()) is not None:
            self._left -= 1
            try:
                image = await stale.anew.draw(stale.place, self._due_s(stale.ahead))
            except Exception:  # whatever the reason: these pictures show a resting mouth, and the turn goes on
                logger.exception("a picture that waits could not be drawn anew")
                return
            if any(drawn.anew is stale.anew for drawn in self._waiting()):
                self._made[stale.anew.reserved] = (stale.place, image)

    def _may_draw(self) -> bool:
        """Whether one more picture may be redrawn. If not, those that wait show a resting mouth."""
        now_s = self._now_s()
        self._left = min(REDRAWN_AT_ONCE, self._left + (now_s - self._counted_s) * REDRAWN_PER_S)
        self._counted_s = now_s
        return self._left >= 1

    def _next(self) -> _Stale | None:
        """Return the first picture to redraw. Skips the very next frame, for which it would come too late."""
        for ahead, drawn in enumerate(self._waiting()):
            if ahead and drawn.anew is not None:
                place = self._place_of(drawn)
                if place not in (drawn.loop_index, self._made.get(drawn.anew.reserved, (None,))[0]):
                    return _Stale(drawn.anew, place, ahead)
        return None
