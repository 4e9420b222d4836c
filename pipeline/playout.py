"""Playout: the only clock of a session. Pairs each picture with exactly its audio and releases both together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from models.arrays import FloatArray
from pipeline.channel import Channel
from pipeline.clock import Clock
from pipeline.gestures import Gestures
from pipeline.idle import GestureRun, LoopCursor
from pipeline.interfaces import Output
from pipeline.ledger import TurnLedger
from pipeline.redrawing import DrawnFrame, Redrawing
from pipeline.showing import Showing
from pipeline.spoken_frames import Played, SpokenFrames
from pipeline.types import FPS, PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE, LoopPictures, MediaFrame, SubtitleEvent

__all__ = ["QUEUED_PICTURES", "Playout", "Volume"]

logger = logging.getLogger(__name__)

QUEUED_PICTURES = 10
"""400 ms: the one throttle of a turn. Lip-sync waits when that much is drawn ahead."""
CATCH_UP_S = 0.2
"""A clock that is later than this slips instead of releasing a burst that no viewer could use."""
HELD_PICTURES = 50
"""An output may hold so many frames: 2 s of sound for a viewer who takes none. What was spoken before has left."""
FADE_SAMPLES = PLAYOUT_RATE_HZ // 50  # 20 ms
DUCKED = 0.25
"""-12 dB: loud enough to follow, quiet enough to be spoken over."""
SOUND_LINGERS_S = 0.3
"""In the room, in pauses between words, and in buffers that nobody knows of."""
LEAD_PICTURES = 3
"""Held speech goes on at least 100 ms before the place where it was cut, so that no sound is lost."""
SILENCE: FloatArray = np.zeros(SAMPLES_PER_PICTURE, np.float32)
SILENCE.setflags(write=False)


@dataclass(slots=True)
class _Hold:
    """Speech is held. What was released before frame `reached_number` has reached the viewer."""

    reached_number: int
    resumed: bool = False
    "it goes on as soon as the head is back at its place"


@dataclass(slots=True)
class Volume:
    """A volume that never jumps: it changes within the first 20 ms of the next sound."""

    now: float = 1.0
    wanted: float = 1.0

    def duck(self) -> None:
        """Speak more quietly from the next frame on, until restore(), resume() or interrupt(). Idempotent."""
        self.wanted = DUCKED

    def restore(self) -> None:
        """Speak as loud as the voice is. Idempotent."""
        self.wanted = 1.0

    def applied(self, audio: FloatArray) -> FloatArray:
        """audio: (n,) samples, of at least 20 ms."""
        if self.now == self.wanted == 1.0:
            return audio
        curve = np.full(len(audio), self.wanted, np.float32)
        curve[:FADE_SAMPLES] = np.linspace(self.now, self.wanted, FADE_SAMPLES, dtype=np.float32)
        self.now = self.wanted
        return audio * curve


class Playout:
    """Releases one MediaFrame every 40 ms from run() until cancelled.

    It asks the ledger which turns have not ended; frames of others are not shown. The session keeps the ledger, and
    reports to it what it has the playout do.
    """

    def __init__(self, loop: LoopPictures, clock: Clock, gestures: Gestures | None = None, seed: int = 0) -> None:
        """seed: of the order in which the avatar shows its idle clips."""
        self.ledger = TurnLedger()
        self.spoken: Channel[DrawnFrame] = Channel(bound=QUEUED_PICTURES)
        self.outputs: tuple[Output, ...] = ()
        "each gets every frame; the session adds them, and closes those that are taken away"
        self.starved_pictures = 0
        self.unspoken_pictures = 0
        "of speech, that were shown with the mouth at rest: a gesture began, and they were not drawn anew in time"
        self.slipped_s = 0.0
        self.viewer_delay_s = 0.0
        "how long it takes until what is released now is played at the viewer, as far as that is known"
        self.volume = Volume()
        "of what is spoken from now on"
        self._shown = Showing(loop, gestures, seed)
        self._frames = SpokenFrames(self.spoken, self.ledger)
        self._clock = clock
        self._number = 0
        self._spoken_number = -HELD_PICTURES - 1
        self._sounded_number = self._spoken_number
        self._sounded_pictures = 0
        self._start_s: float | None = None
        self._fading: DrawnFrame | None = None
        self._questions: list[str] = []  # since the last frame; a session counts how many may be asked
        self._flushing = False
        self._hold: _Hold | None = None
        self._redrawing = Redrawing(self._frames.waiting, self._shown.place_of, self.due_s)

    @property
    def cursor(self) -> LoopCursor:
        """Where the loop and its gestures are, and which places are reserved."""
        return self._shown.cursor

    @property
    def number(self) -> int:
        """Number of the next frame: how many were released so far."""
        return self._number

    def due_s(self, pictures_ahead: int) -> float:
        """Clock time at which the picture `pictures_ahead` places from now will be released."""
        start_s = self._clock.now_s() if self._start_s is None else self._start_s
        return start_s + (self._number + pictures_ahead) / FPS

    def swap_loop(self, loop: LoopPictures, gestures: Gestures | None = None) -> None:
        """Show another avatar from the next picture on."""
        self._shown.swap(loop, gestures)

    def begin_gesture(self, run: GestureRun, *, soon: bool = False) -> None:
        """Show a gesture, from the next picture on that is not drawn yet. It takes the place of one that is shown.

        soon: also in the place of pictures that wait, but for the next few. They are drawn anew.
        """
        self.cursor.begin(run, soon=soon)
        self._redrawing.look()

    def end_gesture(self) -> None:
        """Go back to the loop within the next few pictures. Those that wait are drawn anew. Idempotent."""
        self.cursor.end()
        self._redrawing.look()

    async def take(self, drawn: DrawnFrame) -> None:
        """The next spoken frame; waits for room."""
        await self.spoken.send(drawn)
        self._redrawing.look()  # a gesture may have begun while it was drawn

    @property
    def reached(self) -> Played:
        """How far the speech has come that was played at the viewer."""
        return self._frames.played_before(self._reached_number)

    @property
    def holds(self) -> bool:
        """Whether speech is held, and nobody has said yet that it is to go on."""
        return self._hold is not None and not self._hold.resumed

    @property
    def sounds(self) -> bool:
        """Whether a voice is being played at the viewer now, or may be."""
        since_s = (self._number - self._sounded_number) / FPS
        return self._hold is None and since_s <= self.viewer_delay_s + SOUND_LINGERS_S

    @property
    def sounded_s(self) -> float:
        """How long voices have sounded in this session."""
        return self._sounded_pictures / FPS

    def hold(self) -> None:
        """Silence within 20 ms of sound, but nothing is forgotten. Idle pictures follow. Idempotent.

        What is drawn meanwhile waits, and lip-sync waits with it once the queue is full.
        """
        if self.holds:
            return
        if self._hold is None:
            self._fade_out(self._frames.first)
            self._flush()
        self._shown.hush()
        # Where the viewer's own sound stops is not known here: it is guessed by the delay until note_reached() tells.
        self._hold = _Hold(self._reached_number)
        first = self._frames.first_from(self._hold.reached_number - LEAD_PICTURES)
        self.cursor.sway(None if first is None else self._shown.place_of(first))

    def note_reached(self, media_s: float) -> None:
        """While speech is held: the viewer says which second of the media clock was played last there."""
        if self._hold is not None and not self._hold.resumed:
            self._hold.reached_number = min(max(0, int(media_s * FPS)), self._number)

    def resume(self) -> list[int]:
        """Let held speech go on, from shortly before the place where it was cut for the viewer.

        It does so once the head is back there, within half a second. Returns the turns of the frames that are released
        once more: one for each frame.
        """
        if self._hold is None or self._hold.resumed:
            return []
        again = self._frames.rewind(self._hold.reached_number - LEAD_PICTURES)
        first = self._frames.first
        self.cursor.sway(None if first is None else self._shown.place_of(first))
        self.cursor.come_back()
        self._hold.resumed = True
        self.volume = Volume(now=0.0)
        return again

    def interrupt(self) -> None:
        """Silence within 20 ms of sound: the next queued frame of a voice that sounds fades out, the rest is forgotten.

        Frames of turns that the ledger calls interrupted may still come: a turn's parts take a moment to notice. They
        are not shown either.
        """
        if self._hold is None:
            self._fade_out(self._frames.first)
        self._shown.hush()
        self._frames.clear()
        self._redrawing.clear()
        self._hold = None
        self.volume = Volume()
        self._flush()
        self.cursor.release()

    def note_question(self, text: str) -> None:
        """The viewer asked this now; the next frame says so to the outputs."""
        self._questions.append(text)

    async def run(
        self, on_release: Callable[[MediaFrame], None], on_failure: Callable[[Output], None] = lambda _output: None
    ) -> None:
        """Release frames for ever.

        on_release: called with each at its moment, before it is sent. on_failure: called with an output that raised an
        error; it gets no more frames, and is the caller's to close.
        """
        self._start_s = self._clock.now_s() - self._number / FPS
        try:
            while True:
                # Counted from the beginning and not from the frame before, so that what one wait is late the next one
                # makes up: the clock does not drift against the sound that has been sent.
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
        finally:
            await self._redrawing.aclose()

    def release(self) -> MediaFrame:
        """The frame that is due now."""
        fading, self._fading = self._fading, None
        if fading is not None:
            frame = self._faded(fading)
        elif (drawn := self._next_drawn()) is not None:
            frame = self._spoken(drawn)
        else:
            frame = self._idle()
        silent, frame = frame, self._shown.joined(frame)
        if frame.audio is not silent.audio:  # a gesture is heard
            self._sounded_number = self._number
        self._number += 1
        if self._questions:
            frame = replace(frame, questions=tuple(self._questions))
            self._questions.clear()
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

    @property
    def _reached_number(self) -> int:
        """Frames before this number have reached the viewer."""
        if self._hold is not None:
            return self._hold.reached_number
        return self._number - round(self.viewer_delay_s * FPS)

    def _placed(self, drawn: DrawnFrame) -> DrawnFrame:
        """The frame as it is to be shown now; where it has not been drawn anew in time, with the mouth at rest."""
        place, anew = self._shown.place_of(drawn), drawn.anew
        if place == drawn.loop_index or (at_rest := self._shown.gesture_picture(place)) is None:
            return drawn
        image = None if anew is None else self._redrawing.picture(anew, place)
        if image is None:
            self.unspoken_pictures += 1
        return replace(drawn, picture=at_rest if image is None else image, loop_index=place)

    def _fade_out(self, drawn: DrawnFrame | None) -> None:
        """Show this frame next, fading to silence, if its voice sounds. It is left where it waits."""
        if drawn is not None and drawn.turn == self._frames.played.turn:
            self.volume.wanted = 0.0
            drawn = self._placed(drawn)
            self._fading = replace(drawn, audio=self.volume.applied(drawn.audio))

    def _flush(self) -> None:
        # Also when nothing is queued here, as between sentences or at the end: a slow viewer's sound may wait there.
        self._flushing = self._number - self._spoken_number <= HELD_PICTURES

    def _next_drawn(self) -> DrawnFrame | None:
        if self._hold is not None:
            if not (self._hold.resumed and self.cursor.is_back):
                return None
            self._hold = None
            self.cursor.go_on()
        while (drawn := self._frames.take()) is not None:
            placed = self._placed(drawn)
            self._redrawing.forget(drawn)
            if self.ledger.is_open(drawn.turn):
                return placed
        return None

    def _idle(self) -> MediaFrame:
        speaking_turn = self.ledger.speaking_turn
        if not self.ledger.has_open:
            self._frames.forget_released()
        if self._hold is not None:
            pass  # what waits is not late, and its places are kept
        elif not speaking_turn:
            self.cursor.release()
        elif self._frames.played.turn == speaking_turn:  # its voice has begun, and what follows is late
            self.starved_pictures += 1
        index, picture = self._shown.idle(nothing_happens=not self.ledger.has_open and self._hold is None)
        return MediaFrame(picture, SILENCE, self._number, loop_index=index)

    def _faded(self, drawn: DrawnFrame) -> MediaFrame:
        """It counts for no turn: its turn has ended, or will release it again."""
        self.cursor.show_spoken(drawn.loop_index)
        self._spoken_number = self._number
        return MediaFrame(drawn.picture, drawn.audio, self._number, speaking=True, loop_index=drawn.loop_index)

    def _spoken(self, drawn: DrawnFrame) -> MediaFrame:
        self.cursor.show_spoken(drawn.loop_index)
        self._frames.released(drawn, self._number)
        if drawn.audio.any():
            self._sounded_pictures += 1
            self._sounded_number = self._number
        self._spoken_number = self._number
        events: tuple[SubtitleEvent, ...] = ()
        if drawn.subtitle is not None:
            start_s = self._number / FPS
            end_s = start_s + drawn.subtitle.duration_s
            events = (SubtitleEvent(drawn.turn, drawn.subtitle.text, start_s, end_s, drawn.subtitle.spoken),)
        return MediaFrame(
            drawn.picture,
            self.volume.applied(drawn.audio),
            self._number,
            speaking=True,
            turn=drawn.turn,
            loop_index=drawn.loop_index,
            events=events,
        )
