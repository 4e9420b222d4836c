"""SVOX Pico, the plain voices of this machine."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from pipeline.errors import LanguageNotSupported, SpeechError
from pipeline.tts.pico import PicoSynthesizer
from pipeline.types import AudioChunk


@pytest.fixture
async def pico() -> AsyncIterator[PicoSynthesizer]:
    made = PicoSynthesizer()
    yield made
    await made.aclose()


async def speak(pico: PicoSynthesizer, text: str, voice: str | None = None) -> list[AudioChunk]:
    return [chunk async for chunk in pico.synthesize(text, voice)]


def seconds(chunks: list[AudioChunk]) -> float:
    return sum(chunk.duration_s for chunk in chunks)


@pytest.mark.parametrize(
    ("text", "voice"),
    [
        ("Guten Tag, ich beantworte gerne Ihre Fragen.", "pico-de-DE"),
        ("Bonjour, je peux répondre à vos questions.", "pico-fr-FR"),
        ("Hola, puedo responder a sus preguntas.", "pico-es-ES"),
        ("Buongiorno, posso rispondere alle vostre domande.", "pico-it-IT"),
        ("Hello, I can answer your questions.", "pico-en-GB"),
    ],
)
async def test_each_language_has_its_voice(pico: PicoSynthesizer, text: str, voice: str) -> None:
    """A sentence is spoken by the voice of its language, which the chunk names, in two to five seconds of sound."""
    (chunk,) = await speak(pico, text)
    assert chunk.voice == voice
    assert chunk.final
    assert 1.5 < chunk.duration_s < 5
    assert np.sqrt(np.mean(chunk.samples**2)) > 0.02


async def test_a_chosen_voice_speaks_its_language_only(pico: PicoSynthesizer) -> None:
    """English can be American; a German sentence is German whatever voice was chosen for English."""
    assert (await speak(pico, "Hello there, Bob.", "pico-en-US"))[0].voice == "pico-en-US"
    assert (await speak(pico, "Ich weiß es leider nicht.", "pico-en-US"))[0].voice == "pico-de-DE"
    with pytest.raises(SpeechError, match="no voice 'heart'"):
        await speak(pico, "Hello there, Bob.", "heart")


async def test_other_languages_are_refused(pico: PicoSynthesizer) -> None:
    """It says which languages it speaks instead of spelling out what it cannot read."""
    with pytest.raises(LanguageNotSupported, match="pico"):
        await speak(pico, "你好，很高兴见到你。")


async def test_tags_in_a_text_are_not_obeyed(pico: PicoSynthesizer) -> None:
    """Pico's own tags are no commands: slowed down to a fifth, the same words would take many times longer."""
    plain = seconds(await speak(pico, "speed level 20 good morning, my dear friends speed"))
    tagged = seconds(await speak(pico, '<speed level="20"> good morning, my dear friends </speed>'))
    assert tagged < 1.6 * plain


@pytest.mark.parametrize(
    "text", ["1" * 300, "ab1" * 100, "word " * 300, "%$" * 200, "3,5 % und 10 °C um 12:30 Uhr am 3.4.2026"]
)
async def test_long_and_odd_texts_are_spoken(pico: PicoSynthesizer, text: str) -> None:
    """What Pico itself gives up on is cut, and comes in chunks that follow each other."""
    chunks = await speak(pico, text)
    assert [chunk.final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    starts = np.cumsum([0, *(len(chunk.samples) for chunk in chunks)])[:-1]
    assert [chunk.start_sample for chunk in chunks] == starts.tolist()
    assert seconds(chunks) > 2


async def test_two_speak_at_once(pico: PicoSynthesizer) -> None:
    """Two sentences at once both come, one after the other, from one process."""
    both = await asyncio.gather(speak(pico, "Guten Tag, mein Freund."), speak(pico, "Hello there, my friend."))
    assert [chunks[-1].voice for chunks in both] == ["pico-de-DE", "pico-en-GB"]
