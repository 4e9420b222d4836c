"""Playout: the only clock of a session. Pairs each picture with exactly its audio and releases both together."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.channel import Channel
from pipeline.clock import Clock
from pipeline.gestures import Gestures, GestureShow
from pipeline.idle import GestureRun, LoopCursor
from pipeline.idle_clips import IdleClips
from pipeline.interfaces import Output
from pipeline.ledger import TurnLedger
from pipeline.redrawing import DrawnFrame, Redrawing, Subtitle
from pipeline.types import (
    FPS,
    PLAYOUT_RATE_HZ,
    SAMPLES_PER_PICTURE,
    FloatArray,
    LoopPictures,
    LoopPosition,
    MediaFrame,
    Picture,
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
DUCKED = 0.25
"""-12 dB: loud enough to follow, quiet enough to be spoken over."""
REMEMBERED_PICTURES = 15
"""600 ms of what was released can be released again: what a viewer's buffers hold, and a little before it."""
SOUND_LINGERS_S = 0.3
"""In the room, in pauses between words, and in buffers that nobody knows of."""
LEAD_PICTURES = 3
"""Held speech goes on at least 100 ms before the place where it was cut, so that no sound is lost."""
SILENCE: FloatArray = np.zeros(SAMPLES_PER_PICTURE, np.float32)
SILENCE.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Played:
    """How far the speech has come that was released."""

    turn: int = 0
    sentence: int = 0
    share: float = 0.0
    "of the sentence, 0..1"


@dataclass(frozen=True, slots=True)
class _Released:
    """A spoken frame that was released a moment ago."""

    drawn: DrawnFrame
    number: int
    before: Played
    "how far the speech had come before it"
    subtitle: Subtitle | None
    "of the sentence that it belongs to"

    def again(self) -> DrawnFrame:
        """The frame, to be released once more as the first of all: with a subtitle for the rest of its sentence."""
        before, drawn = self.before, self.drawn
        if self.subtitle is None or (before.turn, before.sentence) != (drawn.turn, drawn.sentence):
            return drawn
        rest_s = self.subtitle.duration_s * (1 - before.share)
        return replace(drawn, subtitle=replace(self.subtitle, duration_s=rest_s))


@dataclass(slots=True)
class _Hold:
    """Speech is held. What was released before frame `reached_number` has reached the viewer."""

    reached_number: int
    resumed: bool = False
    "it goes on as soon as the head is back at its place"


@dataclass(slots=True)
class _Volume:
    """A volume that never jumps: it changes within the first 20 ms of the next sound."""

    now: float = 1.0
    wanted: float = 1.0

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
        self.cursor = LoopCursor(len(loop.loop))
        self.outputs: tuple[Output, ...] = ()
        "each gets every frame; the session adds them, and closes those that are taken away"
        self.starved_pictures = 0
        self.unspoken_pictures = 0
        "of speech, that were shown with the mouth at rest: a gesture began, and they were not drawn anew in time"
        self.slipped_s = 0.0
        self.viewer_delay_s = 0.0
        "how long it takes until what is released now is played at the viewer, as far as that is known"
        self.played = Played()
        self._loop = loop
        self._gestures = gestures
        self._show = None if gestures is None else GestureShow(gestures)
        self._seed = seed
        self._idle_clips = IdleClips(() if gestures is None else gestures.idle_names, seed)
        self._clock = clock
        self._number = 0
        self._spoken_number = -HELD_PICTURES - 1
        self._sounded_number = self._spoken_number
        self._sounded_pictures = 0
        self._start_s: float | None = None
        self._fading: DrawnFrame | None = None
        self._questions: list[str] = []  # since the last frame; a session counts how many may be asked
        self._flushing = False
        self._volume = _Volume()
        self._hold: _Hold | None = None
        self._again: deque[DrawnFrame] = deque()
        "to be released once more, before what is in `spoken`; never more frames than are remembered"
        self._recent: deque[_Released] = deque(maxlen=REMEMBERED_PICTURES)
        "spoken frames that were released last; kept while a turn is open"
        self._subtitle: Subtitle | None = None
        self._redrawing = Redrawing(self._waiting, self._place_of, self.due_s)

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
        self._loop, self._gestures = loop, gestures
        self._show = None if gestures is None else GestureShow(gestures)
        self._idle_clips = IdleClips(() if gestures is None else gestures.idle_names, self._seed)
        self.cursor = LoopCursor(len(loop.loop))

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
        lost = self._remembered_from(self._reached_number)
        return lost[0].before if lost else self.played

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

    def duck(self) -> None:
        """Speak more quietly from the next frame on, until full_volume(), resume() or interrupt(). Idempotent."""
        self._volume.wanted = DUCKED

    def full_volume(self) -> None:
        """Speak as loud as the voice is. Idempotent."""
        self._volume.wanted = 1.0

    def hold(self) -> None:
        """Silence within 20 ms of sound, but nothing is forgotten. Idle pictures follow. Idempotent.

        What is drawn meanwhile waits, and lip-sync waits with it once the queue is full.
        """
        if self.holds:
            return
        if self._hold is None:
            self._fade_out(self._first_waiting)
            self._flush()
        self._hush_gesture()
        self._hold = _Hold(self._reached_number)
        lost = self._remembered_from(self._hold.reached_number - LEAD_PICTURES)
        first = lost[0].drawn if lost else self._first_waiting
        self.cursor.sway(None if first is None else self._place_of(first))

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
        lost = self._remembered_from(self._hold.reached_number - LEAD_PICTURES)
        for _ in lost:
            self._recent.pop()
        again = [released for released in lost if self.ledger.is_open(released.drawn.turn)]
        if again:
            self.played = again[0].before
            self._again.extendleft(released.drawn for released in reversed(again[1:]))
            self._again.appendleft(again[0].again())
        first = self._first_waiting
        self.cursor.sway(None if first is None else self._place_of(first))
        self.cursor.come_back()
        self._hold.resumed = True
        self._volume = _Volume(now=0.0)
        return [released.drawn.turn for released in again]

    def interrupt(self) -> None:
        """Silence within 20 ms of sound: the next queued frame of a voice that sounds fades out, the rest is forgotten.

        Frames of turns that the ledger calls interrupted may still come: a turn's parts take a moment to notice. They
        are not shown either.
        """
        if self._hold is None:
            self._fade_out(self._first_waiting)
        self._hush_gesture()
        self.spoken.clear()
        self._again.clear()
        self._redrawing.clear()
        self._recent.clear()
        self._hold = None
        self._volume = _Volume()
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
            await self._release_all(on_release, on_failure)
        finally:
            await self._redrawing.aclose()

    async def _release_all(
        self, on_release: Callable[[MediaFrame], None], on_failure: Callable[[Output], None]
    ) -> None:
        assert self._start_s is not None, "run() sets it"
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
        fading, self._fading = self._fading, None
        if fading is not None:
            frame = self._faded(fading)
        elif (drawn := self._next_drawn()) is not None:
            frame = self._spoken(drawn)
        else:
            frame = self._idle()
        if self._show is not None:
            silent, frame = frame, self._show.joined(frame)
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

    @property
    def _first_waiting(self) -> DrawnFrame | None:
        return self._again[0] if self._again else self.spoken.peek()

    def _waiting(self) -> list[DrawnFrame]:
        """Spoken frames, the next one first."""
        return [drawn for drawn in (*self._again, *self.spoken.waiting()) if self.ledger.is_open(drawn.turn)]

    def _remembered_from(self, number: int) -> list[_Released]:
        return [released for released in self._recent if released.number >= number]

    def _hush_gesture(self) -> None:
        if self._show is not None:
            self._show.hush()

    def _place_of(self, drawn: DrawnFrame) -> int:
        """Where it is to be shown now."""
        return drawn.loop_index if drawn.anew is None else self.cursor.place_of(drawn.anew.reserved)

    def _placed(self, drawn: DrawnFrame) -> DrawnFrame:
        """The frame as it is to be shown now; where it has not been drawn anew in time, with the mouth at rest."""
        place, anew = self._place_of(drawn), drawn.anew
        image = None if anew is None else self._redrawing.picture(anew, place)
        if place == drawn.loop_index or self._gestures is None:
            return drawn
        if image is None:
            self.unspoken_pictures += 1
        return replace(drawn, picture=self._gestures.picture(place) if image is None else image, loop_index=place)

    def _fade_out(self, drawn: DrawnFrame | None) -> None:
        """Show this frame next, fading to silence, if its voice sounds. It is left where it waits."""
        if drawn is not None and drawn.turn == self.played.turn:
            self._volume.wanted = 0.0
            drawn = self._placed(drawn)
            self._fading = replace(drawn, audio=self._volume.applied(drawn.audio))

    def _flush(self) -> None:
        # Also when nothing is queued here, as between sentences or at the end: a slow viewer's sound may wait there.
        self._flushing = self._number - self._spoken_number <= HELD_PICTURES

    def _next_drawn(self) -> DrawnFrame | None:
        if self._hold is not None:
            if not (self._hold.resumed and self.cursor.is_back):
                return None
            self._hold = None
            self.cursor.go_on()
        while (drawn := self._again.popleft() if self._again else self.spoken.receive_nowait()) is not None:
            placed = self._placed(drawn)
            self._redrawing.forget(drawn)
            if self.ledger.is_open(drawn.turn):
                return placed
        return None

    def _idle(self) -> MediaFrame:
        speaking_turn = self.ledger.speaking_turn
        if not self.ledger.has_open:
            self._recent.clear()
        if self._hold is not None:
            pass  # what waits is not late, and its places are kept
        elif not speaking_turn:
            self.cursor.release()
        elif self.played.turn == speaking_turn:  # its voice has begun, and what follows is late
            self.starved_pictures += 1
        self._begin_idle_clip()
        index = self.cursor.show_idle()
        picture: Picture = LoopPosition(self._loop, index)
        if self._gestures is not None and index >= len(self._loop.loop):
            picture = self._gestures.picture(index)
        return MediaFrame(picture, SILENCE, self._number, loop_index=index)

    def _begin_idle_clip(self) -> None:
        """An avatar to which nothing happens for a while shows one of its idle clips. Speech ends it."""
        if self.ledger.has_open or self._hold is not None or self.cursor.shown >= len(self._loop.loop):
            self._idle_clips.interrupted()
        elif (name := self._idle_clips.due()) is not None and self._gestures is not None:
            self.cursor.begin(self._gestures.run(name, spoken_over=False))

    def _faded(self, drawn: DrawnFrame) -> MediaFrame:
        """It counts for no turn: its turn has ended, or will release it again."""
        self.cursor.show_spoken(drawn.loop_index)
        self._spoken_number = self._number
        return MediaFrame(drawn.picture, drawn.audio, self._number, speaking=True, loop_index=drawn.loop_index)

    def _spoken(self, drawn: DrawnFrame) -> MediaFrame:
        self.cursor.show_spoken(drawn.loop_index)
        if drawn.subtitle is not None:
            self._subtitle = drawn.subtitle
        self._recent.append(_Released(drawn, self._number, self.played, self._subtitle))
        self.played = Played(drawn.turn, drawn.sentence, drawn.played_share)
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
            self._volume.applied(drawn.audio),
            self._number,
            speaking=True,
            turn=drawn.turn,
            loop_index=drawn.loop_index,
            events=events,
        )
