"""What every speech synthesizer in the registry does."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import numpy as np
import pytest
from fake_edge import FakeEdge

from pipeline import registry
from pipeline.interfaces import SpeechSynthesizer
from pipeline.tts.auto import AutoSynthesizer
from pipeline.tts.edge import EdgeSynthesizer
from pipeline.tts.http_voice import HttpVoice
from pipeline.types import AudioChunk

pytestmark = pytest.mark.thorough


def _edge() -> EdgeSynthesizer:
    fake = FakeEdge()
    return EdgeSynthesizer(fake.speaking, fake.reach)


# Nothing here may need the network, so a synthesizer that would use it gets a stand-in.
MAKERS: dict[str, Callable[[], SpeechSynthesizer]] = {
    "edge": _edge,
    "auto": lambda: AutoSynthesizer(online=_edge()),
}


OF_NO_SERVICE = [
    name for name in registry.names("tts") if not issubclass(registry.backend_class("tts", name), HttpVoice)
]
"HTTP voices have their own contract: test_http_voices.py."
VARIES = frozenset({"pico", "espeak"})
"The sound of these depends a little on what they spoke before: noise at -60 dB, a few samples of length."


@pytest.fixture(scope="module", params=OF_NO_SERVICE)
def tts(request: pytest.FixtureRequest) -> SpeechSynthesizer:
    make = MAKERS.get(request.param, lambda: registry.create("tts", request.param))
    synthesizer: SpeechSynthesizer = make()
    synthesizer.load()
    return synthesizer


IN_MANDARIN = {
    "Hello there, Bob.": "你好，小白。",
    "Hello there, you.": "你好，朋友。",
    "Hello": "你好",
    "Hm": "嗯",
    "3.14": "三点一四",
    "a word or two, and so on, " * 16: "一两个词，等等，" * 40,
    "One two three. Four five six.": "一二三。四五六。",
    "I wonder how quickly you can say a sentence as long as this.": "我想知道这么长的话你能读得多快。",
}
"The same texts for a voice that does not speak English."


def wording(tts: SpeechSynthesizer, text: str) -> str:
    return text if "en" in tts.languages else IN_MANDARIN.get(text, text)


async def speak(tts: SpeechSynthesizer, text: str) -> list[AudioChunk]:
    return [chunk async for chunk in tts.synthesize(wording(tts, text))]


async def test_is_a_speech_synthesizer(tts: SpeechSynthesizer, request: pytest.FixtureRequest) -> None:
    """It has the interface, the name of its row, and a voice; it speaks English or Chinese."""
    assert isinstance(tts, SpeechSynthesizer)
    assert tts.name in request.node.name
    assert len(set(tts.voices)) == len(tts.voices) >= 1
    assert tts.online_voices <= set(tts.voices)
    assert tts.languages & {"en", "zh"}


@pytest.mark.parametrize("text", ["Hello there, Bob.", "Hm", "3.14", "a word or two, and so on, " * 16])
async def test_chunks(tts: SpeechSynthesizer, text: str) -> None:
    """Chunks are float32 in [-1, 1] at the promised rate, without gaps; only the last one is final."""
    chunks = await speak(tts, text)
    assert [chunk.final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    samples = 0
    for chunk in chunks:
        assert chunk.samples.dtype == np.float32
        assert chunk.samples.ndim == 1
        assert np.isfinite(chunk.samples).all()
        assert chunk.sample_rate == tts.sample_rate
        assert chunk.start_sample == samples
        samples += len(chunk.samples)
    speech = np.concatenate([chunk.samples for chunk in chunks])
    assert 0.02 < np.abs(speech).max() <= 1
    assert samples > 0.1 * tts.sample_rate


async def test_phonemes(tts: SpeechSynthesizer) -> None:
    """With phoneme_timing, phonemes are in order and within their chunk; without it, there are none."""
    for chunk in await speak(tts, "Hello there, Bob."):
        if not tts.phoneme_timing:
            assert chunk.phonemes is None
            continue
        assert chunk.phonemes or not len(chunk.samples)
        times = [0.0] + [time_s for phoneme in chunk.phonemes or () for time_s in (phoneme.start_s, phoneme.end_s)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= chunk.duration_s + 1e-6


@pytest.mark.parametrize("text", ["", "   ", "😀🎉", "...", "—", "\n", "“”"])
async def test_nothing_to_say(tts: SpeechSynthesizer, text: str) -> None:
    """Text without a word gives one empty, final chunk."""
    (chunk,) = await speak(tts, text)
    assert chunk.final
    assert len(chunk.samples) == 0


async def test_every_voice_is_a_name(tts: SpeechSynthesizer) -> None:
    """Naming the default voice gives the same sound as naming none."""
    named = [chunk async for chunk in tts.synthesize(wording(tts, "Hello"), tts.voices[0])]
    unnamed = await speak(tts, "Hello")
    assert length(named) == (length(unnamed) if tts.name not in VARIES else pytest.approx(length(unnamed), rel=0.01))


def length(chunks: list[AudioChunk]) -> int:
    return sum(len(chunk.samples) for chunk in chunks)


async def test_two_sentences_at_once(tts: SpeechSynthesizer) -> None:
    """Sessions that speak at the same time get the same sound as each would alone."""
    alone = np.concatenate([chunk.samples for chunk in await speak(tts, "Hello there, you.")])
    for chunks in await asyncio.gather(*(speak(tts, "Hello there, you.") for _ in range(3))):
        together = np.concatenate([chunk.samples for chunk in chunks])
        if tts.name in VARIES:
            assert len(together) == pytest.approx(len(alone), rel=0.01)
            assert np.abs(together).max() == pytest.approx(np.abs(alone).max(), rel=0.2)
        else:
            assert np.array_equal(together, alone)


async def test_cancelling_leaves_nothing(tts: SpeechSynthesizer) -> None:
    """After it is cancelled in the middle of a sentence, it leaves no task behind, and can speak again."""
    before = asyncio.all_tasks()
    heard = asyncio.Event()

    async def listen() -> None:
        async with aclosing(tts.synthesize(wording(tts, "One two three. Four five six."))) as chunks:
            await anext(chunks)
            heard.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert asyncio.all_tasks() == before
    assert (await speak(tts, "Hello"))[-1].final


def sounding(chunks: list[AudioChunk]) -> int:
    """Return the samples from the first sound to the last. Silence around them may not follow the speed, as in Pico."""
    loud = np.flatnonzero(np.abs(np.concatenate([chunk.samples for chunk in chunks])) > 0.01)
    return int(loud[-1] - loud[0])


@pytest.mark.parametrize("speed", [0.5, 1.5, 2.0])
async def test_speed(tts: SpeechSynthesizer, speed: float) -> None:
    """At a speed, a sentence is shorter or longer accordingly, and phoneme times match the sound."""
    if tts.speeds == (1.0, 1.0):
        return
    assert tts.speeds == (0.5, 2.0)
    text = wording(tts, "I wonder how quickly you can say a sentence as long as this.")
    usual = sounding(await speak(tts, text))
    chunks = [chunk async for chunk in tts.synthesize(text, None, speed)]
    assert sounding(chunks) == pytest.approx(usual / speed, rel=0.2)
    for chunk in chunks if tts.phoneme_timing else ():
        assert chunk.phonemes or not len(chunk.samples)
        assert all(0 <= p.start_s < p.end_s <= chunk.duration_s + 1e-6 for p in chunk.phonemes or ())


async def test_closes_twice(tts: SpeechSynthesizer) -> None:
    """Closing is idempotent."""
    await tts.aclose()
    await tts.aclose()
