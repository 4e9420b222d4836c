"""Showing: what an avatar shows while it does not speak: its loop, its gestures and its idle clips."""

from __future__ import annotations

from pipeline.gestures import Gestures, GestureShow
from pipeline.idle import LoopCursor
from pipeline.idle_clips import IdleClips
from pipeline.redrawing import DrawnFrame
from pipeline.types import LoopPictures, LoopPosition, MediaFrame, Picture

__all__ = ["Showing"]


class Showing:
    """Made by the Playout, which asks it for a picture whenever no spoken frame is to be shown."""

    def __init__(self, loop: LoopPictures, gestures: Gestures | None, seed: int) -> None:
        """seed: fixes the order in which the avatar shows its idle clips."""
        self._seed = seed
        self.swap(loop, gestures)

    def swap(self, loop: LoopPictures, gestures: Gestures | None) -> None:
        """Show another avatar, from the beginning of its loop."""
        self._loop, self._gestures = loop, gestures
        self._show = None if gestures is None else GestureShow(gestures)
        self._idle_clips = IdleClips(() if gestures is None else gestures.idle_names, self._seed)
        self.cursor = LoopCursor(len(loop.loop))

    def idle(self, *, nothing_happens: bool) -> tuple[int, Picture]:
        """Return the next place and its picture.

        nothing_happens: nobody speaks or is about to. When that lasts a while, the avatar shows one of its idle clips;
        speech ends the clip.
        """
        if not nothing_happens or self.cursor.shown >= len(self._loop.loop):
            self._idle_clips.interrupted()
        elif (name := self._idle_clips.due()) is not None and self._gestures is not None:
            self.cursor.begin(self._gestures.run(name, spoken_over=False))
        place = self.cursor.show_idle()
        return place, self._picture(place)

    def gesture_picture(self, place: int) -> Picture | None:
        """Return the picture at a place of a gesture; None if the avatar has no gestures."""
        return None if self._gestures is None else self._gestures.picture(place)

    def at_rest(self, drawn: DrawnFrame) -> Picture:
        """Return the picture at a drawn frame's place, without speech. It takes no memory."""
        return self._picture(drawn.loop_index)

    def place_of(self, drawn: DrawnFrame) -> int:
        """Return the place where a drawn frame is shown now."""
        return drawn.loop_index if drawn.anew is None else self.cursor.place_of(drawn.anew.reserved)

    def joined(self, frame: MediaFrame) -> MediaFrame:
        """Return the frame with whatever a gesture adds. `audio` is a new object if the gesture makes a sound."""
        return frame if self._show is None else self._show.joined(frame)

    def hush(self) -> None:
        """Silence the gesture that is shown. Its pictures go on."""
        if self._show is not None:
            self._show.hush()

    def _picture(self, place: int) -> Picture:
        picture = None if place < len(self._loop.loop) else self.gesture_picture(place)
        return LoopPosition(self._loop, place) if picture is None else picture
