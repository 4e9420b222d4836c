"""Whole turns on each neural backend, with tiny weights: the mouth moves while it speaks and rests in silence."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from backend_rows import replace_backend
from session_room import Room, done

pytest.importorskip("torch", reason="neural backends; pip install -e .[neural]")

from neural_avatars import add_parts, write_weights
from portraits import portrait_bundle

from avatars.backend_parts import prepare_parts
from avatars.bundle import AvatarBundle
from avatars.errors import AvatarError, AvatarNotPrepared, NetworkMissing
from avatars.face_formats import crop_parameters
from pipeline import registry
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.finishing import Finish
from pipeline.tts.beep import BeepSynthesizer
from pipeline.turn_context import Choice
from pipeline.types import AudioChunk, FloatArray, ImageArray, MediaFrame

pytestmark = pytest.mark.thorough

NEURAL = ("musetalk15", "musetalk10", "wav2lip256", "wav2lip96", "ultralight")
RATE_HZ = 48_000
FADE_PICTURES = 3


class PausingVoice(BeepSynthesizer):
    """Every sentence is a tone of 0.4 s, silence of 0.6 s and a tone of 0.4 s."""

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        tone = (0.3 * np.sin(2 * np.pi * 300 * np.arange(2 * RATE_HZ // 5) / RATE_HZ)).astype(np.float32)
        pause = np.zeros(3 * RATE_HZ // 5, np.float32)
        yield AudioChunk(np.concatenate([tone, pause, tone]), RATE_HZ, final=True)


@pytest.fixture(params=NEURAL)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def engine(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    replace_backend(monkeypatch, "tts", "beep", f"{__name__}:PausingVoice")
    # No picture is left out: the clock of these tests does not wait for the networks.
    monkeypatch.setattr("pipeline.drawing.DrawingPace.leaves_out", lambda _pace, _ahead: False)
    weights = {"weights": write_weights(tmp_path / "weights", backend)}
    features = registry.backend_class("lipsync", backend).features
    options = {("lipsync", backend): weights}
    if features != "mel":
        options["features", features] = weights
    engine = Engine(options, clock=ManualClock())
    await engine.start()
    yield engine
    await engine.aclose()


async def spoken_frames(engine: Engine, bundle: AvatarBundle, backend: str) -> list[MediaFrame]:
    choice = Choice(llm="echo", tts="beep", lipsync=backend)
    session = await engine.open_session("test", bundle, choice)
    assert isinstance(engine.clock, ManualClock)
    room = Room(engine, session, engine.clock)
    await session.attach(room.transport)
    turn = session.say("Hello there.", mode="echo")
    await room.until(done(room, turn))
    return [frame for frame in room.transport.frames if frame.speaking]


def is_loud(audio: FloatArray) -> bool:
    return float(np.abs(audio).max()) > 0.01


def own_pixels(bundle: AvatarBundle, frame: MediaFrame) -> ImageArray:
    return bundle.frame(bundle.frame_index(frame.loop_index))


async def test_the_mouth_moves_while_it_speaks_and_is_the_avatars_own_in_silence(
    engine: Engine, backend: str, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Loud pictures differ from the avatar in the box and nowhere else; in a pause it is the avatar, bit by bit."""
    bundle = make_bundle()
    add_parts(bundle, backend)
    spoken = await spoken_frames(engine, bundle, backend)
    assert len(spoken) == 35
    loud = [is_loud(frame.audio) for frame in spoken]
    at_rest = [i for i in range(len(loud)) if not any(loud[max(0, i - FADE_PICTURES + 1) : i + FADE_PICTURES])]
    assert len(at_rest) >= 8
    for i, frame in enumerate(spoken):
        assert isinstance(frame.picture, np.ndarray)
        own = own_pixels(bundle, frame)
        x0, y0, x1, y1 = bundle.boxes[bundle.frame_index(frame.loop_index)]
        changed = (frame.picture != own).any(axis=2)
        assert changed[y0:y1, x0:x1].any() == (i not in at_rest)
        changed[y0:y1, x0:x1] = False
        assert not changed.any()


async def test_an_avatar_that_is_not_prepared_is_refused_before_a_session(
    engine: Engine, backend: str, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Nothing is half open: the error names the backend, and once prepared the same avatar gets its session."""
    bundle = make_bundle()
    refusal = NetworkMissing if backend == "ultralight" else AvatarNotPrepared
    choice = Choice(llm="echo", tts="beep", lipsync=backend)
    with pytest.raises(refusal, match=f"(?i){backend}"):
        await engine.open_session("test", bundle, choice)
    assert not engine.sessions
    add_parts(bundle, backend)
    session = await engine.open_session("test", bundle, choice)
    assert list(engine.sessions.values()) == [session]


async def test_what_is_missing_is_told_before_networks_are_loaded(
    engine: Engine, backend: str, make_bundle: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading may take a minute, looking at an avatar takes milliseconds."""

    def load(_self: object, _device: str) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(registry.backend_class("lipsync", backend), "load", load)
    with pytest.raises(AvatarError):
        await engine.open_session("test", make_bundle(), Choice(llm="echo", tts="beep", lipsync=backend))


async def test_sessions_use_what_was_prepared_last(
    engine: Engine, backend: str, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """An avatar prepared anew, with another box say, needs no restart; who talks already goes on with the old one."""
    bundle, choice = make_bundle(), Choice(llm="echo", tts="beep", lipsync=backend)
    add_parts(bundle, backend)
    before = await engine.context_for(bundle, choice)
    assert (await engine.context_for(bundle, choice)).lipsync_state is before.lipsync_state
    add_parts(bundle, backend, feather_px=8)
    assert (await engine.context_for(bundle, choice)).lipsync_state is not before.lipsync_state


@pytest.mark.parametrize("backend", ["wav2lip96"], indirect=True)
async def test_pictures_are_finished_by_choice(
    backend: str, tmp_path: Path, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Matching colours brings the mouth nearer to the avatar's own; without the choice it is as the network drew it."""
    bundle = make_bundle()
    add_parts(bundle, backend, feather_px=8)
    options = {("lipsync", backend): {"weights": write_weights(tmp_path / "weights", backend)}}
    distances = []
    for finish in (None, Finish(match_colour=True)):
        engine = Engine(options, clock=ManualClock(), finish=finish)
        await engine.start()
        spoken = await spoken_frames(engine, bundle, backend)
        await engine.aclose()
        distances.append(np.mean([np.abs(np.asarray(f.picture, int) - own_pixels(bundle, f)).mean() for f in spoken]))
    assert distances[1] < distances[0]


@pytest.mark.parametrize("backend", ["musetalk15", "wav2lip256"], indirect=True)
async def test_a_portrait_prepared_as_jobs_prepare_it_talks(engine: Engine, backend: str, tmp_path: Path) -> None:
    """Boxes, masks and latents of the ordinary preparation: the lower face moves, the eyes stay as they are."""
    bundle = portrait_bundle(tmp_path / "woman", "woman", 160, shifts=(0, 1))
    prepare_parts(
        bundle, backend, tmp_path / "weights", crop_parameters(backend), tmp_path / "work", lambda _done: None
    )
    spoken = await spoken_frames(engine, bundle, backend)
    eyes = int(bundle.landmarks[0, 159, 1])
    moved = np.zeros((bundle.height, bundle.width), bool)
    for frame in spoken:
        moved |= (np.asarray(frame.picture) != own_pixels(bundle, frame)).any(axis=2)
    assert moved[int(bundle.landmarks[0, 13, 1])].any()
    assert not moved[: eyes + 1].any()
