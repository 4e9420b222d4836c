"""Playout: the only clock of a session. Pairs each picture with exactly its audio and releases both together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from avatars.bundle import AvatarBundle
from pipeline.channel import Channel
from pipeline.clock import Clock
from pipeline.idle import LoopCursor
from pipeline.interfaces import Output
from pipeline.ledger import TurnLedger
from pipeline.types import (
    FPS,
    PLAYOUT_RATE_HZ,
    SAMPLES_PER_PICTURE,
    FloatArray,
    ImageArray,
    LoopPosition,
    MediaFrame,
    SubtitleEvent,
)

__all__ = ["QUEUED_PICTURES", "DrawnFrame", "Played", "Playout", "Subtitle"]

logger = logging.getLogger(__name__)

QUEUED_PICTURES = 10
"""400 ms: the one throttle of a turn. Lip-sync waits when that much is drawn ahead."""
CATCH_UP_S = 0.2
"""A clock that is later than this slips instead of releasing a burst that no viewer could use."""
HELD_PICTURES = 50
"""An output may hold so many frames: 2 s of sound for a viewer who takes none. What was spoken before has left."""
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
    played_share: float
    "share of the sentence that has been played once this frame is, 0..1"
    subtitle: Subtitle | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """How far the speech has come that was released."""

    turn: int = 0
    sentence: int = 0
    share: float = 0.0
    "of the sentence, 0..1"


class Playout:
    """Releases one MediaFrame every 40 ms from run() until cancelled.

    It asks the ledger which turns have not ended; frames of others are not shown. The session keeps the ledger.
    """

    def __init__(self, bundle: AvatarBundle, clock: Clock) -> None:
        self.ledger = TurnLedger()
        self.spoken: Channel[DrawnFrame] = Channel(bound=QUEUED_PICTURES)
        self.cursor = LoopCursor(len(bundle.loop))
        self.outputs: tuple[Output, ...] = ()
        "each gets every frame; the session adds them, and closes those that are taken away"
        self.starved_pictures = 0
        self.slipped_s = 0.0
        self.played = Played()
        self._bundle = bundle
        self._clock = clock
        self._number = 0
        self._spoken_number = -HELD_PICTURES - 1
        self._start_s: float | None = None
        self._fading: DrawnFrame | None = None
        self._flushing = False

    @property
    def number(self) -> int:
        """Number of the next frame: how many were released so far."""
        return self._number

    def due_s(self, pictures_ahead: int) -> float:
        """Clock time at which the picture `pictures_ahead` places from now will be released."""
        start_s = self._clock.now_s() if self._start_s is None else self._start_s
        return start_s + (self._number + pictures_ahead) / FPS

    def swap_bundle(self, bundle: AvatarBundle) -> None:
        """Show another avatar from the next picture on."""
        self._bundle = bundle
        self.cursor = LoopCursor(len(bundle.loop))

    def interrupt(self) -> None:
        """Silence within 20 ms of sound: the next queued frame of a voice that sounds fades out, the rest is forgotten.

        Frames of turns that the ledger calls interrupted may still come: a turn's parts take a moment to notice. They
        are not shown either.
        """
        queued = self.spoken.clear()
        if queued and queued[0].turn == self.played.turn:
            self._fading = _fade_out(queued[0])
        # Also when nothing is queued here, as between sentences or at the end: a slow viewer's sound may wait there.
        self._flushing = self._number - self._spoken_number <= HELD_PICTURES
        self.cursor.release()

    async def run(
        self, on_release: Callable[[MediaFrame], None], on_failure: Callable[[Output], None] = lambda _output: None
    ) -> None:
        """Release frames for ever.

        on_release: called with each at its moment, before it is sent. on_failure: called with an output that raised an
        error; it gets no more frames, and is the caller's to close.
        """
        self._start_s = self._clock.now_s() - self._number / FPS
        while True:
            due_s = self._start_s + self._number / FPS
            await self._clock.sleep_until(due_s)
            late_s = self._clock.now_s() - due_s
            if late_s > CATCH_UP_S:
                self._start_s += late_s
                self.slipped_s += late_s
            frame = self.release()
            on_release(frame)
            for output in self._send(frame):
                on_failure(output)

    def release(self) -> MediaFrame:
        """The frame that is due now."""
        drawn = self._next_drawn()
        frame = self._idle() if drawn is None else self._spoken(drawn)
        self._number += 1
        return frame

    def _send(self, frame: MediaFrame) -> list[Output]:
        """Give all outputs the frame. Returns those that failed, which are outputs no more."""
        failed: list[Output] = []
        for output in self.outputs:
            try:
                if self._flushing:
                    output.flush()
                output.send(frame)
            except Exception:  # whatever its library raises costs a viewer the pictures, no session its clock
                logger.exception("the output %s failed and is given up", output.name)
                failed.append(output)
        self._flushing = self._flushing and not self.outputs
        self.outputs = tuple(output for output in self.outputs if output not in failed)
        return failed

    def _next_drawn(self) -> DrawnFrame | None:
        fading, self._fading = self._fading, None
        if fading is not None:
            return fading
        while (drawn := self.spoken.receive_nowait()) is not None:
            if self.ledger.is_open(drawn.turn):
                return drawn
        return None

    def _idle(self) -> MediaFrame:
        speaking_turn = self.ledger.speaking_turn
        if not speaking_turn:
            self.cursor.release()
        elif self.played.turn == speaking_turn:  # its voice has begun, and what follows is late
            self.starved_pictures += 1
        index = self.cursor.show_idle()
        return MediaFrame(LoopPosition(self._bundle, index), SILENCE, self._number, loop_index=index)

    def _spoken(self, drawn: DrawnFrame) -> MediaFrame:
        self.cursor.show_spoken(drawn.loop_index)
        self.played = Played(drawn.turn, drawn.sentence, drawn.played_share)
        self._spoken_number = self._number
        events: tuple[SubtitleEvent, ...] = ()
        if drawn.subtitle is not None:
            start_s = self._number / FPS
            end_s = start_s + drawn.subtitle.duration_s
            events = (SubtitleEvent(drawn.turn, drawn.subtitle.text, start_s, end_s, drawn.subtitle.spoken),)
        return MediaFrame(
            drawn.picture,
            drawn.audio,
            self._number,
            speaking=True,
            turn=drawn.turn,
            loop_index=drawn.loop_index,
            events=events,
        )


def _fade_out(frame: DrawnFrame) -> DrawnFrame:
    audio = np.zeros_like(frame.audio)
    audio[:FADE_SAMPLES] = frame.audio[:FADE_SAMPLES] * np.linspace(1.0, 0.0, FADE_SAMPLES, dtype=np.float32)
    return replace(frame, audio=audio, subtitle=None)
