"""The idle loop of somebody who talks in the clip that the avatar was made of."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gesture_clips import give_gesture
from talkers import Talker, babble

from avatars.bundle import AvatarBundle
from avatars.detect import MediaPipeFaceAnalyzer
from avatars.gestures import open_with_gestures
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.lipsync.personal_face import PersonalFace
from pipeline.quiet_loop import QuietLoop, loop_of
from pipeline.transports.encoders import encode_jpeg
from pipeline.transports.loops import LoopCache
from pipeline.transports.websocket import WebSocketTransport
from pipeline.types import FPS, SAMPLES_PER_PICTURE, LoopPosition, MediaFrame
from tests.session_room import MEASURED, Room

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> AvatarBundle:
    """A woman who goes on talking through the whole clip."""
    place = tmp_path_factory.mktemp("quiet")
    person = Talker(place, babble(50))
    return person.bundle(place / "talker", person.real_mouths())


def gaps_seen(pictures: list[np.ndarray]) -> list[float]:
    """Between the inner lips, in distances of the eyes' outer corners, as a face tracker sees it."""
    with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as analyzer:
        seen = [analyzer.analyse(picture)[0].landmarks for picture in pictures]
    eyes = [np.linalg.norm(points[33, :2] - points[263, :2]) for points in seen]
    return [float(np.linalg.norm(one[13, :2] - one[14, :2]) / eye) for one, eye in zip(seen, eyes, strict=True)]


def test_lips_are_shut_in_every_picture(talker: AvatarBundle) -> None:
    """Also where the clip shows an open mouth."""
    loop = loop_of(talker)
    open_frames = [frame for frame in range(0, 50, 5) if gaps_seen([talker.frame(frame)])[0] > 0.06]
    assert len(open_frames) >= 3
    assert max(gaps_seen([loop.frame(frame) for frame in open_frames])) < 0.025


def test_the_mouth_is_at_rest_and_nothing_else_changes(talker: AvatarBundle) -> None:
    """Where the clip's mouth moves most, a fifth of that is left; outside the mouth all pixels are the clip's."""
    loop = loop_of(talker)
    filmed = np.stack([talker.frame(frame) for frame in range(50)]).astype(np.int16)
    quiet = np.stack([loop.frame(frame) for frame in range(50)]).astype(np.int16)
    changed = (filmed != quiet).any(axis=(0, 3))
    assert 0.005 < changed.mean() < 0.2
    motion = [np.abs(np.diff(pictures, axis=0)).mean(axis=(0, 3)) for pictures in (quiet, filmed)]
    lively = motion[1] > np.percentile(motion[1][changed], 80)
    assert motion[0][lively].mean() < 0.2 * motion[1][lively].mean()


def test_part_of_the_way_is_between_the_two(talker: AvatarBundle) -> None:
    """A mouth that fades shows some of both; at 0 the frame is the clip's, bit for bit."""
    loop = loop_of(talker)
    filmed, quiet = talker.frame(5), loop.frame(5)
    assert (loop.quieted(talker.frame(5), 5, 0.0) == filmed).all()
    half = loop.quieted(talker.frame(5), 5, 0.5).astype(float)
    assert np.abs(half - (filmed.astype(float) + quiet) / 2).max() <= 2
    assert (loop.quieted(talker.frame(5), 5) == quiet).all()


def test_a_gesture_is_quiet_too(tmp_path: Path) -> None:
    """The person has that resting mouth in each picture of a gesture, though the clip was made without them."""
    person = Talker(tmp_path, babble(50))
    avatar = person.bundle(tmp_path / "talker", person.real_mouths())
    give_gesture(avatar, "wave", 3)
    whole = open_with_gestures(avatar)
    x0, y0, x1, y1 = whole.boxes[51]
    drawn = loop_of(whole).frame(51)
    assert whole.frame(51).min() == 255
    assert drawn[y0:y1, x0:x1].min() < 200 and drawn[:y0].min() == 255


async def test_a_viewer_sees_it_before_the_loop_is_encoded(talker: AvatarBundle) -> None:
    """Over the WebSocket an idle picture is the quiet one from the first on, not the JPEG that the bundle holds."""
    sent: list[bytes] = []

    async def send(message: bytes) -> None:
        sent.append(message)

    with ThreadPoolExecutor(1) as executor:
        loops = LoopCache(executor, bound_bytes=1)
        transport = WebSocketTransport(send, loops, executor)
        silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
        transport.send(MediaFrame(LoopPosition(loop_of(talker), 5), silence, 0))
        async with asyncio.timeout(30):
            while not sent:  # noqa: ASYNC110 - a thread encodes in its own time
                await asyncio.sleep(0.001)
        await transport.aclose()
        await loops.aclose()
    assert sent[0].endswith(encode_jpeg(loop_of(talker).frame(5)))


def test_an_avatar_without_real_mouths_is_its_own_loop(make_bundle: Callable[..., AvatarBundle]) -> None:
    """Its frames are shown as they are, at no cost."""
    bundle = make_bundle()
    assert loop_of(bundle) is bundle
    frame = bundle.frame(0)
    assert bundle.quieted(frame, 0) is frame and (frame == bundle.frame(0)).all()


async def test_sessions_share_it_and_show_it_while_idle(talker: AvatarBundle) -> None:
    """Two sessions show places of one and the same loop, so that what is encoded serves both."""
    clock = ManualClock()
    engine = Engine(clock=clock)
    await engine.start()
    shown = []
    for name in ("a", "b"):
        room = Room(engine, await engine.open_session(name, talker, MEASURED), clock)
        await room.session.attach(room.transport)
        await room.pass_time(3 / FPS)
        shown.append(room.transport.frames[-1].picture)
    loops = [picture.pictures for picture in shown if isinstance(picture, LoopPosition)]
    assert len(loops) == 2 and loops[0] is loops[1]
    assert isinstance(loops[0], QuietLoop)
    await engine.aclose()


async def test_lips_that_rest_and_lips_that_speak_are_prepared_once(
    talker: AvatarBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of the person's mouth takes most of a second, and is shared by the loop and the lip-sync."""
    made: list[PersonalFace] = []
    prepare = PersonalFace.__init__

    def counted(face: PersonalFace, bundle: AvatarBundle) -> None:
        made.append(face)
        prepare(face, bundle)

    monkeypatch.setattr(PersonalFace, "__init__", counted)
    clock = ManualClock()
    engine = Engine(clock=clock)
    await engine.start()
    session = await engine.open_session("a", AvatarBundle.open(talker.path), replace(MEASURED, lipsync="viseme"))
    session.context.loop.frame(0)
    assert made == [session.context.lipsync_state]
    await engine.aclose()


def test_what_was_derived_of_a_bundle_goes_with_whoever_kept_it(talker: AvatarBundle) -> None:
    """The bundle itself does not hold it."""
    bundle = AvatarBundle.open(talker.path)
    face = bundle.derived(PersonalFace)
    assert bundle.derived(PersonalFace) is face
    gone = weakref.ref(face)
    del face
    gc.collect()
    assert gone() is None
