"""Playout: the only clock of a session. Pairs each picture with exactly its audio and releases both together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from avatars.bundle import AvatarBundle
from pipeline.channel import Channel
from pipeline.clock import Clock
from pipeline.idle import LoopCursor
from pipeline.interfaces import Transport
from pipeline.types import (
    FPS,
    PLAYOUT_RATE_HZ,
    SAMPLES_PER_PICTURE,
    FloatArray,
    ImageArray,
    LoopPosition,
    MediaFrame,
    SessionEvent,
    SubtitleEvent,
    TurnEvent,
    TurnState,
)

__all__ = ["QUEUED_PICTURES", "DrawnFrame", "Playout", "Subtitle"]

logger = logging.getLogger(__name__)

QUEUED_PICTURES = 10
"""400 ms: the one throttle of a turn. Lip-sync waits when that much is drawn ahead."""
CATCH_UP_S = 0.2
"""A clock that is later than this slips instead of releasing a burst that no viewer could use."""
HELD_PICTURES = 50
"""A transport may hold so many frames: 2 s of sound for a viewer who takes none. What was spoken before has left."""
FADE_SAMPLES = PLAYOUT_RATE_HZ // 50  # 20 ms
SILENCE: FloatArray = np.zeros(SAMPLES_PER_PICTURE, np.float32)
SILENCE.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Subtitle:
    text: str
    duration_s: float
    spoken: bool = True


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """A drawn picture on its way to its moment."""

    picture: ImageArray
    audio: FloatArray
    turn: int
    loop_index: int
    sentence: int
    "index of the sentence within the turn"
    heard: float
    "share of the sentence that has been heard once this frame is played, 0..1"
    subtitle: Subtitle | None = None
    events: tuple[SessionEvent, ...] = ()


class Playout:
    """Releases one MediaFrame every 40 ms from run() until cancelled."""

    def __init__(self, bundle: AvatarBundle, clock: Clock) -> None:
        self.spoken: Channel[DrawnFrame] = Channel(bound=QUEUED_PICTURES)
        self.cursor = LoopCursor(len(bundle.loop))
        self.transport: Transport | None = None
        self.starved_pictures = 0
        self.slipped_s = 0.0
        self.heard: tuple[int, int, float] = (0, 0, 0.0)
        "(turn, sentence, share) of the last spoken frame that was released"
        self._bundle = bundle
        self._clock = clock
        self._emit: Callable[[SessionEvent], None] = lambda _event: None
        self._number = 0
        self._spoken_number = -HELD_PICTURES - 1
        self._start_s: float | None = None
        self._running_turn = 0
        self._begun_turn = 0
        self._interrupted_turn = 0  # this turn and those before it are not shown any more
        self._fading: DrawnFrame | None = None
        self._flushing = False
        self._released = (0, 0)  # turn, frames of it
        self._ending: dict[int, int] = {}  # turn -> frames it has in all

    @property
    def number(self) -> int:
        """Number of the next frame: how many were released so far."""
        return self._number

    def set_emit(self, emit: Callable[[SessionEvent], None]) -> None:
        """emit is called with each event at the moment it becomes true."""
        self._emit = emit

    def due_s(self, pictures_ahead: int) -> float:
        """Clock time at which the picture `pictures_ahead` places from now will be released."""
        start_s = self._clock.now_s() if self._start_s is None else self._start_s
        return start_s + (self._number + pictures_ahead) / FPS

    def begin_turn(self, turn: int) -> None:
        """Frames of this turn will come. Turns are numbered upwards."""
        self._running_turn = self._begun_turn = turn

    def end_turn(self, turn: int, frames: int) -> None:
        """The turn has handed over all its frames; it is done when the last of them is released."""
        if turn <= self._interrupted_turn:
            return
        if self._running_turn == turn:
            self._running_turn = 0
        if self._released == (turn, frames) or not frames:
            self._emit(TurnEvent(turn, TurnState.DONE))
        else:
            self._ending[turn] = frames

    def swap_bundle(self, bundle: AvatarBundle) -> None:
        """Show another avatar from the next picture on."""
        self._bundle = bundle
        self.cursor = LoopCursor(len(bundle.loop))

    def interrupt(self) -> None:
        """Silence within 20 ms of sound: the next queued frame of a voice that sounds fades out, the rest is forgotten.

        That holds, too, for frames of turns begun so far that come later: a stage may hand one over before it notices.
        """
        queued = self.spoken.clear()
        if queued and queued[0].turn == self.heard[0]:
            self._fading = _fade_out(queued[0])
        # Also when nothing is queued here, as between sentences or at the end: a slow viewer's sound may wait there.
        self._flushing = self._number - self._spoken_number <= HELD_PICTURES
        self._interrupted_turn = self._begun_turn
        self._running_turn = 0
        self._ending.clear()
        self.cursor.release()

    async def run(self) -> None:
        """Release frames for ever."""
        self._start_s = self._clock.now_s() - self._number / FPS
        while True:
            due_s = self._start_s + self._number / FPS
            await self._clock.sleep_until(due_s)
            late_s = self._clock.now_s() - due_s
            if late_s > CATCH_UP_S:
                self._start_s += late_s
                self.slipped_s += late_s
            frame = self.release()
            if self.transport is not None:
                await self._send(self.transport, frame)

    def release(self) -> MediaFrame:
        """The frame that is due now; what becomes true with it is told."""
        spoken = self._next_spoken()
        frame = self._idle() if spoken is None else self._spoken(spoken)
        self._number += 1
        for event in frame.events:
            self._emit(event)
        if spoken is not None and self._ending.get(spoken.turn) == self._released[1]:
            del self._ending[spoken.turn]
            self._emit(TurnEvent(spoken.turn, TurnState.DONE))
        return frame

    async def _send(self, transport: Transport, frame: MediaFrame) -> None:
        try:
            if self._flushing:
                self._flushing = False
                await transport.flush()
            await transport.send(frame)
        except Exception:  # whatever its library raises costs a viewer the pictures, no session its clock
            logger.exception("the transport %s failed and is given up", transport.name)
            if self.transport is transport:
                self.transport = None
            await asyncio.gather(transport.aclose(), return_exceptions=True)

    def _next_spoken(self) -> DrawnFrame | None:
        fading, self._fading = self._fading, None
        if fading is not None:
            return fading
        while (spoken := self.spoken.receive_nowait()) is not None:
            if spoken.turn > self._interrupted_turn:
                return spoken
        return None

    def _idle(self) -> MediaFrame:
        if self._running_turn and self.heard[0] == self._running_turn:
            self.starved_pictures += 1
        elif not self._running_turn:
            self.cursor.release()
        index = self.cursor.show_idle()
        return MediaFrame(LoopPosition(self._bundle, index), SILENCE, self._number, loop_index=index)

    def _spoken(self, spoken: DrawnFrame) -> MediaFrame:
        self.cursor.show_spoken(spoken.loop_index)
        self.heard = (spoken.turn, spoken.sentence, spoken.heard)
        self._spoken_number = self._number
        turn, count = self._released
        self._released = (spoken.turn, count + 1 if turn == spoken.turn else 1)
        events = spoken.events
        if spoken.subtitle is not None:
            start_s = self._number / FPS
            end_s = start_s + spoken.subtitle.duration_s
            told = SubtitleEvent(spoken.turn, spoken.subtitle.text, start_s, end_s, spoken.subtitle.spoken)
            events = (*events, told)
        return MediaFrame(
            spoken.picture,
            spoken.audio,
            self._number,
            speaking=True,
            turn=spoken.turn,
            loop_index=spoken.loop_index,
            events=events,
        )


def _fade_out(frame: DrawnFrame) -> DrawnFrame:
    audio = np.zeros_like(frame.audio)
    audio[:FADE_SAMPLES] = frame.audio[:FADE_SAMPLES] * np.linspace(1.0, 0.0, FADE_SAMPLES, dtype=np.float32)
    return replace(frame, audio=audio, subtitle=None, events=())
