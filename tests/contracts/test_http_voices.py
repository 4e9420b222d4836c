"""What every HTTP voice does, tested with a local server that answers in the service's own format."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest
from fake_voice_service import EagerClock, FakeVoiceService, pcm_tone

from pipeline import registry
from pipeline.errors import BackendUnavailable, SpeechError
from pipeline.tts.http_voice import HttpVoice
from pipeline.types import AudioChunk
from tests.voice_wires import TEXT, WIRES, Wire, speak


def test_every_voice_of_a_service_is_tried() -> None:
    """The table of formats has an entry for each HTTP voice in the registry."""
    rows = {name for name in registry.names("tts") if issubclass(registry.backend_class("tts", name), HttpVoice)}
    assert rows == set(WIRES)


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> tuple[str, Wire]:
    return request.param, WIRES[request.param]


@pytest.fixture
async def house(wire: tuple[str, Wire]) -> AsyncIterator[tuple[FakeVoiceService, HttpVoice]]:
    name, format_ = wire
    async with FakeVoiceService(format_.body, headers=format_.headers).serving() as service:
        options = {"api_key": format_.api_key, "timeout_s": 2.0, "clock": EagerClock()}
        voice = registry.create("tts", name, base_url=service.base_url, **options)
        yield service, voice
        await voice.aclose()
        await voice.aclose()


async def test_it_speaks_as_the_service_does(house: tuple[FakeVoiceService, HttpVoice], wire: tuple[str, Wire]) -> None:
    """The service accepts the request; its second of sound arrives in several chunks, unchanged."""
    service, voice = house
    chunks = await speak(voice)
    ((request, content),) = service.requests
    assert wire[1].is_request(request, content, voice.voices[0])
    assert [chunk.final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    sound = np.concatenate([chunk.samples for chunk in chunks])
    rate_hz = chunks[0].sample_rate
    assert len(sound) == rate_hz
    assert len(chunks) >= (2 if wire[1].comes_whole else 4)
    assert np.allclose(sound, np.frombuffer(pcm_tone(1.0, rate_hz), "<i2") / 32768, atol=0.01)
    assert {chunk.voice for chunk in chunks} == {voice.voices[0]}


async def test_what_passes_is_asked_for_again(house: tuple[FakeVoiceService, HttpVoice]) -> None:
    """A service that is busy once is asked again; one that stays busy gives an error that says so."""
    service, voice = house
    service.status, service.fails = 503, 1
    assert len(await speak(voice)) >= 2
    assert len(service.requests) == 2
    service.fails = 0
    with pytest.raises(SpeechError, match="busy"):
        await speak(voice)
    assert len(service.requests) == 4


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "key"), (402, "credit"), (400, "refused"), (404, "refused"), (429, "busy"), (500, "busy")],
)
async def test_a_refusal_is_told_in_plain_words(
    house: tuple[FakeVoiceService, HttpVoice], status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the cause; the service's own message goes to the log, without the key."""
    service, voice = house
    service.status, service.refusal = status, b"<html>the key secret is wrong</html>" * 10
    with pytest.raises(SpeechError, match=told) as caught:
        await speak(voice)
    assert caught.value.hint
    assert caught.value.cause == told
    assert "secret" not in caplog.text
    assert "***" in caplog.text


@pytest.mark.parametrize("after", ["die", "hang"])
async def test_half_an_answer_is_an_error_after_its_sound(
    house: tuple[FakeVoiceService, HttpVoice], wire: tuple[str, Wire], after: str
) -> None:
    """The received half is spoken, then the error is raised. The request is not repeated, so nothing is said twice."""
    service, voice = house
    service.after = after
    came: list[AudioChunk] = []
    with pytest.raises(SpeechError, match=r"cut|no sound"):
        async for chunk in voice.synthesize(TEXT):
            came += [chunk]
    assert not any(chunk.final for chunk in came)
    assert (bool(came), len(service.requests)) == ((False, 2) if wire[1].comes_whole else (True, 1))


async def test_cancelling_closes_the_connection(
    house: tuple[FakeVoiceService, HttpVoice], wire: tuple[str, Wire]
) -> None:
    """Whoever stops listening disconnects from the service at once, also before any sound has come."""
    service, voice = house
    service.after = "hang"
    async with asyncio.timeout(30):
        if wire[1].comes_whole:
            listening = asyncio.create_task(speak(voice))
            await service.sent.wait()
            listening.cancel()
        else:
            async with aclosing(voice.synthesize(TEXT)) as chunks:
                await anext(chunks)
        await service.left.wait()


async def test_who_asks_for_a_long_pause_is_not_asked_again(house: tuple[FakeVoiceService, HttpVoice]) -> None:
    """A service that names a long pause is not asked again: the error says when to try again."""
    service, voice = house
    service.status, service.headers = 429, {"Retry-After": "30"}
    with pytest.raises(SpeechError, match="busy") as caught:
        await speak(voice)
    assert "30 seconds" in caught.value.hint
    assert len(service.requests) == 1


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
async def test_a_page_is_not_played_as_sound(house: tuple[FakeVoiceService, HttpVoice], kind: str) -> None:
    """A successful answer whose type is text is an error, whatever it contains."""
    service, voice = house
    service.headers, service.body = {"Content-Type": kind}, lambda _request, _content: b"<html>Welcome</html>" * 999
    with pytest.raises(SpeechError, match="instead of sound") as caught:
        await speak(voice)
    assert caught.value.cause == "not_sound"
    assert len(service.requests) == 1


async def test_something_else_than_sound_is_an_error(house: tuple[FakeVoiceService, HttpVoice]) -> None:
    """An empty answer is an error, not a silent sentence."""
    service, voice = house
    service.body = lambda _request, _content: b""
    with pytest.raises(SpeechError):
        await speak(voice)


async def test_nothing_to_say_asks_nobody(house: tuple[FakeVoiceService, HttpVoice]) -> None:
    """Text without a word gives one empty, final chunk, without a request."""
    service, voice = house
    (chunk,) = await speak(voice, "...")
    assert chunk.final
    assert not service.requests


async def test_reach(house: tuple[FakeVoiceService, HttpVoice], wire: tuple[str, Wire]) -> None:
    """Probing tells a service that answers from one that is not there."""
    _service, voice = house
    await voice.probe()
    absent = registry.create("tts", wire[0], base_url="http://127.0.0.1:9", api_key=wire[1].api_key)
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await absent.probe()
    with pytest.raises(SpeechError, match="cannot be reached"):
        await speak(absent)
    await absent.aclose()
