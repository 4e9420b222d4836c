"""What goes wrong, and what comes at the wrong moment: a session ends every turn once and goes on."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pytest
from session_room import MEASURED, Room, done

from avatars.bundle import AvatarBundle
from avatars.errors import BundleError
from pipeline.backends import Backends
from pipeline.clock import ManualClock
from pipeline.ears.hearing import Hearing, HearingChoice
from pipeline.features.loudness import LoudnessExtractor
from pipeline.lipsync.flash import FlashLipSync
from pipeline.metrics import EngineMetrics
from pipeline.playout import Playout
from pipeline.session import EVENTS_BOUND, Session
from pipeline.transports.memory import MemoryTransport
from pipeline.turn_context import Choice, TurnContext
from pipeline.types import (
    AudioChunk,
    ErrorEvent,
    FacePatch,
    LipSyncRequest,
    MediaFrame,
    Message,
    SessionEvent,
    SubtitleEvent,
    TextEvent,
    TurnEvent,
)

pytestmark = pytest.mark.thorough


class Inline(Executor):
    """Does its work in submit(), so that a test's steps of the event loop are always the same."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class InlineDevice:
    def draw(self, backend: FlashLipSync, requests: Sequence[LipSyncRequest]) -> list[asyncio.Future[FacePatch]]:
        return [asyncio.ensure_future(self._patch(backend, request)) for request in requests]

    async def _patch(self, backend: FlashLipSync, request: LipSyncRequest) -> FacePatch:
        await asyncio.sleep(0)
        return backend.infer([request])[0]


class Streams:
    """How many streams of models are open."""

    opened = closed = 0

    async def close(self) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            self.closed += 1


class TalkingModel:
    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        self._streams.opened += 1
        try:
            for number in range(12):
                await asyncio.sleep(0)
                yield f"This is sentence number {number}. "
        finally:
            await self._streams.close()


class TalkingVoice:
    name = "talking"
    sample_rate = 48_000

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[AudioChunk, None]:
        self._streams.opened += 1
        try:
            for number in range(2):
                await asyncio.sleep(0)
                yield AudioChunk(np.full(4_800, 0.3, np.float32), self.sample_rate, final=number == 1)
        finally:
            await self._streams.close()


class Bench:
    """A session without threads: it does the same at each step of the loop, whenever it is run."""

    def __init__(self, bundle: AvatarBundle) -> None:
        self.clock, self.streams, self.transport = ManualClock(), Streams(), MemoryTransport(keep=1_000)
        self.told: list[SessionEvent] = []
        lipsync: Any = FlashLipSync()
        voice: Any = TalkingVoice(self.streams)
        model: Any = TalkingModel(self.streams)
        device: Any = InlineDevice()
        self.context = TurnContext(
            llm=model,
            tts=voice,
            voice=None,
            extractor=LoudnessExtractor(),
            lipsync=lipsync,
            lipsync_state=lipsync.prepare(bundle),
            bundle=bundle,
            loop=bundle,
            device=device,
            executor=Inline(),
            playout=Playout(bundle, self.clock),
            clock=self.clock,
        )
        hearing = Hearing(Backends({}), {}, HearingChoice())
        self.metrics = EngineMetrics()
        self.session = Session("bench", self.context, Choice(), self.metrics, hearing)

    async def __aenter__(self) -> Self:
        self.session.start()
        await self.session.attach(self.transport)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.session.aclose()

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 25)):
            await self.clock.advance(0.04)
            while (event := self.session.events.receive_nowait()) is not None:
                self.told.append(event)

    @property
    def subtitles(self) -> list[str]:
        return [event.text for event in self.told if isinstance(event, SubtitleEvent)]

    def states(self, turn: int) -> list[str]:
        return [str(event.state) for event in self.told if isinstance(event, TurnEvent) and event.turn == turn]


def in_steps(steps: int, act: Callable[[], object]) -> None:
    """Call act() so many steps of the event loop from now."""
    loop = asyncio.get_running_loop()

    def step(left: int) -> None:
        if left:
            loop.call_soon(step, left - 1)
        else:
            act()

    step(steps)


async def test_whenever_an_interrupt_comes_the_turn_ends_once_and_is_not_heard_again(
    small_bundle: AvatarBundle,
) -> None:
    """At each step of the loop: one fading frame at most, one end, no stream left open, no jump of the head, and the
    next turn is whole.
    """
    for steps in [*range(100), *range(100, 1_600, 50)]:
        async with Bench(small_bundle) as bench:
            sent: list[int] = []

            def interrupt(bench: Bench = bench, sent: list[int] = sent) -> None:
                bench.session.interrupt()
                sent.append(len(bench.transport.frames))

            turn = bench.session.say("go on")
            queued = bench.session.say("and then this", mode="echo")
            in_steps(steps, interrupt)
            await bench.pass_time(2.0)
            frames = list(bench.transport.frames)[sent[0] :]
            assert sum(frame.speaking for frame in frames) <= 1, steps
            assert not any(frame.audio[960:].any() for frame in frames), steps
            for ended in (turn, queued):
                assert bench.states(ended)[-1] == "interrupted", steps
                assert len(set(bench.states(ended))) == len(bench.states(ended)), steps
                last = max(i for i, event in enumerate(bench.told) if getattr(event, "turn", None) == ended)
                assert isinstance(bench.told[last], TurnEvent), steps
            assert bench.streams.opened == bench.streams.closed, steps
            after = bench.session.say("once more", mode="echo")
            await bench.pass_time(1.0)
            assert bench.states(after) == ["queued", "thinking", "speaking", "done"], steps
            places = np.array([frame.loop_index for frame in bench.transport.frames])
            assert set(np.diff(places) % len(small_bundle.loop)) <= {0, 1}, steps


async def test_a_session_that_is_closed_leaves_nothing_running(small_bundle: AvatarBundle) -> None:
    """When aclose() returns its tasks have ended and its streams are closed, at whatever step it was called."""
    before = asyncio.all_tasks()
    for steps in range(0, 400, 7):
        async with Bench(small_bundle) as bench:
            bench.session.say("go on")
            for _ in range(steps // 20):
                await bench.clock.advance(0.04)
            for _ in range(steps % 20):
                await asyncio.sleep(0)
        assert asyncio.all_tasks() == before, steps
        assert bench.streams.opened == bench.streams.closed, steps


async def test_an_interrupt_ends_the_tail_of_one_turn_and_the_beginning_of_the_next(
    small_bundle: AvatarBundle,
) -> None:
    """A turn that is handed over whole and still playing is interrupted as well as the one after it."""
    async with Bench(small_bundle) as bench:
        first = bench.session.say("One. Two.", mode="echo")
        second = bench.session.say("Three. Four. Five. Six.", mode="echo")
        while "thinking" not in bench.states(second):
            await bench.pass_time(0.04)
        assert bench.states(first)[-1] == "speaking"
        bench.session.interrupt()
        await bench.pass_time(1.0)
        assert bench.states(first) == ["queued", "thinking", "speaking", "interrupted"]
        assert bench.states(second)[-1] == "interrupted"


async def test_what_was_cut_off_is_not_remembered_though_another_turn_has_begun(small_bundle: AvatarBundle) -> None:
    """An answer whose tail is interrupted while an echo waits behind it is trimmed to what was heard."""
    async with Bench(small_bundle) as bench:
        answer = bench.session.say("go on")
        echo = bench.session.say("said behind it", mode="echo")
        while "thinking" not in bench.states(echo):
            await bench.pass_time(0.04)
        assert bench.states(answer)[-1] == "speaking"
        bench.session.interrupt()
        await bench.pass_time(0.2)
        assert bench.session.conversation.history[-1].content.endswith(" …")
        assert [message.role for message in bench.session.conversation.history] == ["user", "assistant"]


async def test_interrupting_twice_fades_once(small_bundle: AvatarBundle) -> None:
    """A second interrupt changes nothing: no event, no cut in the fading frame."""
    async with Bench(small_bundle) as bench:
        turn = bench.session.say("go on")
        while "speaking" not in bench.states(turn):
            await bench.pass_time(0.04)
        sent = len(bench.transport.frames)
        bench.session.interrupt()
        bench.session.interrupt()
        await bench.pass_time(0.4)
        frames = list(bench.transport.frames)[sent:]
        assert [frame.speaking for frame in frames][:3] == [True, False, False]
        assert frames[0].audio[:900].any()
        assert bench.states(turn).count("interrupted") == 1


async def test_an_interrupt_before_the_first_sound_is_silent(small_bundle: AvatarBundle) -> None:
    """Frames that wait for their moment are no voice yet: nothing of them is heard, not even fading."""
    async with Bench(small_bundle) as bench:
        turn = bench.session.say("go on")
        await bench.session.playout.spoken.ready()
        bench.session.interrupt()
        await bench.pass_time(0.4)
        assert not any(frame.audio.any() for frame in bench.transport.frames)
        assert bench.states(turn)[-1] == "interrupted"


async def test_when_nobody_listens_the_oldest_events_are_lost(small_bundle: AvatarBundle) -> None:
    """However much was told before, the end of a turn reaches who listens later."""
    async with Bench(small_bundle) as bench:
        bench.session.say("go on")
        for _ in range(EVENTS_BOUND + 100):
            bench.session.conversation.emit(TextEvent(1, "x"))
        bench.session.interrupt()
        await bench.pass_time(0.04)
        assert len(bench.told) == EVENTS_BOUND
        assert bench.states(1) == ["interrupted"]


async def test_pictures_that_speech_was_late_for_are_in_the_metrics(small_bundle: AvatarBundle) -> None:
    """A model that pauses within its answer starves the playout; when the turn ends, the metrics show how long."""
    async with Bench(small_bundle) as bench:
        model = PausingModel("One moment please. ", "It costs 3 euros.")
        await with_model(bench, model)
        turn = bench.session.say("How much?")
        model.leave.release()
        await bench.pass_time(4.0)
        model.leave.release()
        await bench.pass_time(4.0)
        assert bench.states(turn)[-1] == "done"
        starved = bench.session.playout.starved_pictures
        assert starved > 0
        assert f"vivavoce_starved_pictures_total {float(starved)}" in bench.metrics.exposition().decode()


class BrokenTransport(MemoryTransport):
    def send(self, frame: MediaFrame) -> None:
        raise ConnectionResetError("gone")


async def test_outputs_get_the_same_frames_and_the_session_closes_each_of_them(small_bundle: AvatarBundle) -> None:
    """One that fails is closed at once and changes nothing for the others; those are closed with the session."""
    async with Bench(small_bundle) as bench:
        broken, recording = BrokenTransport(), MemoryTransport()
        bench.session.outputs.add(recording)
        await bench.session.attach(broken)
        assert not bench.transport.stats().connected
        await bench.pass_time(0.4)
        assert not broken.stats().connected
        assert bench.session.stats()["transport"] == "none"
        again = MemoryTransport()
        await bench.session.attach(again)
        await bench.pass_time(0.4)
        numbers = [frame.number for frame in recording.frames]
        assert numbers == list(range(bench.session.playout.number))
        assert [frame.number for frame in again.frames] == numbers[-len(again.frames) :]
        bench.session.outputs.detach()
        await bench.pass_time(0.04)
        assert not again.stats().connected
        assert recording.stats().connected
    assert not recording.stats().connected


async def test_a_session_that_speaks_is_not_idle(small_bundle: AvatarBundle) -> None:
    """A long answer counts as being in use until its end."""
    async with Bench(small_bundle) as bench:
        bench.session.say("go on")
        await bench.pass_time(2.0)
        assert bench.session.touched_s == bench.clock.now_s()
        await bench.pass_time(6.0)
        assert bench.states(1)[-1] == "done"
        assert bench.session.touched_s < bench.clock.now_s()


async def test_a_turn_is_not_over_before_its_viewer_has_heard_it(small_bundle: AvatarBundle) -> None:
    """What was released last is still on its way: the session must not end before."""
    async with Bench(small_bundle) as bench:
        assert not bench.session.is_mid_turn
        bench.session.note_delay(2.0)
        bench.session.say("go on")
        assert bench.session.is_mid_turn
        await bench.pass_time(0.2)
        while bench.states(1)[-1] != "done":
            await bench.pass_time(0.2)
        await bench.pass_time(1.5)
        assert bench.session.is_mid_turn
        await bench.pass_time(2.0)
        assert not bench.session.is_mid_turn


async def test_ready_speech_is_closed_when_it_is_interrupted(small_bundle: AvatarBundle) -> None:
    """A recording that is not played to its end is not left open."""
    streams = Streams()
    async with Bench(small_bundle) as bench:

        async def recording() -> AsyncIterator[AudioChunk]:
            try:
                while True:
                    yield AudioChunk(np.full(24_000, 0.3, np.float32), 48_000)
            finally:
                streams.closed += 1

        turn = bench.session.speak(recording())
        await bench.pass_time(0.6)
        assert bench.states(turn)[-1] == "speaking"
        bench.session.interrupt()
        await bench.pass_time(0.04)
        assert streams.closed == 1


class PausingModel:
    """Says its pieces, and waits before each for leave to go on."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.leave = asyncio.Semaphore(0)

    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        for piece in self.pieces:
            await self.leave.acquire()
            yield piece


async def with_model(bench: Bench, model: Any) -> None:
    await bench.session.swap_avatar(replace(bench.context, llm=model))


async def test_a_sentence_that_has_ended_is_spoken_while_the_model_pauses(small_bundle: AvatarBundle) -> None:
    """It need not wait for the first word of the next one; what may go on waits."""
    async with Bench(small_bundle) as bench:
        model = PausingModel("One moment please.", " It costs 3.", "14 euros.")
        await with_model(bench, model)
        turn = bench.session.say("How much?")
        model.leave.release()
        await bench.pass_time(0.2)
        assert bench.subtitles == []
        await bench.pass_time(0.6)
        assert bench.subtitles == ["One moment please."]
        model.leave.release()
        await bench.pass_time(2.0)
        assert bench.subtitles == ["One moment please."]
        model.leave.release()
        await bench.pass_time(2.0)
        assert bench.subtitles == ["One moment please.", "It costs 3.14 euros."]
        assert bench.states(turn)[-1] == "done"
        assert bench.session.conversation.history[-1].content == "One moment please. It costs 3.14 euros."


async def test_a_megabyte_at_once_is_taken_in_steps(small_bundle: AvatarBundle) -> None:
    """Between the steps others have their turn: a piece is never more than is cut within milliseconds."""
    async with Bench(small_bundle) as bench:
        model = PausingModel("word " * 200_000)
        await with_model(bench, model)
        bench.session.say("Tell me everything.")
        model.leave.release()
        await bench.pass_time(0.4)
        bench.session.interrupt()
        await bench.pass_time(0.04)
        deltas = [event.delta for event in bench.told if isinstance(event, TextEvent)]
        assert deltas
        assert max(map(len, deltas)) <= 250


class DamagedBackend(FlashLipSync):
    """Draws three pictures, then fails."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self._failure = failure
        self._left = 3

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        self._left -= len(requests)
        if self._left < 0:
            raise self._failure
        return super().infer(requests)


@pytest.mark.parametrize(
    ("failure", "code"),
    [(BundleError("A frame is damaged.", "Prepare it again."), "bundle_damaged"), (KeyError("bug"), "internal")],
)
async def test_a_stage_that_fails_is_told_and_what_was_drawn_is_played_first(
    room: Room, small_bundle: AvatarBundle, failure: Exception, code: str
) -> None:
    """One error in plain words, then the turn is done when its last picture is out, and the session lives on."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    await room.session.swap_avatar(replace(context, lipsync=DamagedBackend(failure)))
    turn = room.session.say("one two three", mode="echo")
    await room.until(done(room, turn))
    assert [event.code for event in room.all(ErrorEvent)] == [code]
    assert room.states == [(turn, state) for state in ("queued", "thinking", "speaking", "done")]
    assert 0 < sum(frame.speaking for frame in room.transport.frames) <= 3
    await room.session.swap_avatar(context)
    again = room.session.say("again", mode="echo")
    await room.until(done(room, again))


class CarelessVoice:
    """Forgets to say which chunk is the last; says nothing at all of "silence"."""

    name = "test"
    sample_rate = 24_000

    async def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[AudioChunk, None]:
        if "silence" not in text:
            for _ in range(2):
                yield AudioChunk(np.full(12_000, 0.3, np.float32), self.sample_rate)


async def test_a_voice_that_forgets_to_end_its_sentences_loses_nothing(room: Room, small_bundle: AvatarBundle) -> None:
    """Without a final chunk, or without any chunk, each sentence is still played to its end."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    voice: Any = CarelessVoice()
    await room.session.swap_avatar(replace(context, tts=voice))
    turn = room.session.say("This is one. A moment of silence. This is two.", mode="echo")
    await room.until(done(room, turn))
    assert sum(frame.speaking for frame in room.transport.frames) == 50
