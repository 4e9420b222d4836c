"""What surrounds a network: paste-back, whisper's features, the scheduling of a device, the tiny networks' material."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatars.backend_parts import prepare_parts
from avatars.bundle import AvatarBundle
from avatars.face_crops import CropParameters
from avatars.geometry import mouth_mask
from pipeline.audio import in_pieces
from pipeline.compositing import compose
from pipeline.engine import Engine
from pipeline.features.whisper import Whisper15Extractor
from pipeline.session import Session
from pipeline.threads import compute_in_calling_thread
from pipeline.transports.memory import MemoryTransport
from pipeline.turn_context import Choice
from pipeline.types import FEATURE_RATE_HZ, AudioChunk, FacePatch, TurnEvent, TurnState
from tests.tiny_musetalk import write_musetalk_weights
from tests.tiny_whisper import write_whisper_weights

__all__ = ["NullRun", "null_device", "paste_ms", "tiny_musetalk_avatar", "whisper_ms_a_picture"]

BOX = (146, 180, 366, 420)
"A face of 220 x 240 px in a picture of 512 px."
ROUNDS = 200
SPEECH_S = 20
ANSWER = "Here is an answer of many words that goes on for a while, so that all of them speak at one time. " * 6


def paste_ms() -> float:
    """CPU of one thread: resize a patch of 256 px to its box and blend it in with a feathered mask."""
    compute_in_calling_thread()
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    width, height = BOX[2] - BOX[0], BOX[3] - BOX[1]
    mask = mouth_mask(width, height)
    mask[: height // 2] = 0
    patch = FacePatch(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8), BOX, mask)
    return 1000 * _best_cpu_s(lambda: compose(frame, patch))


def _best_cpu_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        work()
        times.append(time.process_time() - began_s)
    return float(np.median(times))


def whisper_ms_a_picture(folder: Path) -> float:
    """CPU a picture of MuseTalk 1.5's features, streamed, with random weights of tiny's real sizes."""
    from models.whisper_encoder import WhisperSizes

    weights = folder / "whisper-weights"
    write_musetalk_weights(weights, "15")
    write_whisper_weights(weights, sizes=WhisperSizes())
    extractor = Whisper15Extractor(weights)
    extractor.load("cpu")
    stream = extractor.stream()
    samples = np.random.default_rng(0).normal(0, 0.1, SPEECH_S * FEATURE_RATE_HZ).astype(np.float32)
    pieces = list(in_pieces(AudioChunk(samples, FEATURE_RATE_HZ, final=True), 0.32))
    began_s = time.process_time()
    pictures = sum(len(stream.push(piece)) for piece in pieces) + len(stream.flush())
    spent_s = time.process_time() - began_s
    extractor.close()
    return 1000 * spent_s / pictures


def tiny_musetalk_avatar(bundle: AvatarBundle, folder: Path) -> Path:
    """A weights folder with tiny networks, for which the avatar is prepared."""
    weights = folder / "tiny-weights"
    write_musetalk_weights(weights, "15")
    write_whisper_weights(weights)
    prepare_parts(bundle, "musetalk15", weights, CropParameters(), folder / "parts-work", lambda _share: None)
    return weights


@dataclass(frozen=True, slots=True)
class NullRun:
    """What sessions that all speak at one time saw of a device of known speed."""

    late: int
    "pictures that were not there when they were due, all sessions together"
    pictures: int
    first_picture_ms: float
    "from asking to the first spoken picture, the slowest session"


def null_device(bundle: AvatarBundle, sessions: int, batch_ms: float, picture_ms: float) -> NullRun:
    """Sessions speak at one time over the null device, in real time, into transports that count."""
    return asyncio.run(_null_device(bundle, sessions, batch_ms, picture_ms))


async def _null_device(bundle: AvatarBundle, sessions: int, batch_ms: float, picture_ms: float) -> NullRun:
    engine = Engine({("lipsync", "null"): {"batch_ms": batch_ms, "picture_ms": picture_ms}})
    await engine.start()
    try:
        choice = Choice(llm="echo", tts="beep", lipsync="null")
        await engine.warm_up(choice, bundle)
        opened = [await engine.open_session(f"s{index}", bundle, choice) for index in range(sessions)]
        seen = await asyncio.gather(*(_speak(session) for session in opened))
        late = sum(one.playout.starved_pictures + one.playout.repeated_pictures for one in opened)
        return NullRun(late, sum(count for count, _ in seen), max(first for _, first in seen))
    finally:
        await engine.aclose()


async def _speak(session: Session) -> tuple[int, float]:
    """Spoken pictures, and milliseconds to the first of them."""
    transport = MemoryTransport(keep=10_000)
    await session.attach(transport)
    asked_s = time.monotonic()
    first_ms = 0.0
    session.say(ANSWER, mode="echo")
    async for event in session.events:
        if isinstance(event, TurnEvent) and event.state is TurnState.SPEAKING:
            first_ms = 1000 * (time.monotonic() - asked_s)
        if isinstance(event, TurnEvent) and event.state is TurnState.DONE:
            break
    return sum(frame.speaking for frame in transport.frames), first_ms
