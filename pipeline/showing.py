"""Showing: what an avatar shows in a session where no picture of speech is: its loop, gestures and idle clips."""

from __future__ import annotations

from pipeline.gestures import Gestures, GestureShow
from pipeline.idle import LoopCursor
from pipeline.idle_clips import IdleClips
from pipeline.redrawing import DrawnFrame
from pipeline.types import LoopPictures, LoopPosition, MediaFrame, Picture

__all__ = ["Showing"]


class Showing:
    """Made by the Playout, which asks it for a picture where nothing spoken is to be shown."""

    def __init__(self, loop: LoopPictures, gestures: Gestures | None, seed: int) -> None:
        """seed: of the order in which the avatar shows its idle clips."""
        self._seed = seed
        self.swap(loop, gestures)

    def swap(self, loop: LoopPictures, gestures: Gestures | None) -> None:
        """Show another avatar, from its loop's beginning on."""
        self._loop, self._gestures = loop, gestures
        self._show = None if gestures is None else GestureShow(gestures)
        self._idle_clips = IdleClips(() if gestures is None else gestures.idle_names, self._seed)
        self.cursor = LoopCursor(len(loop.loop))

    def idle(self, *, nothing_happens: bool) -> tuple[int, Picture]:
        """The next place and its picture.

        nothing_happens: nobody speaks or is about to. An avatar to which nothing happens for a while shows one of its
        idle clips; speech ends it.
        """
        if not nothing_happens or self.cursor.shown >= len(self._loop.loop):
            self._idle_clips.interrupted()
        elif (name := self._idle_clips.due()) is not None and self._gestures is not None:
            self.cursor.begin(self._gestures.run(name, spoken_over=False))
        place = self.cursor.show_idle()
        if place < len(self._loop.loop) or (picture := self.gesture_picture(place)) is None:
            picture = LoopPosition(self._loop, place)
        return place, picture

    def gesture_picture(self, place: int) -> Picture | None:
        """What is shown at a place of a gesture; None: the avatar has no gestures."""
        return None if self._gestures is None else self._gestures.picture(place)

    def place_of(self, drawn: DrawnFrame) -> int:
        """Where a drawn frame is to be shown now."""
        return drawn.loop_index if drawn.anew is None else self.cursor.place_of(drawn.anew.reserved)

    def joined(self, frame: MediaFrame) -> MediaFrame:
        """The frame with what a gesture adds to it. Its sound is another object if a gesture is heard."""
        return frame if self._show is None else self._show.joined(frame)

    def hush(self) -> None:
        """A gesture that is shown makes no sound any more; its pictures go on."""
        if self._show is not None:
            self._show.hush()
