"""The last stage of a turn. It draws mouths on the device, composes pictures in the pool, and feeds the playout.

Each picture is handed on as soon as it is ready: the device may draw other sessions' pictures between two of one
request. While some pictures are composed the next are drawn, as long as the playout is not full. In a live turn, if
drawing falls behind, some pictures are left out, and the one before each is shown again (see DrawingPace).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32

from avatars.bundle import AvatarBundle
from pipeline.acting import Acting, Expression
from pipeline.channel import Channel
from pipeline.compositing import compose
from pipeline.drawing_pace import DrawingPace
from pipeline.finishing import Finish, finish
from pipeline.metrics import TurnTimes
from pipeline.playout import QUEUED_PICTURES
from pipeline.redrawing import Anew, DrawnFrame, Subtitle
from pipeline.timeline import SpeechSlice
from pipeline.turn_context import TurnContext
from pipeline.types import FacePatch, ImageArray, LipSyncRequest

__all__ = ["Drawing"]

FIRST_BATCH = 2
"""A batch of one would be played before the next picture is drawn, if other sessions begin to speak at the same
time."""


class _Frame:
    """The avatar's frame under one picture.

    It is decoded once, for the backend that reads it and then for composing.
    """

    def __init__(self, bundle: AvatarBundle, index: int) -> None:
        self._bundle, self._index = bundle, index
        self._pixels: ImageArray | None = None

    def read(self) -> ImageArray:
        """Return the pixels, to be read only. Raises BundleError."""
        if self._pixels is None:
            self._pixels = self._bundle.frame(self._index)
        return self._pixels

    def take(self) -> ImageArray:
        """Return the pixels for the caller to draw on.

        Keeps no copy, because pictures may wait long. Raises BundleError.
        """
        pixels, self._pixels = self.read(), None
        return pixels


@dataclass(frozen=True, slots=True)
class _Planned:
    """A picture of speech, with the place in the avatar's loop where it will be shown."""

    spoken: SpeechSlice
    reserved: int
    "the place, in the numbering of LoopCursor.place_of()"
    loop_index: int
    frame_index: int
    frame: _Frame
    strength: float
    "opacity of the drawn mouth, 0..1; at 0 no mouth is drawn"
    expression: Expression
    is_left_out: bool = False
    "whether the picture before it is shown again, in this one's place"

    @property
    def needs_mouth(self) -> bool:
        """Whether the device has to draw a mouth for it."""
        return self.strength > 0 and not self.is_left_out


@dataclass(frozen=True, slots=True)
class _Requested:
    planned: _Planned
    patch: asyncio.Future[FacePatch] | None
    "None: no mouth is drawn"
    more_waited: bool
    "whether there was more to draw than was requested with it, so that drawing is what the turn waits for"

    @property
    def is_ready(self) -> bool:
        """Whether the picture can be composed now."""
        return self.patch is None or self.patch.done()


class Drawing:
    """Draws the pictures of one turn. Call run() once."""

    def __init__(self, turn: int, context: TurnContext, times: TurnTimes) -> None:
        self.frames_sent = 0
        self._turn = turn
        self._context = context
        self._times = times
        self._requested: deque[_Requested] = deque()
        self._begun = False
        self._composing = 0  # pictures that are drawn and not handed over yet
        self._pace = DrawingPace()
        self._last_image: ImageArray | None = None
        self._last_reserved = 0
        # Seeded by avatar and turn, so that the same text in the same turn looks the same every time.
        self._acting = Acting(crc32(f"{context.bundle.id} {turn}".encode()))

    async def run(self, pictures: Channel[SpeechSlice]) -> None:
        """Draw all pictures. Returns when the last one is handed over. Raises what the backend raised."""
        try:
            while await self._something_requested(pictures):
                waits_from_s = self._context.clock.now_s()
                drawn = await self._next_drawn()
                if self._ahead < QUEUED_PICTURES:
                    self._request(pictures)
                await self._hand_over(drawn, waits_from_s)
        finally:
            self._forget_requested()

    @property
    def _ahead(self) -> int:
        """Number of pictures shown before any that is still to be drawn."""
        return len(self._context.playout.spoken) + self._composing

    async def _something_requested(self, pictures: Channel[SpeechSlice]) -> bool:
        """Wait until some picture is requested; False once nothing is left to draw."""
        self._request(pictures)
        while not self._requested and await pictures.ready():
            self._request(pictures)
        return bool(self._requested)

    def _request(self, pictures: Channel[SpeechSlice]) -> None:
        """Request as many pictures as wait to be shown.

        More might come too late, and smaller batches cost more each.
        """
        size = min(max(FIRST_BATCH, self._ahead), self._context.lipsync.max_batch)
        planned: list[_Planned] = []
        to_draw = sum(not requested.planned.is_left_out for requested in self._requested)
        while to_draw < size and (spoken := pictures.receive_nowait()) is not None:
            planned.append(self._plan(spoken, more_waits=len(pictures) > 0))
            to_draw += not planned[-1].is_left_out
        if planned:
            self._requested += self._drawn(planned, more_waits=len(pictures) > 0)
            self._begun = True

    def _plan(self, spoken: SpeechSlice, *, more_waits: bool) -> _Planned:
        for gesture in spoken.gestures:
            self._context.begin_gesture(gesture)
        expression = self._acting.next(spoken.stress, spoken.left)
        place = self._context.playout.cursor.reserve(loop_only=self._context.lipsync.on_device)
        strength = 1.0 if self._context.lipsync.draws_rest else spoken.mouth
        reserved = self._context.playout.cursor.reserved
        index = self._context.bundle.frame_index(place)
        frame = _Frame(self._context.bundle, index)
        # After a pause the picture before is not the one that is shown now.
        goes_on, self._last_reserved = reserved - self._last_reserved <= 1, reserved
        is_live = self._context.playout.start_s is not None
        may_leave_out = is_live and goes_on and more_waits and not spoken.gestures
        is_left_out = may_leave_out and self._pace.leaves_out(self._ahead)
        self._context.playout.repeated_pictures += is_left_out
        return _Planned(spoken, reserved, place, index, frame, strength, expression, is_left_out)

    def _drawn(self, planned: list[_Planned], *, more_waits: bool) -> list[_Requested]:
        context, ahead = self._context, self._ahead + len(self._requested)
        requests = [
            LipSyncRequest(
                context.lipsync_state,
                one.frame_index,
                one.spoken.window,
                context.playout.due_s(ahead + place),
                urgent=not self._begun,
                read_frame=one.frame.read,
            )
            for place, one in enumerate(planned)
            if one.needs_mouth
        ]
        patches = iter(context.device.draw(context.lipsync, requests))
        return [_Requested(one, next(patches) if one.needs_mouth else None, more_waits) for one in planned]

    async def _next_drawn(self) -> list[_Requested]:
        """Wait for the picture requested first. Returns it, and those after it that are ready, too."""
        if self._requested[0].patch is not None:
            await asyncio.wait((self._requested[0].patch,))
        drawn: list[_Requested] = []
        while self._requested and self._requested[0].is_ready:
            drawn.append(self._requested.popleft())
        self._times.mark("first_patch")
        self._composing = len(drawn)
        return drawn

    async def _hand_over(self, drawn: list[_Requested], waits_from_s: float) -> None:
        planned = [one.planned for one in drawn]
        composed = [one for one in planned if not one.is_left_out]
        patches = _results([one.patch for one in drawn if one.patch is not None])
        loop = asyncio.get_running_loop()
        images = deque(
            await loop.run_in_executor(self._context.executor, _compose_all, self._context, composed, patches)
        )
        self._times.mark("first_frame")
        # If a turn waits for its voice, small batches take long, and that says nothing about the pace of drawing.
        if composed and drawn[0].more_waited and self.frames_sent:  # the first also waited for its turn at the device
            self._pace.note(len(composed), self._context.clock.now_s() - waits_from_s)
        for one in planned:
            image = self._last_image if one.is_left_out else images.popleft()
            assert image is not None, "the first picture is never left out"
            self._last_image = image
            await self._context.playout.take(self._frame(one, image))
            self.frames_sent += 1
            self._composing -= 1

    def _frame(self, planned: _Planned, image: ImageArray) -> DrawnFrame:
        spoken = planned.spoken
        return DrawnFrame(
            picture=image,
            audio=spoken.audio,
            turn=self._turn,
            loop_index=planned.loop_index,
            anew=None if self._context.lipsync.on_device else Anew(planned.reserved, partial(self._draw_anew, planned)),
            sentence=spoken.sentence,
            played_share=spoken.played_share,
            subtitle=Subtitle(spoken.text, spoken.duration_s, spoken.voiced) if spoken.text else None,
        )

    async def _draw_anew(self, planned: _Planned, place: int, wanted_s: float) -> ImageArray:
        """Redraw a picture of speech for another place of the loop, or on a gesture. Raises what the backend raises."""
        context = self._context
        index = context.bundle.frame_index(place)
        moved = replace(
            planned, loop_index=place, frame_index=index, frame=_Frame(context.bundle, index), is_left_out=False
        )
        patches: list[FacePatch] = []
        if planned.strength:
            window = planned.spoken.window
            request = LipSyncRequest(context.lipsync_state, moved.frame_index, window, wanted_s)
            patches = [await context.device.draw(context.lipsync, [request])[0]]
        loop = asyncio.get_running_loop()
        (image,) = await loop.run_in_executor(context.executor, _compose_all, context, [moved], patches)
        return image

    def _forget_requested(self) -> None:
        """Cancel the requests that the device has not begun."""
        for requested in self._requested:
            if requested.patch is not None and not requested.patch.cancel() and not requested.patch.cancelled():
                requested.patch.exception()  # marks it as seen; the turn has failed already, and its error was reported


def _results(patches: list[asyncio.Future[FacePatch]]) -> list[FacePatch]:
    """Return the patches. Raises the first error. It reads all errors, since asyncio warns about those never read."""
    for error in [patch.exception() for patch in patches]:
        if error is not None:
            raise error
    return [patch.result() for patch in patches]


def _compose_all(context: TurnContext, batch: list[_Planned], patches: list[FacePatch]) -> list[ImageArray]:
    drawn = iter(patches)
    wanted = Finish() if context.lipsync.draws_rest else context.finish
    frames = [planned.frame.take() for planned in batch]
    images: list[ImageArray] = []
    for frame, planned in zip(frames, batch, strict=True):
        patch = finish(next(drawn), frame, wanted) if planned.strength else None
        image = context.loop.quieted(frame, planned.frame_index, 1 - planned.strength)
        spoken = compose(image, patch, planned.strength) if patch is not None else image
        if context.face is not None:
            spoken = context.face.show(spoken, planned.frame_index, planned.expression)
        images.append(spoken)
    return images
