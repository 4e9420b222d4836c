"""`openai-transcription`: any service with OpenAI's `/v1/audio/transcriptions` (OpenAI, Speaches, LocalAI, vLLM, ...).

Format: https://platform.openai.com/docs/api-reference/audio/createTranscription. The viewers' speech is sent there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Final

from avatars.plain_sound import wav_of
from pipeline.clock import Clock, SystemClock
from pipeline.ears.whisper_words import LANGUAGES, Segment, prompt_for, words_of
from pipeline.errors import BackendUnavailable, RecognitionError
from pipeline.http_service import RETRYABLE, HttpService, Passing, once_more
from pipeline.retries import with_retries
from pipeline.text import detect_language, load_languages
from pipeline.types import LISTEN_RATE_HZ, FloatArray, Transcript

__all__ = ["OpenAITranscription"]

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES: Final = 2**20
"""Largest answer for half a minute of speech. A larger one is a fault of the service."""
CHECK_ADDRESS: Final = "Check --asr-base-url and --asr-model."


class OpenAITranscription:
    """One client for all sessions. A request that may succeed later is sent a second time."""

    name = "openai-transcription"
    languages = LANGUAGES
    at_once = 4
    partial = False

    def __init__(
        self,
        base_url: str = "",
        api_key: str = "",
        model: str = "whisper-1",
        timeout_s: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        """timeout_s: longest wait for the next byte of an answer. Raises BackendUnavailable if there is no address."""
        if not base_url:
            raise BackendUnavailable(self.name, "its address is not known", "Set --asr-base-url.")
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self.model = model
        self.timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._service = HttpService(self.name, api_key, timeout_s)

    def load(self) -> None:
        """Make the client. It does not connect yet."""
        load_languages()
        self._service.client()

    async def transcribe(self, samples: FloatArray, language: str | None = None) -> Transcript:
        """Return the words of one utterance. If cancelled, closes the connection at once. Raises RecognitionError."""
        sound = wav_of(samples, LISTEN_RATE_HZ)
        answers = with_retries(lambda: self._answer(sound, language), self._clock, once_more)
        async with aclosing(answers):
            text = _text_of(await anext(answers))
        # The service gives no confidence, so only text that is never spoken is removed.
        text = words_of([Segment(text, no_speech=0.0, log_probability=0.0, compression=1.0)])
        return Transcript(text, language or (detect_language(text, default="") if text else ""))

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        await self._service.aclose()

    async def _answer(self, sound: bytes, language: str | None) -> AsyncGenerator[bytes, None]:
        """Yield the body of an answer, in one piece."""
        import httpx2 as httpx

        client = self._service.client()
        fields = {"model": self.model, "response_format": "json"}
        fields |= {"language": language} if language else {}
        if (prompt := prompt_for(language)) is not None:
            fields["prompt"] = prompt
        try:
            async with client.stream(
                "POST",
                f"{self.base_url}/audio/transcriptions",
                headers={"Authorization": f"Bearer {self.api_key}"} if self.api_key else {},
                data=fields,
                files={"file": ("speech.wav", sound, "audio/wav")},
            ) as response:
                body = b""
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        raise RecognitionError("The recognition service does not stop answering.", CHECK_ADDRESS)
        except httpx.TimeoutException as error:
            reason = f"The recognition service gave no answer for {self.timeout_s:g} seconds."
            raise _Passing(reason, "Say it again, or type it.") from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            logger.warning("%s, %s: %s", self.name, type(error).__name__, error)
            reason = "The recognition service cannot be reached, or the connection to it was cut."
            raise _Passing(reason, "Say it again, or type it.") from error
        if response.status_code != HTTPStatus.OK:
            raise self._refusal(response.status_code, body)
        yield body

    def _refusal(self, status: int, body: bytes) -> RecognitionError:
        self._service.log(f"refused with status {status}", body)
        if status in RETRYABLE:
            return _Passing(f"The recognition service is busy (HTTP {status}).", "Say it again in a moment.")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return RecognitionError("The recognition service does not accept the key.", "Set VIVAVOCE_ASR_API_KEY.")
        return RecognitionError(f"The recognition service refused this (HTTP {status}).", CHECK_ADDRESS)


class _Passing(RecognitionError, Passing):
    """A failure after which another try may help."""


def _text_of(body: bytes) -> str:
    """Return the transcript in an answer. Raises RecognitionError if there is none."""
    try:
        text = json.loads(body)["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecognitionError("The recognition service sent no transcript.", CHECK_ADDRESS) from error
    if not isinstance(text, str):
        raise RecognitionError("The recognition service sent no transcript.", CHECK_ADDRESS)
    return text
