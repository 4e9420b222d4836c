"""Pictures of speech that wait to be shown, and are drawn once more because a gesture begins or ends before that.

0.4 s of speech is drawn ahead. Its sound stays as it is; only the pictures are made anew, the first of them first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from pipeline.types import FloatArray, ImageArray, Picture

__all__ = ["Anew", "DrawnFrame", "Redrawing", "Subtitle"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subtitle:
    text: str
    duration_s: float
    spoken: bool = True


@dataclass(frozen=True, slots=True)
class Anew:
    """How a drawn picture is drawn once more."""

    reserved: int
    "its place, as LoopCursor.place_of() knows it"
    draw: Callable[[int, float], Awaitable[ImageArray]]
    "the picture at a place, wanted by a clock time. Raises what the backend raises"


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """A drawn picture on its way to its moment."""

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
    "None: it stays where it was drawn"


@dataclass(frozen=True, slots=True)
class _Stale:
    anew: Anew
    place: int
    "where it is to be shown now"
    ahead: int
    "pictures that are shown before it"


class Redrawing:
    """Draws one picture after another, for as long as there are some whose place has changed.

    waiting: the frames that are shown next, in order. place_of: where a frame is to be shown now. due_s: the clock time
    at which a picture so many places from now is released.
    """

    def __init__(
        self,
        waiting: Callable[[], Iterable[DrawnFrame]],
        place_of: Callable[[DrawnFrame], int],
        due_s: Callable[[int], float],
    ) -> None:
        self._waiting = waiting
        self._place_of = place_of
        self._due_s = due_s
        self._made: dict[int, tuple[int, ImageArray]] = {}  # reserved place -> where it is shown now, and the picture
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Places may have changed, or a frame has come."""
        is_busy = self._task is not None and not self._task.done()
        if not is_busy and self._next() is not None:
            self._task = asyncio.create_task(self._draw_all(), name="pictures-drawn-anew")

    def picture(self, anew: Anew, place: int) -> ImageArray | None:
        """What was drawn of a frame for that place; None: it was not drawn in time."""
        made_for, image = self._made.get(anew.reserved, (None, None))
        return image if made_for == place else None

    def forget(self, drawn: DrawnFrame) -> None:
        """The frame waits no more."""
        if drawn.anew is not None:
            self._made.pop(drawn.anew.reserved, None)

    def clear(self) -> None:
        """Nothing waits any more."""
        if self._task is not None:
            self._task.cancel()
        self._made.clear()

    async def aclose(self) -> None:
        """Idempotent."""
        self.clear()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _draw_all(self) -> None:
        while (stale := self._next()) is not None:
            try:
                image = await stale.anew.draw(stale.place, self._due_s(stale.ahead))
            except Exception:  # whatever it was: these pictures have the mouth at rest, and the turn goes on
                logger.exception("a picture that waits could not be drawn anew")
                return
            if any(drawn.anew is stale.anew for drawn in self._waiting()):
                self._made[stale.anew.reserved] = (stale.place, image)

    def _next(self) -> _Stale | None:
        """The first that is to be drawn anew. The very next frame would come too late."""
        for ahead, drawn in enumerate(self._waiting()):
            if ahead and drawn.anew is not None:
                place = self._place_of(drawn)
                if place not in (drawn.loop_index, self._made.get(drawn.anew.reserved, (None,))[0]):
                    return _Stale(drawn.anew, place, ahead)
        return None
