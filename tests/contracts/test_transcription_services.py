"""A recogniser that is a service, tested with a local server that answers in the service's own format."""

from __future__ import annotations

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator
from email.parser import BytesParser

import numpy as np
import pytest
from aiohttp import web
from fake_voice_service import EagerClock, FakeVoiceService
from microphone import speech

from pipeline.ears.openai_transcription import OpenAITranscription
from pipeline.errors import BackendUnavailable, RecognitionError
from pipeline.types import Transcript


@pytest.fixture
async def service() -> AsyncIterator[FakeVoiceService]:
    answer = json.dumps({"text": " How are you? "}).encode()
    async with FakeVoiceService(lambda _request, _content: answer).serving() as service:
        yield service


@pytest.fixture
async def recognizer(service: FakeVoiceService) -> AsyncIterator[OpenAITranscription]:
    made = OpenAITranscription(service.base_url + "/v1/", "secret", timeout_s=2.0, clock=EagerClock())
    made.load()
    yield made
    await made.aclose()
    await made.aclose()


def fields_of(request: web.Request, content: bytes) -> dict[str, bytes]:
    """Return the fields of a form: name -> content."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    form = BytesParser().parsebytes(head + content)
    parts = form.get_payload()
    assert isinstance(parts, list)
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)  # type: ignore[misc]
        for part in parts
    }


async def test_the_request_is_one_that_the_service_takes(
    recognizer: OpenAITranscription, service: FakeVoiceService
) -> None:
    """It is a form with a 16 kHz WAV file, the model and the language; spaces around the answer's text are removed."""
    assert await recognizer.transcribe(speech(1), "zh") == Transcript("How are you?", "zh")
    ((request, content),) = service.requests
    assert (request.method, request.path) == ("POST", "/v1/audio/transcriptions")
    assert request.headers["Authorization"] == "Bearer secret"
    fields = fields_of(request, content)
    assert {name: fields[name] for name in ("model", "response_format", "language")} == {
        "model": b"whisper-1",
        "response_format": b"json",
        "language": b"zh",
    }
    assert fields["prompt"].decode() == "以下是普通话的句子。"
    with wave.open(io.BytesIO(fields["file"])) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 16_000)
        assert np.frombuffer(sound.readframes(16_001), "<i2").tolist() == [16_383] * 16_000


async def test_without_a_language_the_text_tells_it(recognizer: OpenAITranscription, service: FakeVoiceService) -> None:
    """The service is left to detect the language but does not return it, so it is found from the text."""
    assert await recognizer.transcribe(speech(1)) == Transcript("How are you?", "en")
    ((request, content),) = service.requests
    assert "language" not in fields_of(request, content)


@pytest.mark.parametrize("text", ["", "   ", "[music]", "(laughs) ♪", "..."])
async def test_what_nobody_says_is_left_out(
    recognizer: OpenAITranscription, service: FakeVoiceService, text: str
) -> None:
    """Remarks about sounds are not words."""
    service.body = lambda _request, _content: json.dumps({"text": text}).encode()
    assert (await recognizer.transcribe(speech(1), "en")).text == ""


async def test_what_passes_is_asked_for_again(recognizer: OpenAITranscription, service: FakeVoiceService) -> None:
    """A service that is busy once is asked again; one that stays busy gives an error that says so."""
    service.status, service.fails = 429, 1
    assert (await recognizer.transcribe(speech(1), "en")).text
    assert len(service.requests) == 2
    service.fails = 0
    with pytest.raises(RecognitionError, match="busy"):
        await recognizer.transcribe(speech(1), "en")
    assert len(service.requests) == 4


@pytest.mark.parametrize(("status", "told"), [(401, "key"), (400, "refused"), (404, "refused"), (500, "busy")])
async def test_a_refusal_is_told_in_plain_words(
    recognizer: OpenAITranscription,
    service: FakeVoiceService,
    status: int,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error names the cause; the service's own message goes to the log, without the key."""
    service.status, service.refusal = status, b"<html>the key secret is wrong</html>" * 10
    with pytest.raises(RecognitionError, match=told) as caught:
        await recognizer.transcribe(speech(1), "en")
    assert caught.value.hint
    assert "secret" not in caplog.text
    assert "***" in caplog.text


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b"{}", b'{"text": 3}', b"", b"\xff", b"null"])
async def test_something_else_than_a_transcript_is_an_error(
    recognizer: OpenAITranscription, service: FakeVoiceService, body: bytes
) -> None:
    """An answer such as a proxy's page is an error, and the request is not repeated."""
    service.body = lambda _request, _content: body
    with pytest.raises(RecognitionError, match="no transcript"):
        await recognizer.transcribe(speech(1), "en")
    assert len(service.requests) == 1


async def test_an_answer_without_end_is_given_up(recognizer: OpenAITranscription, service: FakeVoiceService) -> None:
    """A transcript of half a minute never has a megabyte."""
    service.body = lambda _request, _content: b" " * (2**20 + 1)
    service.piece_bytes = 2**16
    with pytest.raises(RecognitionError, match="does not stop"):
        await recognizer.transcribe(speech(1), "en")


async def test_half_an_answer_is_an_error(recognizer: OpenAITranscription, service: FakeVoiceService) -> None:
    """After a cut connection the request is repeated once; then it is an error."""
    service.after = "die"
    service.piece_bytes = 4
    with pytest.raises(RecognitionError, match=r"cut|no transcript"):
        await recognizer.transcribe(speech(1), "en")
    assert len(service.requests) == 2


async def test_silence_of_the_service_is_an_error(service: FakeVoiceService) -> None:
    """It is an error after the timeout has passed twice without a byte."""
    service.after = "hang"
    recognizer = OpenAITranscription(service.base_url, timeout_s=1.0, clock=EagerClock())
    with pytest.raises(RecognitionError, match="no answer for 1 seconds"):
        await recognizer.transcribe(speech(1), "en")
    assert len(service.requests) == 2
    await recognizer.aclose()


async def test_cancelling_closes_the_connection(recognizer: OpenAITranscription, service: FakeVoiceService) -> None:
    """Whoever stops waiting disconnects from the service at once."""
    service.after = "hang"
    run = asyncio.create_task(recognizer.transcribe(speech(1), "en"))
    async with asyncio.timeout(30):
        while not service.requests:  # noqa: ASYNC110 - a server has no event for it
            await asyncio.sleep(0.001)
        run.cancel()
        await service.left.wait()


async def test_nobody_at_the_address_is_an_error() -> None:
    """The error says that the service cannot be reached. Without an address, no recogniser is created."""
    recognizer = OpenAITranscription("http://127.0.0.1:9", clock=EagerClock())
    with pytest.raises(RecognitionError, match="cannot be reached"):
        await recognizer.transcribe(speech(1), "en")
    await recognizer.aclose()
    with pytest.raises(BackendUnavailable) as caught:
        OpenAITranscription()
    assert "--asr-base-url" in caught.value.hint
