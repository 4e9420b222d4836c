import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline.clock import ManualClock
from pipeline.interfaces import Output
from pipeline.playout import CATCH_UP_S, Playout
from pipeline.redrawing import DrawnFrame, Subtitle
from pipeline.transports.memory import MemoryTransport
from pipeline.types import (
    SAMPLES_PER_PICTURE,
    LoopPosition,
    MediaFrame,
    SessionEvent,
    SubtitleEvent,
    TurnEvent,
    TurnState,
)


class Stage:
    """A playout on a manual clock, what it told and what it sent."""

    def __init__(self, bundle: AvatarBundle) -> None:
        self.clock = ManualClock()
        self.told: list[SessionEvent] = []
        self._turns = 0
        self.failed: list[Output] = []
        self.playout = Playout(bundle, self.clock)
        self.ledger = self.playout.ledger
        self.transport = MemoryTransport()
        self.playout.outputs = (self.transport,)
        self.task = asyncio.create_task(
            self.playout.run(lambda frame: self.told.extend(self.ledger.released(frame)), self.failed.append)
        )

    @property
    def frames(self) -> list[MediaFrame]:
        return list(self.transport.frames)

    def begin(self, turn: int) -> None:
        while self._turns < turn:
            self._turns, _ = self.ledger.queue()
        self.ledger.begun(turn)

    def end(self, turn: int, frames: int) -> None:
        self.told.extend(self.ledger.handed_over(turn, frames))

    def interrupt(self) -> None:
        self.ledger.interrupted()
        self.playout.interrupt()

    def spoken(self, sentence: int = 0, turn: int = 1, subtitle: Subtitle | None = None) -> DrawnFrame:
        if turn > self._turns:
            self.begin(turn)
        return DrawnFrame(
            picture=np.zeros((64, 64, 3), np.uint8),
            audio=np.full(SAMPLES_PER_PICTURE, 0.5, np.float32),
            turn=turn,
            loop_index=self.playout.cursor.reserve(),
            sentence=sentence,
            played_share=0.5,
            subtitle=subtitle,
        )


@pytest.fixture
async def stage(small_bundle: AvatarBundle) -> AsyncIterator[Stage]:
    stage = Stage(small_bundle)
    yield stage
    stage.task.cancel()
    await asyncio.gather(stage.task, return_exceptions=True)


async def test_one_frame_is_released_every_40_ms(stage: Stage) -> None:
    """Idle or not, 25 frames a second leave, numbered from 0, each with exactly its audio."""
    await stage.clock.advance(0.999)
    assert [frame.number for frame in stage.frames] == list(range(25))
    assert all(len(frame.audio) == SAMPLES_PER_PICTURE for frame in stage.frames)


async def test_idle_frames_are_places_of_the_loop_and_silence(stage: Stage) -> None:
    """While nobody speaks no pixels are touched: a frame is a LoopPosition, walking the loop."""
    await stage.clock.advance(0.3)
    places = [frame.picture.index for frame in stage.frames if isinstance(frame.picture, LoopPosition)]
    assert places == [0, 1, 2, 3, 4, 5, 0, 1]
    assert not any(frame.audio.any() or frame.speaking for frame in stage.frames)


async def test_spoken_frames_are_released_in_order_and_idling_goes_on_after_them(stage: Stage) -> None:
    """Queued frames replace idle ones at their time, and the loop is walked on without a jump."""
    await stage.clock.advance(0.05)
    for _ in range(3):
        await stage.playout.spoken.send(stage.spoken())
    stage.end(1, 3)
    await stage.clock.advance(0.2)
    assert [frame.speaking for frame in stage.frames] == [False, False, True, True, True, False, False]
    assert [frame.loop_index for frame in stage.frames] == [0, 1, 2, 3, 4, 5, 0]


async def test_a_turn_is_done_when_its_last_frame_is_released(stage: Stage) -> None:
    """A turn is told to be DONE not before the viewer has been sent all of it."""
    for _ in range(3):
        await stage.playout.spoken.send(stage.spoken())
    stage.end(1, 3)
    await stage.clock.advance(0.09)
    assert TurnEvent(1, TurnState.DONE) not in stage.told
    await stage.clock.advance(0.04)
    assert stage.told == [TurnEvent(1, TurnState.SPEAKING), TurnEvent(1, TurnState.DONE)]


async def test_a_turn_that_ends_after_its_last_frame_is_done_at_once(stage: Stage) -> None:
    """A turn without frames, or whose frames are all out, is DONE when it ends."""
    stage.begin(1)
    stage.end(1, 0)
    await stage.playout.spoken.send(stage.spoken(turn=2))
    await stage.clock.advance(0.05)
    stage.end(2, 1)
    assert stage.told == [TurnEvent(1, TurnState.DONE), TurnEvent(2, TurnState.SPEAKING), TurnEvent(2, TurnState.DONE)]


async def test_a_subtitle_is_told_with_its_time_on_the_media_clock(stage: Stage) -> None:
    """A sentence's subtitle begins with its first frame."""
    await stage.clock.advance(0.39)
    await stage.playout.spoken.send(stage.spoken(subtitle=Subtitle("Hello.", 1.5)))
    await stage.clock.advance(0.04)
    assert stage.told == [TurnEvent(1, TurnState.SPEAKING), SubtitleEvent(1, "Hello.", 0.4, 1.9)]


async def test_an_interrupt_fades_out_within_20_ms_and_forgets_the_rest(stage: Stage) -> None:
    """After interrupt() one frame fades to silence; what was queued behind it is never sent."""
    for _ in range(5):
        await stage.playout.spoken.send(stage.spoken())
    await stage.clock.advance(0.045)
    stage.interrupt()
    await stage.clock.advance(0.2)
    audio = np.concatenate([frame.audio for frame in stage.frames])
    loud = np.flatnonzero(audio)
    assert 2 * SAMPLES_PER_PICTURE < loud[-1] < 2 * SAMPLES_PER_PICTURE + 960
    assert np.all(np.diff(audio[2 * SAMPLES_PER_PICTURE : 2 * SAMPLES_PER_PICTURE + 960]) <= 0)
    assert [frame.speaking for frame in stage.frames] == [False, True, True, False, False, False, False]


async def test_starving_in_mid_turn_holds_the_picture_and_is_counted(stage: Stage) -> None:
    """Speech that is late costs idle pictures and silence, never a stall of the clock."""
    stage.begin(1)
    await stage.playout.spoken.send(stage.spoken())
    late = stage.spoken()
    await stage.clock.advance(0.13)
    await stage.playout.spoken.send(late)
    await stage.clock.advance(0.04)
    assert [frame.number for frame in stage.frames] == [0, 1, 2, 3, 4]
    assert [frame.loop_index for frame in stage.frames] == [0, 1, 1, 1, 2]
    assert stage.playout.starved_pictures == 2


async def test_a_clock_that_is_far_behind_slips_instead_of_bursting(small_bundle: AvatarBundle) -> None:
    """After a long stall frames go on at 25 a second; a short one is caught up."""

    class Jumping(ManualClock):
        async def sleep_until(self, when_s: float) -> None:
            await super().sleep_until(when_s)
            self._now_s += self.stall_s
            self.stall_s = 0.0

        stall_s = 0.0

    clock = Jumping()
    playout = Playout(small_bundle, clock)
    transport = MemoryTransport()
    playout.outputs = (transport,)
    task = asyncio.create_task(playout.run(lambda _frame: None))
    await clock.advance(0.05)
    clock.stall_s = CATCH_UP_S + 0.8
    await clock.advance(2.0)
    task.cancel()
    assert playout.slipped_s == pytest.approx(CATCH_UP_S + 0.8)
    assert len(transport.frames) == 2 + 25


@pytest.mark.parametrize("failure", [ConnectionResetError("gone"), RuntimeError("a fault of its library")])
async def test_a_transport_that_breaks_does_not_stop_the_clock(stage: Stage, failure: Exception) -> None:
    """A viewer whose connection is gone costs its session that one output, not its playout or the others."""

    class Broken(MemoryTransport):
        def send(self, frame: MediaFrame) -> None:
            raise failure

    broken, whole = Broken(), MemoryTransport()
    stage.playout.outputs = (broken, whole)
    await stage.clock.advance(0.2)
    assert stage.playout.outputs == (whole,)
    assert stage.failed == [broken]
    assert [frame.number for frame in whole.frames] == list(range(1, 6))
    assert stage.playout.number == 6


async def test_an_interrupt_reaches_what_the_transport_still_holds(stage: Stage) -> None:
    """Before the fading frame is sent the transport is flushed, once; nothing to silence, nothing to flush."""

    class Slow(MemoryTransport):
        left: list[list[bool]]

        def flush(self) -> None:
            self.left.append([frame.speaking for frame in self.frames])
            self.frames.clear()

    slow = Slow()
    stage.playout.outputs = (slow,)
    slow.left = []
    stage.interrupt()
    await stage.clock.advance(0.05)
    for _ in range(5):
        await stage.playout.spoken.send(stage.spoken())
    await stage.clock.advance(0.04)
    stage.interrupt()
    await stage.clock.advance(0.2)
    (left,) = slow.left
    assert left[-1]
    assert [frame.speaking for frame in slow.frames][:2] == [True, False]


async def test_an_interrupt_in_a_pause_reaches_what_the_transport_still_holds(stage: Stage) -> None:
    """With nothing queued (the end of an answer, or a late sentence) a slow viewer's sound may still wait there."""

    class Slow(MemoryTransport):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    slow = Slow()
    stage.playout.outputs = (slow,)
    await stage.playout.spoken.send(stage.spoken())
    await stage.clock.advance(0.5)
    stage.interrupt()
    await stage.clock.advance(0.1)
    assert slow.flushes == 1
    await stage.clock.advance(3)
    stage.interrupt()
    await stage.clock.advance(0.1)
    assert slow.flushes == 1


async def test_frames_of_an_interrupted_turn_that_come_late_are_not_shown(stage: Stage) -> None:
    """A stage may hand over what it had in its hands; the next turn is not mixed with it."""
    stage.begin(1)
    await stage.playout.spoken.send(stage.spoken(turn=1))
    stage.interrupt()
    await stage.playout.spoken.send(stage.spoken(turn=1))
    stage.end(1, 2)
    stage.begin(2)
    await stage.playout.spoken.send(stage.spoken(turn=2))
    stage.end(2, 1)
    await stage.clock.advance(0.2)
    assert [frame.turn for frame in stage.frames if frame.speaking] == [2]
    assert stage.told == [TurnEvent(2, TurnState.SPEAKING), TurnEvent(2, TurnState.DONE)]
