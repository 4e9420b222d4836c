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
"""400 ms. Lip-sync waits while this much is drawn ahead; nothing else slows a turn down."""
CATCH_UP_S = 0.2
"""If the clock is later than this, it shifts the schedule instead of releasing a burst that no viewer could use."""
HELD_PICTURES = 50
"""Most frames an output may hold: 2 s of sound for a viewer who reads nothing.

So outputs hold no speech any more once this many frames have been released since the last spoken one.
"""
FADE_SAMPLES = PLAYOUT_RATE_HZ // 50  # 20 ms
DUCKED = 0.25
"""Volume under a viewer's voice. -12 dB is loud enough to follow, and quiet enough to be spoken over."""
SOUND_LINGERS_S = 0.3
"""How long sound may still be heard after playback stops: room echo, gaps between words, buffers beyond our control."""
LEAD_PICTURES = 3
"""Held speech resumes at least 100 ms before the cut, so that no sound is lost."""
SILENCE: FloatArray = np.zeros(SAMPLES_PER_PICTURE, np.float32)
SILENCE.setflags(write=False)


@dataclass(slots=True)
class _Hold:
    """Speech is held. Frames released before number `reached_number` have reached the viewer."""

    reached_number: int
    resumed: bool = False
    "True once speech is to go on: it does as soon as the head is back in its place."


@dataclass(slots=True)
class Volume:
    """A volume without jumps: a change is spread over the first 20 ms of the next sound."""

    now: float = 1.0
    wanted: float = 1.0

    def duck(self) -> None:
        """Speak more quietly from the next frame on, until restore(), resume() or interrupt(). Idempotent."""
        self.wanted = DUCKED

    def restore(self) -> None:
        """Speak at the voice's own volume again. Idempotent."""
        self.wanted = 1.0

    def applied(self, audio: FloatArray) -> FloatArray:
        """Return the sound at the wanted volume. audio: (n,) samples, at least 20 ms."""
        if self.now == self.wanted == 1.0:
            return audio
        curve = np.full(len(audio), self.wanted, np.float32)
        curve[:FADE_SAMPLES] = np.linspace(self.now, self.wanted, FADE_SAMPLES, dtype=np.float32)
        self.now = self.wanted
        return audio * curve


class Playout:
    """Releases one MediaFrame every 40 ms, from run() until it is cancelled.

    It asks the ledger which turns are open, and shows frames of those only. The session keeps the ledger up to date,
    and tells it about each hold(), resume() and interrupt() of the playout.
    """

    def __init__(self, loop: LoopPictures, clock: Clock, gestures: Gestures | None = None, seed: int = 0) -> None:
        """seed: fixes the order in which the avatar shows its idle clips."""
        self.ledger = TurnLedger()
        self.spoken: Channel[DrawnFrame] = Channel(bound=QUEUED_PICTURES)
        self.outputs: tuple[Output, ...] = ()
        "Each output gets every frame. The session adds outputs, and closes those that are removed."
        self.starved_pictures = 0
        self.repeated_pictures = 0
        "Pictures of speech that were left out because drawing was too slow; the one before was shown again."
        self.unspoken_pictures = 0
        "Pictures of speech shown with a resting mouth, because a gesture began and they were not redrawn in time."
        self.slipped_s = 0.0
        self.viewer_delay_s = 0.0
        "Estimated delay between the release of a frame and its playback at the viewer, in seconds."
        self.keeps_pictures = False
        """Whether the pictures that were released last are kept for resume(). They take megabytes. Without them, speech
        that is released again is seen with a resting mouth."""
        self.volume = Volume()
        "Volume of the speech that is released from now on."
        self._shown = Showing(loop, gestures, seed)
        self._frames = SpokenFrames(self.spoken, self.ledger)
        self._clock = clock
        self._number = 0
        self._spoken_number = -HELD_PICTURES - 1
        self._sounded_number = self._spoken_number
        self._sounded_pictures = 0
        self.start_s: float | None = None
        "Clock time at which the first frame was due; None if frames are not released by the clock, but as they come."
        self._fading: DrawnFrame | None = None
        self._questions: list[str] = []  # asked since the last frame; bounded, because a session limits questions
        self._flushing = False
        self._hold: _Hold | None = None
        self._redrawing = Redrawing(self._frames.waiting, self._shown.place_of, self.due_s, clock.now_s)

    @property
    def cursor(self) -> LoopCursor:
        """Position in the loop and its gestures, with the places that are reserved for speech."""
        return self._shown.cursor

    @property
    def number(self) -> int:
        """Number of the next frame, which is the number of frames released so far."""
        return self._number

    def due_s(self, pictures_ahead: int) -> float:
        """Return the clock time at which the picture `pictures_ahead` places from now is released."""
        start_s = self._clock.now_s() if self.start_s is None else self.start_s
        return start_s + (self._number + pictures_ahead) / FPS

    def swap_loop(self, loop: LoopPictures, gestures: Gestures | None = None) -> None:
        """Show another avatar from the next picture on."""
        self._shown.swap(loop, gestures)

    def begin_gesture(self, run: GestureRun, *, soon: bool = False) -> None:
        """Show a gesture, from the next picture that is not drawn yet. It replaces a gesture that is running.

        soon: begin a few pictures from now, and draw the pictures that wait anew.
        """
        self.cursor.begin(run, soon=soon)
        self._redrawing.look()

    def end_gesture(self) -> None:
        """Return to the loop within the next few pictures. Pictures that wait are drawn anew. Idempotent."""
        self.cursor.end()
        self._redrawing.look()

    async def take(self, drawn: DrawnFrame) -> None:
        """Queue the next spoken frame. Waits for room."""
        await self.spoken.send(drawn)
        self._redrawing.look()  # a gesture may have begun while it was drawn

    @property
    def reached(self) -> Played:
        """How much of the speech has been played at the viewer."""
        return self._frames.played_before(self._reached_number)

    @property
    def holds(self) -> bool:
        """Whether speech is held, and has not been told to go on."""
        return self._hold is not None and not self._hold.resumed

    @property
    def sounds(self) -> bool:
        """Whether a voice may be sounding at the viewer now."""
        since_s = (self._number - self._sounded_number) / FPS
        return self._hold is None and since_s <= self.viewer_delay_s + SOUND_LINGERS_S

    @property
    def sounded_s(self) -> float:
        """How long voices have sounded in this session, in seconds."""
        return self._sounded_pictures / FPS

    def hold(self) -> None:
        """Fall silent within 20 ms of sound, and keep what is queued. Idle pictures follow. Idempotent.

        Frames that are drawn meanwhile are queued. Once the queue is full, lip-sync waits.
        """
        if self.holds:
            return
        if self._hold is None:
            self._fade_out(self._frames.first)
            self._flush()
        self._shown.hush()
        # Where the viewer's sound stopped is not known yet. It is estimated from the delay until note_reached() is
        # called.
        self._hold = _Hold(self._reached_number)
        first = self._frames.first_from(self._hold.reached_number - LEAD_PICTURES)
        self.cursor.sway(None if first is None else self._shown.place_of(first))

    def note_reached(self, media_s: float) -> None:
        """Note the second of the media clock that the viewer played last. Has an effect only while speech is held."""
        if self._hold is not None and not self._hold.resumed:
            self._hold.reached_number = int(min(max(0.0, media_s * FPS), self._number))

    def resume(self) -> list[int]:
        """Resume held speech from shortly before the place where it was cut for the viewer.

        It resumes once the head is back in its place, which takes up to half a second. Returns the turn of each frame
        that is released a second time.
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
        """Fall silent within 20 ms of sound and drop all queued speech. If a voice sounds, its next frame fades out.

        The parts of an interrupted turn take a moment to notice, so more of its frames may come. They are not shown:
        the ledger says that their turn has ended.
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
        """Pass a question that the viewer just asked to the outputs, with the next frame."""
        self._questions.append(text)

    async def run(
        self, on_release: Callable[[MediaFrame], None], on_failure: Callable[[Output], None] = lambda _output: None
    ) -> None:
        """Release frames until cancelled.

        on_release: called with each frame as it is due, before it is sent.
        on_failure: called with an output that raised an error. It gets no more frames, and the caller closes it.
        """
        self.start_s = self._clock.now_s() - self._number / FPS
        try:
            while True:
                # Due times are counted from the start, not from the previous frame. So a late wake-up shortens the next
                # wait, and the clock does not drift from the sound that was sent.
                due_s = self.start_s + self._number / FPS
                await self._clock.sleep_until(due_s)
                late_s = self._clock.now_s() - due_s
                if late_s > CATCH_UP_S:
                    self.start_s += late_s
                    self.slipped_s += late_s
                frame = self.release()
                on_release(frame)
                for output in self._send(frame):
                    on_failure(output)
        finally:
            await self._redrawing.aclose()

    def release(self) -> MediaFrame:
        """Return the frame that is due now."""
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
        """Give the frame to all outputs. Removes the outputs that failed, and returns them."""
        failed: list[Output] = []
        for output in self.outputs:
            try:
                if self._flushing:
                    output.flush()
                output.send(frame)
            except Exception:  # a fault of one output must not stop the clock of the session
                logger.exception("the output %s failed and is given up", output.name)
                failed.append(output)
        self._flushing = self._flushing and not self.outputs
        self.outputs = tuple(output for output in self.outputs if output not in failed)
        return failed

    @property
    def _reached_number(self) -> int:
        """Number of the first frame that has not reached the viewer, as far as is known."""
        if self._hold is not None:
            return self._hold.reached_number
        return self._number - round(self.viewer_delay_s * FPS)

    def _placed(self, drawn: DrawnFrame) -> DrawnFrame:
        """Return the frame for the place where it is shown now. If it was not redrawn in time, its mouth is at rest."""
        place, anew = self._shown.place_of(drawn), drawn.anew
        if place == drawn.loop_index or (at_rest := self._shown.gesture_picture(place)) is None:
            return drawn
        image = None if anew is None else self._redrawing.picture(anew, place)
        if image is None:
            self.unspoken_pictures += 1
        return replace(drawn, picture=at_rest if image is None else image, loop_index=place)

    def _fade_out(self, drawn: DrawnFrame | None) -> None:
        """Show this frame next, fading to silence, if its voice is sounding. The frame also stays in the queue."""
        if drawn is not None and drawn.turn == self._frames.played.turn:
            self.volume.wanted = 0.0
            drawn = self._placed(drawn)
            self._fading = replace(drawn, audio=self.volume.applied(drawn.audio))

    def _flush(self) -> None:
        # Flush even if nothing is queued here, as between sentences or at the end: an output may hold a slow viewer's
        # sound.
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
            pass  # the frames that wait are not late, and keep their places
        elif not speaking_turn:
            self.cursor.release()
        elif self._frames.played.turn == speaking_turn:  # the turn's voice has begun, and its next frame is late
            self.starved_pictures += 1
        index, picture = self._shown.idle(nothing_happens=not self.ledger.has_open and self._hold is None)
        return MediaFrame(picture, SILENCE, self._number, loop_index=index)

    def _faded(self, drawn: DrawnFrame) -> MediaFrame:
        """Make the fading frame. It counts for no turn, because its turn has ended or will release it again."""
        self.cursor.show_spoken(drawn.loop_index)
        self._spoken_number = self._number
        return MediaFrame(drawn.picture, drawn.audio, self._number, speaking=True, loop_index=drawn.loop_index)

    def _spoken(self, drawn: DrawnFrame) -> MediaFrame:
        self.cursor.show_spoken(drawn.loop_index)
        self._frames.released(drawn, self._number, drawn.picture if self.keeps_pictures else self._shown.at_rest(drawn))
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
