"""`openai-transcription`: any service with OpenAI's `/v1/audio/transcriptions` (OpenAI, Speaches, LocalAI, vLLM, ...).

Format: https://platform.openai.com/docs/api-reference/audio/createTranscription. What viewers say is sent there.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import wave
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.clock import Clock, SystemClock
from pipeline.ears.whisper_words import LANGUAGES, Segment, prompt_for, words_of
from pipeline.errors import BackendUnavailable, RecognitionError
from pipeline.text import detect_language, load_languages
from pipeline.types import LISTEN_RATE_HZ, FloatArray, Transcript

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["OpenAITranscription"]

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
PAUSE_BEFORE_RETRY_S: Final = 0.5
MAX_ANSWER_BYTES: Final = 2**20
"""Of half a minute of speech. More is a fault of the service."""
LOGGED_BYTES: Final = 300
RETRYABLE: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
CHECK_ADDRESS: Final = "Check --asr-base-url and --asr-model."


class OpenAITranscription:
    """One client for all sessions. A request that may succeed later is sent once more."""

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
        """timeout_s: longest time without a byte of an answer. Raises BackendUnavailable: there is no address."""
        if not base_url:
            raise BackendUnavailable(self.name, "its address is not known", "Set --asr-base-url.")
        if importlib.util.find_spec("httpx2") is None:
            raise BackendUnavailable(self.name, "the package httpx2 is missing", "pip install httpx2")
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self.model = model
        self.timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._client: httpx.AsyncClient | None = None

    def load(self) -> None:
        """Make the client; connects to nothing yet."""
        load_languages()
        self._connected()

    async def transcribe(self, samples: FloatArray, language: str | None = None) -> Transcript:
        """A cancelled run closes the connection at once. Raises RecognitionError."""
        sound = _as_wav(samples)
        for attempt in (1, 2):
            try:
                text = _text_of(await self._answer(sound, language))
                break
            except _Passing as error:
                if attempt == 2:
                    raise RecognitionError(error.message, error.hint) from error
                await self._clock.sleep_until(self._clock.now_s() + PAUSE_BEFORE_RETRY_S)
        # The service does not say how sure it is, so only what is never spoken is left out.
        text = words_of([Segment(text, no_speech=0.0, log_probability=0.0, compression=1.0)])
        return Transcript(text, language or (detect_language(text, default="") if text else ""))

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx2 as httpx

            timeout = httpx.Timeout(self.timeout_s, connect=CONNECT_TIMEOUT_S)
            # Nothing compressed: a small answer could grow without bound.
            self._client = httpx.AsyncClient(timeout=timeout, headers={"Accept-Encoding": "identity"})
        return self._client

    async def _answer(self, sound: bytes, language: str | None) -> bytes:
        import httpx2 as httpx

        client = self._connected()
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
        return body

    def _refusal(self, status: int, body: bytes) -> RecognitionError:
        told = body[:LOGGED_BYTES].decode("utf-8", "replace")
        if self.api_key:
            told = told.replace(self.api_key, "***")
        logger.warning("%s refused with status %d: %s", self.name, status, "".join(filter(str.isprintable, told)))
        if status in RETRYABLE:
            return _Passing(f"The recognition service is busy (HTTP {status}).", "Say it again in a moment.")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return RecognitionError("The recognition service does not accept the key.", "Set VIVAVOCE_ASR_API_KEY.")
        return RecognitionError(f"The recognition service refused this (HTTP {status}).", CHECK_ADDRESS)


class _Passing(RecognitionError):
    """A failure after which another try may help."""


def _as_wav(samples: FloatArray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(LISTEN_RATE_HZ)
        written.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def _text_of(body: bytes) -> str:
    """Raises RecognitionError: this is no transcript."""
    try:
        text = json.loads(body)["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecognitionError("The recognition service sent no transcript.", CHECK_ADDRESS) from error
    if not isinstance(text, str):
        raise RecognitionError("The recognition service sent no transcript.", CHECK_ADDRESS)
    return text
