"""What listening costs, and how long it takes: `python -m tests.benchmarks.listening SECONDS ROUNDS FOLDER`.

A session in this process, with the product's canceller, voice activity and end of turn. The recogniser is a stand-in of
a declared delay. Questions are spoken by `hibari`, and pushed in as fast as somebody speaks.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from avatars.bundle import AvatarBundle
from pipeline import registry
from pipeline.ears.hearing import HearingChoice
from pipeline.engine import Engine
from pipeline.registry import BackendRow, Label
from pipeline.session import Session
from pipeline.transports.memory import MemoryTransport
from pipeline.turn_context import Choice
from pipeline.types import LISTEN_RATE_HZ, EarsEvent, EarsState, FloatArray, MediaFrame, Transcript
from tests.benchmarks.material import preset_library
from tests.microphone import spoken

QUESTIONS = (
    "Can you tell me something else instead?",
    "Where did you say the market was?",
    "What happened to the dog in the end?",
)
ASR_S = 0.3
"""Declared."""
PIECE_S = 0.02
QUIET = np.zeros(round(PIECE_S * LISTEN_RATE_HZ), np.float32)


class DelayedRecognizer:
    """Answers after ASR_S, always the same."""

    name = "delayed"
    languages = frozenset({"en"})
    at_once = 8
    partial = False

    def __init__(self, text: str) -> None:
        self._text = text

    def load(self) -> None: ...

    async def transcribe(self, samples: FloatArray, language: str | None = None) -> Transcript:
        await asyncio.sleep(ASR_S)
        return Transcript(self._text, "en")

    async def aclose(self) -> None: ...


class FirstSound(MemoryTransport):
    """Remembers when the first sound of an answer left."""

    def __init__(self) -> None:
        super().__init__(keep=1)
        self.came_s: float | None = None

    def send(self, frame: MediaFrame) -> None:
        super().send(frame)
        if self.came_s is None and frame.speaking and frame.audio.any():
            self.came_s = time.monotonic()


async def say(session: Session, sound: FloatArray) -> None:
    """As fast as it is spoken."""
    size = len(QUIET)
    began_s = time.monotonic()
    for count, at in enumerate(range(0, len(sound), size)):
        await asyncio.sleep(max(0.0, began_s + count * PIECE_S - time.monotonic()))
        session.hear(sound[at : at + size])


async def core_share(session: Session, sounds: list[FloatArray], seconds: float) -> float:
    """CPU of listening in percent of a core, over that of the same session whose microphone is off."""
    speech = np.concatenate([np.concatenate([sound, np.zeros(LISTEN_RATE_HZ, np.float32)]) for sound in sounds])
    speech = np.resize(speech, round(seconds * LISTEN_RATE_HZ))
    used_s = []
    for mode in ("off", "open"):
        session.listen("open")  # loaded before anything is measured
        await asyncio.sleep(2)
        if mode == "off":
            session.listen("off")
        began_s = time.process_time()
        await say(session, speech)
        used_s.append(time.process_time() - began_s)
    return 100 * (used_s[1] - used_s[0]) / seconds


async def answer_ms(session: Session, sound: FloatArray) -> tuple[float, float]:
    """From the last sample of a question until the ears know that it is over, and from then to the first sound of the
    answer, less the recogniser.
    """
    transport = FirstSound()
    await session.attach(transport)
    loud = np.flatnonzero(np.abs(sound) > 0.1 * np.abs(sound).max())
    await say(session, sound[: loud[-1]])
    ended_s = time.monotonic()
    known = asyncio.create_task(_until_recognising(session))
    async with asyncio.timeout(10):
        while transport.came_s is None:
            session.hear(QUIET)
            await asyncio.sleep(PIECE_S)
    session.interrupt()
    await asyncio.sleep(1)
    known_s = await known
    return 1000 * (known_s - ended_s), 1000 * (transport.came_s - known_s - ASR_S)


async def _until_recognising(session: Session) -> float:
    async for event in session.events:
        if event == EarsEvent(EarsState.RECOGNISING):
            return time.monotonic()
    raise RuntimeError("the session has ended")


@asynccontextmanager
async def listening(bundle: AvatarBundle, endpoint: str, text: str) -> AsyncIterator[Session]:
    """text: what is recognised, whatever is said; an empty one is not answered."""
    options = {("asr", "delayed"): {"text": text}}
    engine = Engine(options, measure=False, hearing=HearingChoice(asr="delayed", endpoint=endpoint))
    await engine.start()
    try:
        yield await engine.open_session("listening", bundle, Choice("echo", "beep", "flash"))
    finally:
        await engine.aclose()


def endpoint_ms(sound: FloatArray) -> float:
    """CPU of one judgement of a pause."""
    detector = registry.create("endpoint", "smart-turn")
    detector.load()
    detector.probability(sound)
    began_s = time.process_time()
    for _ in range(5):
        detector.probability(sound)
    return 1000 * (time.process_time() - began_s) / 5


async def measure(seconds: float, rounds: int, data_dir: Path) -> dict[str, object]:
    label = Label("Delayed · for measuring", "Delayed · 测量用")
    registry.BACKENDS["asr"]["delayed"] = BackendRow(
        kind="asr", name="delayed", path=f"{__name__}:DelayedRecognizer", label=label
    )
    library = preset_library(data_dir)
    bundle = library.open(library.list()[0].id)
    sounds = [await spoken(question) for question in QUESTIONS]
    async with listening(bundle, "silence", text="") as session:
        share = await core_share(session, sounds, seconds)
    async with listening(bundle, "smart-turn", text="one two three") as session:
        session.listen("open")
        await asyncio.sleep(2)
        answers = [await answer_ms(session, sounds[index % len(QUESTIONS)]) for index in range(rounds)]
    waits_ms, answers_ms = zip(*answers, strict=True)
    return {
        "core_share": share,
        "waits_ms": waits_ms,
        "answers_ms": answers_ms,
        "endpoint_ms": endpoint_ms(sounds[0]),
    }


if __name__ == "__main__":
    found = asyncio.run(measure(float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
    sys.stdout.write(json.dumps(found) + "\n")
