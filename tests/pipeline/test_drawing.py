"""The last stage of a turn, with a device whose pictures come when the test says so."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline.acting import Expression
from pipeline.channel import Channel
from pipeline.clock import ManualClock
from pipeline.drawing import FIRST_BATCH, Drawing
from pipeline.metrics import TurnTimes
from pipeline.playout import QUEUED_PICTURES, SILENCE, Playout
from pipeline.timeline import SpeechSlice
from pipeline.turn_context import TurnContext
from pipeline.types import FacePatch, FeatureWindow, ImageArray, LipSyncRequest, MediaFrame

NETWORK = type("Network", (), {"name": "network", "max_batch": 16, "on_device": True, "draws_rest": False})()

STEP_S = 0.01


class SlowDevice:
    """Holds what it is asked for until told that it is drawn."""

    def __init__(self) -> None:
        self.requests: list[LipSyncRequest] = []
        self.futures: list[asyncio.Future[FacePatch]] = []

    def draw(self, _backend: object, requests: Sequence[LipSyncRequest]) -> list[asyncio.Future[FacePatch]]:
        futures = [asyncio.get_running_loop().create_future() for _ in requests]
        self.requests += requests
        self.futures += futures
        return futures

    def finish(self, *numbers: int) -> None:
        patch = FacePatch(np.zeros((4, 4, 3), np.uint8), (0, 0, 4, 4), None)
        for number in numbers:
            self.futures[number].set_result(patch)


class Desk:
    """A turn's drawing under way, what it is fed, and what it hands over."""

    def __init__(self, bundle: AvatarBundle, face: Any = None) -> None:
        self.bundle = bundle
        self.clock = clock = ManualClock()
        self.device: Any = SlowDevice()
        self.pictures: Channel[SpeechSlice] = Channel(100)
        self.executor = ThreadPoolExecutor(1)
        self.playout = Playout(bundle, clock)
        nothing: Any = None
        context = TurnContext(
            *(nothing, nothing, None, nothing, NETWORK, "state", bundle, bundle),
            *(self.device, self.executor, self.playout, clock),
            face=face,
        )
        self.drawing = Drawing(1, context, TurnTimes(clock))
        self.running = asyncio.create_task(self.drawing.run(self.pictures))
        self._fed = 0

    async def aclose(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.executor.shutdown()

    def feed(self, count: int, mouth: float = 1.0) -> None:
        for _ in range(count):
            self.say(mouth=mouth)

    def say(self, **facts: float) -> None:
        """One more picture."""
        window = FeatureWindow(np.zeros(1, np.float32), self._fed)
        assert self.pictures.offer(SpeechSlice(window, SILENCE, 0, 0.5, **facts))  # type: ignore[arg-type]
        self._fed += 1

    async def settle(self) -> None:
        """Let whatever can go on go on, the composing thread included."""
        for _ in range(5):
            await asyncio.get_running_loop().run_in_executor(self.executor, lambda: None)
            for _ in range(5):
                await asyncio.sleep(0)


@pytest.fixture
async def desk(small_bundle: AvatarBundle) -> AsyncIterator[Desk]:
    desk = Desk(small_bundle)
    yield desk
    await desk.aclose()


async def test_a_turn_begins_with_few_pictures_and_only_those_are_urgent(desk: Desk) -> None:
    """The first do not wait for a large batch; what follows takes its turn with everybody's."""
    desk.feed(20)
    await desk.settle()
    assert len(desk.device.requests) == FIRST_BATCH
    desk.device.finish(0, 1)
    await desk.settle()
    assert len(desk.device.requests) > FIRST_BATCH
    assert [request.urgent for request in desk.device.requests].count(True) == FIRST_BATCH


async def test_a_picture_does_not_wait_for_those_after_it(desk: Desk) -> None:
    """Though they were asked for together: another session's may be drawn between them."""
    desk.feed(2)
    await desk.settle()
    desk.device.finish(0)
    await desk.settle()
    assert len(desk.playout.spoken) == 1
    desk.device.finish(1)
    await desk.settle()
    assert len(desk.playout.spoken) == 2


async def test_pictures_are_shown_in_order_whatever_is_drawn_first(desk: Desk) -> None:
    """A later one that is there already waits for those before it."""
    desk.feed(2)
    await desk.settle()
    desk.device.finish(1)
    await desk.settle()
    assert not len(desk.playout.spoken)
    desk.device.finish(0)
    await desk.settle()
    places = [frame.loop_index for frame in desk.playout.spoken.clear()]
    assert places == [0, 1]


async def test_deadlines_count_what_is_shown_before(desk: Desk) -> None:
    """Each picture is due 40 ms after the one before it, also across what was asked for at different times."""
    desk.feed(6)
    await desk.settle()
    desk.device.finish(0, 1)
    await desk.settle()
    due_s = [request.deadline_s for request in desk.device.requests]
    assert np.diff(due_s) == pytest.approx([0.04] * (len(due_s) - 1))


async def test_a_full_playout_stops_drawing(desk: Desk) -> None:
    """What is drawn ahead is bounded, however fast the device and however long the speech."""
    desk.feed(90)
    for _ in range(30):
        await desk.settle()
        desk.device.finish(*(at for at, future in enumerate(desk.device.futures) if not future.done()))
    assert len(desk.playout.spoken) == QUEUED_PICTURES
    assert len(desk.device.requests) <= 3 * QUEUED_PICTURES


async def test_a_mouth_at_rest_is_not_asked_for(desk: Desk) -> None:
    """The avatar's own picture goes out, between those that are drawn."""
    desk.feed(1)
    desk.feed(1, mouth=0.0)
    await desk.settle()
    assert len(desk.device.requests) == 1
    desk.device.finish(0)
    await desk.settle()
    assert len(desk.playout.spoken) == 2


async def test_it_ends_when_the_last_picture_is_handed_over(desk: Desk) -> None:
    """Speech may end with pictures still on the device."""
    desk.feed(2)
    desk.pictures.close()
    await desk.settle()
    assert not desk.running.done()
    desk.device.finish(0, 1)
    await desk.settle()
    assert desk.running.done() and desk.drawing.frames_sent == 2


async def test_what_is_left_of_a_failed_turn_is_not_drawn(desk: Desk) -> None:
    """The failure reaches the turn; pictures that the device has not begun cost nobody time."""
    desk.feed(2)
    await desk.settle()
    desk.device.futures[0].set_exception(RuntimeError("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        await desk.running
    assert desk.device.futures[1].cancelled()


async def test_a_batch_that_failed_is_told_once(desk: Desk) -> None:
    """All its pictures have the error; the terminal gets no traceback for those that nobody asked about."""
    desk.feed(2)
    await desk.settle()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    for future in desk.device.futures:
        future.set_exception(RuntimeError("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        await desk.running
    desk.device.futures.clear()
    desk.drawing = None  # type: ignore[assignment]
    gc.collect()
    assert not complaints


async def test_what_an_interrupted_turn_asked_for_is_not_drawn(desk: Desk) -> None:
    """Cancelling the stage cancels its requests."""
    desk.feed(2)
    await desk.settle()
    desk.running.cancel()
    await asyncio.gather(desk.running, return_exceptions=True)
    assert all(future.cancelled() for future in desk.device.futures)


class Nodding:
    """A face that notes what it is asked to show, and leaves a mark of it in the picture."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, Expression]] = []

    def show(self, picture: ImageArray, frame_index: int, expression: Expression) -> ImageArray:
        self.shown.append((frame_index, expression))
        picture[0, 0] = 0 if expression.is_still else 255
        return picture


async def test_pictures_of_a_stressed_word_are_moved_once_they_are_composed(small_bundle: AvatarBundle) -> None:
    """Those before the stress, and the last of the sentence, are as they were. The same turn moves the same way."""
    moved: list[list[tuple[int, Expression]]] = []
    for _ in range(2):
        face = Nodding()
        desk = Desk(small_bundle, face)
        for at in range(10):
            desk.say(stress=float(at == 3), left=min(3, 9 - at))
        for _ in range(12):
            await desk.settle()
            desk.device.finish(*(n for n, future in enumerate(desk.device.futures) if not future.done()))
        corners = [int(np.asarray(frame.picture)[0, 0, 0]) for frame in desk.playout.spoken.clear()]
        assert corners == [0] * 3 + [255] * 6 + [0]
        assert [frame for frame, _ in face.shown] == [at % small_bundle.frame_count for at in range(10)]
        moved.append(face.shown)
        await desk.aclose()
    assert moved[0] == moved[1]


async def test_a_frame_that_a_backend_reads_is_decoded_once(desk: Desk) -> None:
    """The picture is composed in the very pixels that were read, and after that nobody keeps them."""
    desk.feed(2)
    await desk.settle()
    read_frame = desk.device.requests[0].read_frame
    assert read_frame is not None
    pixels = read_frame()
    assert read_frame() is pixels
    desk.device.finish(0, 1)
    await desk.settle()
    first, _second = desk.playout.spoken.clear()
    assert first.picture is pixels
    assert read_frame() is not pixels


async def speak_slowly(desk: Desk, picture_s: float, pictures: int, live: bool = True) -> list[MediaFrame]:
    """Feed a turn to a device that draws one picture after another. Return what the playout released."""
    released: list[MediaFrame] = []
    playing = asyncio.create_task(desk.playout.run(released.append)) if live else None
    turn, _ = desk.playout.ledger.queue()
    desk.playout.ledger.begun(turn)
    desk.feed(pictures)
    desk.pictures.close()
    done = 0
    for step in range(1, 1000):
        await desk.settle()
        if step * STEP_S >= (done + 1) * picture_s and done < len(desk.device.futures):
            desk.device.finish(done)
            done += 1
        if not live:
            desk.playout.spoken.clear()
        await desk.clock.advance(STEP_S)
        if desk.running.done() and not len(desk.playout.spoken):
            break
    if playing is not None:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    return released


async def test_where_drawing_is_too_slow_pictures_are_left_out_and_the_voice_has_no_gaps(desk: Desk) -> None:
    """At 60 ms for each, about every third is left out. The picture before it is shown again, with the new sound."""
    released = await speak_slowly(desk, 0.06, 90)
    spoken = [frame for frame in released if frame.speaking]
    assert len(spoken) == 90
    assert len(desk.device.requests) + desk.playout.repeated_pictures == 90
    assert desk.playout.repeated_pictures >= 20
    # Until the pace is known, pictures are late. Then nothing is.
    assert desk.playout.starved_pictures <= 12
    numbers = [frame.number for frame in spoken][-50:]
    assert numbers == list(range(numbers[0], numbers[0] + 50))
    again = [after.picture is before.picture for before, after in pairwise(spoken)]
    assert again.count(True) == desk.playout.repeated_pictures
    places = [frame.loop_index for frame in released]
    assert {(after - before) % len(desk.bundle.loop) for before, after in pairwise(places)} <= {0, 1}


async def test_where_drawing_keeps_up_every_picture_is_drawn(desk: Desk) -> None:
    await speak_slowly(desk, 0.03, 40)
    assert (len(desk.device.requests), desk.playout.repeated_pictures) == (40, 0)


async def test_a_clip_has_every_picture_however_slowly_it_is_drawn(desk: Desk) -> None:
    """Nobody waits for the sound of a clip that is being made."""
    await speak_slowly(desk, 0.1, 30, live=False)
    assert (len(desk.device.requests), desk.playout.repeated_pictures) == (30, 0)


async def test_no_picture_is_left_out_while_the_voice_is_what_the_turn_waits_for(desk: Desk) -> None:
    """Sound that comes in real time gives small batches. They take as long as a network's large ones do."""
    playing = asyncio.create_task(desk.playout.run(lambda _frame: None))
    turn, _ = desk.playout.ledger.queue()
    desk.playout.ledger.begun(turn)
    drawn_at: list[float] = []
    done = 0
    for step in range(400):
        if step % 4 == 0:
            desk.feed(1)
        await desk.settle()
        drawn_at += [desk.clock.now_s() + 0.06] * (len(desk.device.futures) - len(drawn_at))
        while done < len(drawn_at) and drawn_at[done] <= desk.clock.now_s() + 1e-6:
            desk.device.finish(done)
            done += 1
        await desk.clock.advance(STEP_S)
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    assert desk.playout.repeated_pictures == 0
    assert len(desk.device.requests) > 90


@pytest.mark.parametrize("pictures", [37, 38, 39, 40, 41])
async def test_after_a_pause_the_head_goes_on_where_it_is(desk: Desk, pictures: int) -> None:
    """Whether or not the first picture after the pause is one that is left out."""
    released: list[MediaFrame] = []
    playing = asyncio.create_task(desk.playout.run(released.append))
    turn, _ = desk.playout.ledger.queue()
    desk.playout.ledger.begun(turn)
    done = since = 0
    for step in range(700):
        if step in (0, 500):
            desk.feed(pictures if step == 0 else 30)
        await desk.settle()
        since += 1
        if since >= 6 and done < len(desk.device.futures):
            desk.device.finish(done)
            done, since = done + 1, 0
        await desk.clock.advance(STEP_S)
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    assert sum(frame.speaking for frame in released) == pictures + 30
    assert desk.playout.repeated_pictures > 10
    spoken = [frame.picture for frame in released if frame.speaking]
    assert spoken[pictures] is not spoken[pictures - 1], "the head would go back to where it was before the pause"
    places = [frame.loop_index for frame in released]
    assert {(after - before) % len(desk.bundle.loop) for before, after in pairwise(places)} <= {0, 1}
