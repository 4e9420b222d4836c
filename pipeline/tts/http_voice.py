"""The base of voices that a service speaks over HTTP: deadlines, errors, and decoding sound as it arrives.

A subclass defines the request and the decoder. All sessions share its connections. Before the first sound, a request
that may succeed later is sent a second time. After it no request is repeated, so nothing is said twice.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, TypeAlias

import numpy as np

from pipeline.clock import Clock, SystemClock
from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.http_service import (
    LOGGED_BYTES,
    MAX_PAUSE_S,
    PAUSE_BEFORE_RETRY_S,
    RETRYABLE,
    HttpService,
    Passing,
    once_more,
)
from pipeline.retries import with_retries
from pipeline.text import LANGUAGE_NAMES, OTHER_LANGUAGES, detect_language, language_name, load_languages
from pipeline.tts.speed import ONE_SPEED
from pipeline.tts.voice_names import require_voice
from pipeline.types import AudioChunk, FloatArray

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["ANY_LANGUAGE", "Asking", "HttpVoice", "PcmDecoder", "ServiceRefusal", "SoundDecoder", "WavDecoder"]

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_S: Final = 3.0
CHUNK_S: Final = 0.2
"""Shortest chunk, whatever pieces the network delivers."""
MAX_SENTENCE_BYTES: Final = 64 * 2**20
"""Limit for a sentence: ten minutes of 48 kHz sound. More is a fault of the service."""
MAX_HEADER_BYTES: Final = 64 * 2**10
ANY_LANGUAGE: Final = frozenset(LANGUAGE_NAMES | OTHER_LANGUAGES)
"""Languages of a service that detects the language itself."""
Asking: TypeAlias = "Callable[[httpx.AsyncClient], httpx.Request]"
"""Makes the request for a sentence."""


class SoundDecoder(Protocol):
    """Decodes the bytes of a service to float32 mono at `sample_rate`."""

    sample_rate: int

    def push(self, data: bytes) -> FloatArray:
        """Take bytes, and return the samples that are complete.

        Raises ServiceRefusal, and SpeechError if it is no sound.
        """
        ...

    def finish(self) -> FloatArray:
        """Return the remaining samples at the end of the answer. Raises as push() does."""
        ...


class ServiceRefusal(Exception):
    """The service refuses to speak, in an answer with a good status. HttpVoice turns it into a SpeechError.

    like_status: the HTTP status with the same meaning. It decides what the viewer is told, and whether to retry.
    code: the service's name for the error. words: its message, for the log.
    """

    def __init__(self, like_status: int, code: str, words: str) -> None:
        super().__init__(code)
        self.like_status = like_status
        self.code = code
        self.words = words


class PcmDecoder:
    """Decodes 16-bit little-endian mono samples without a header, split anywhere."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._odd = b""

    def push(self, data: bytes) -> FloatArray:
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        return np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768)

    def finish(self) -> FloatArray:
        return np.zeros(0, np.float32)


class WavDecoder:
    """Decodes a WAV file of 16-bit mono samples in pieces. Ignores lengths in its header: in streams they are wrong."""

    def __init__(self) -> None:
        self.sample_rate = 0
        self._header = b""
        self._pcm: PcmDecoder | None = None

    def push(self, data: bytes) -> FloatArray:
        if self._pcm is not None:
            return self._pcm.push(data)
        self._header += data
        at = self._header.find(b"data", 12)
        if at < 0 or len(self._header) < at + 8:
            if len(self._header) > MAX_HEADER_BYTES or not b"RIFF".startswith(self._header[:4]):
                raise SpeechError(
                    "The voice service sent something else than a WAV file.", "Check --tts-base-url.", cause="not_sound"
                )
            return np.zeros(0, np.float32)
        self._pcm = PcmDecoder(self._read_format(self._header[:at]))
        return self._pcm.push(self._header[at + 8 :])

    def finish(self) -> FloatArray:
        return np.zeros(0, np.float32)

    def _read_format(self, header: bytes) -> int:
        at = header.find(b"fmt ", 12)
        coding, channels = (int.from_bytes(header[at + place : at + place + 2], "little") for place in (8, 10))
        bits = int.from_bytes(header[at + 22 : at + 24], "little")
        self.sample_rate = int.from_bytes(header[at + 12 : at + 16], "little")
        # 65534 is WAVE_FORMAT_EXTENSIBLE; with 16-bit samples that is PCM.
        if at < 0 or coding not in (1, 65534) or channels != 1 or bits != 16 or not 8000 <= self.sample_rate <= 192000:
            raise SpeechError(
                "The voice service sent sound that is not 16-bit mono PCM.",
                "Change the output format of the service.",
                cause="not_sound",
            )
        return self.sample_rate


class HttpVoice(ABC):
    """One client for all sessions. Subclasses set `name`, `service_name` and `default_url`, and override request()."""

    name: ClassVar[str]
    service_name: ClassVar[str]
    "name of the service that gets the text, for people"
    default_url: ClassVar[str] = ""
    default_model: ClassVar[str] = ""
    default_voices: ClassVar[tuple[str, ...]] = ("default",)
    needs_key: ClassVar[bool] = False
    key_form: ClassVar[str] = ""
    "form of a key that consists of two parts with a colon between"
    answers_in_text: ClassVar[bool] = False
    "True: the sound is inside JSON or events, so a content type of text is expected"
    languages: frozenset[str] = ANY_LANGUAGE
    languages_by_model: ClassVar[Mapping[str, frozenset[str]]] = MappingProxyType({})
    "languages by model, where they differ from those of the class"
    sample_rate: int = 24_000
    streaming = True
    phoneme_timing = False
    speeds: tuple[float, float] = ONE_SPEED

    def __init__(
        self,
        base_url: str = "",
        api_key: str = "",
        model: str = "",
        voices: Sequence[str] = (),
        options: Mapping[str, object] | None = None,
        timeout_s: float = 15.0,
        clock: Clock | None = None,
        avatars_folder: str = "",
        at_usual_address: bool = True,
    ) -> None:
        """Empty arguments mean the backend's defaults.

        voices: the service's voices to offer, the default first. options: fields added to each request unchanged, in
        the service's own names. timeout_s: longest time without sound. avatars_folder: the folder of all avatars as
        seen by a service that opens voice samples itself; empty: the same path as here. at_usual_address: False: use
        the service only if an address is given.

        Raises BackendUnavailable if there is no address or no key, or if a package is missing.
        """
        self.base_url = (base_url or (self.default_url if at_usual_address else "")).rstrip("/")
        self.api_key = api_key
        self.model = model or self.default_model
        self.voices: tuple[str, ...] = tuple(voices) or self.default_voices
        self.options: Mapping[str, object] = dict(options or {})
        self.online_voices = frozenset(self.voices)
        self.languages = frozenset().union(*map(self.spoken_by, self.voices))
        self.timeout_s = timeout_s
        self._service = HttpService(self.name, api_key, timeout_s)
        if not self.base_url and self.default_url:
            remedy = f"The operator can choose it with --tts, or name it in tts_services: {self.name}."
            raise BackendUnavailable(self.name, "its service is not set up here", remedy)
        if not self.base_url:
            raise BackendUnavailable(self.name, "its address is not known", "Set --tts-base-url.")
        if self.needs_key and not api_key:
            raise BackendUnavailable(self.name, "there is no key for it", "Set VIVAVOCE_TTS_API_KEY.")
        if self.key_form and ":" not in api_key:
            remedy = f"Set VIVAVOCE_TTS_API_KEY={self.key_form}."
            raise BackendUnavailable(self.name, f"its key is not {self.key_form}", remedy)
        self.avatars_folder = avatars_folder.rstrip("/\\")
        self._clock = clock or SystemClock()

    @abstractmethod
    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        """Make the request to say `text`. Voices with one speed need not take `speed`."""

    def speed_fields(self, speed: float) -> Mapping[str, object]:
        """Return fields, in the service's names, for a speed relative to the normal one."""
        return {}

    def fields(self, speed: float) -> dict[str, object]:
        """Return the options of a request, with the fields for that speed. Fields that are tables are merged."""
        fields = dict(self.options)
        for name, value in self.speed_fields(speed).items() if speed != 1 else ():
            wished = fields.get(name)
            fields[name] = {**wished, **value} if isinstance(wished, dict) and isinstance(value, dict) else value
        return fields

    def spoken_by(self, voice: str) -> frozenset[str]:
        """Return the languages of one of the voices."""
        return self.languages_by_model.get(self.model, type(self).languages)

    def decoder(self) -> SoundDecoder:
        """Return a decoder for the body of one answer."""
        return PcmDecoder(self.sample_rate)

    def load(self) -> None:
        """Make the client. It does not connect yet."""
        load_languages()
        self._service.client()

    async def probe(self) -> None:
        """Check that something answers at the address. Raises BackendUnavailable."""
        import httpx2 as httpx

        try:
            await self._service.client().head(self.base_url, timeout=PROBE_TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BackendUnavailable(self.name, f"{self.service_name} cannot be reached", "Start it.") from error

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak a sentence. If cancelled, closes the connection at once. Raises SpeechError, LanguageNotSupported."""
        require_voice(self.name, self.voices, voice)
        chosen = voice or self.voices[0]
        asked = (text, chosen) if speed == 1 else (text, chosen, speed)
        async with aclosing(self.spoken(text, chosen, lambda client: self.request(client, *asked))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def spoken(self, text: str, voice: str, asking: Asking) -> AsyncGenerator[AudioChunk, None]:
        """Speak a sentence by that request. Raises as synthesize() does."""
        self._check_language(text, voice)
        start_sample = 0
        rate_hz = self.sample_rate
        if any(map(str.isalnum, text)):
            pieces = with_retries(lambda: self._sound(asking), self._clock, once_more)
            async with aclosing(pieces):
                async for samples, rate_hz in pieces:
                    yield AudioChunk(samples, rate_hz, start_sample, voice=voice)
                    start_sample += len(samples)
        yield AudioChunk(np.zeros(0, np.float32), rate_hz, start_sample, final=True, voice=voice)

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        await self._service.aclose()

    def _check_language(self, text: str, voice: str) -> None:
        """Raise LanguageNotSupported if needed: services read unknown languages as if they were something else."""
        spoken = self.spoken_by(voice)
        language = detect_language(text)
        if spoken == ANY_LANGUAGE or language in spoken:
            return
        named = language_name(language)
        raise LanguageNotSupported(f"The voice '{voice}' of {self.name} does not speak {named}.", "Use another voice.")

    async def _sound(self, asking: Asking) -> AsyncGenerator[tuple[FloatArray, int], None]:
        """Yield samples and rate of one answer, in pieces of at least CHUNK_S except for the last."""
        decoder = self.decoder()
        held: list[FloatArray] = []
        held_samples = 0
        came = False
        left = MAX_SENTENCE_BYTES
        try:
            async with aclosing(self._answer(asking)) as pieces:
                async for piece in pieces:
                    left -= len(piece)
                    if left < 0:
                        reason = f"{self.service_name} does not stop speaking."
                        raise SpeechError(reason, "Try another voice.", cause="not_sound")
                    samples = decoder.push(piece)
                    if not len(samples):
                        continue
                    held.append(samples)
                    held_samples += len(samples)
                    if decoder.sample_rate and held_samples >= CHUNK_S * decoder.sample_rate:
                        came = True
                        yield np.concatenate(held), decoder.sample_rate
                        held, held_samples = [], 0
            held.append(decoder.finish())
        except ServiceRefusal as refusal:
            raise self._refusal(refusal.like_status, refusal.code, refusal.words.encode()) from refusal
        rest = np.concatenate(held)
        if len(rest):
            yield rest, decoder.sample_rate
        elif not came:
            reason = f"{self.service_name} gave no sound for this sentence."
            raise SpeechError(reason, "Try another voice.", cause="silent")

    async def _answer(self, asking: Asking) -> AsyncGenerator[bytes, None]:
        import httpx2 as httpx

        client = self._service.client()
        try:
            response = await client.send(asking(client), stream=True)
            try:
                if response.status_code != 200:
                    status, asked_pause_s = response.status_code, _pause_s(response.headers.get("Retry-After", ""))
                    raise self._refusal(status, f"HTTP {status}", await _beginning(response), asked_pause_s)
                if not self.answers_in_text and _is_words(response):
                    raise self._words_for_sound(await _beginning(response))
                async for piece in response.aiter_bytes():
                    yield piece
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            reason = f"{self.service_name} gave no sound for {self.timeout_s:g} seconds."
            raise _Passing(reason, "Try again, or choose another voice.", cause="silent") from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            logger.warning("%s, %s: %s", self.name, type(error).__name__, error)
            reason = f"{self.service_name} cannot be reached, or the connection to it was cut."
            raise _Passing(reason, "Check that it runs, or choose another voice.", cause="unreachable") from error

    def _refusal(self, status: int, code: str, body: bytes, pause_s: float = PAUSE_BEFORE_RETRY_S) -> SpeechError:
        """Return the error for a refusal.

        status: HTTP status, real or equivalent. pause_s: pause that the service asks for.
        """
        self._service.log(f"refused with {code}", body)
        if status in RETRYABLE:
            when = f"in {pause_s:g} seconds" if pause_s > MAX_PAUSE_S else "in a moment"
            return _Passing(
                f"{self.service_name} is busy ({code}).", f"Try again {when}.", cause="busy", pause_s=pause_s
            )
        if status in (401, 403):
            reason = f"{self.service_name} does not accept the key ({code})."
            return SpeechError(reason, "Set VIVAVOCE_TTS_API_KEY.", cause="key")
        if status == 402:
            reason = f"{self.service_name} refused to speak: the account has no credit left ({code})."
            return SpeechError(reason, "Add credit at the service, or choose another voice.", cause="credit")
        reason = f"{self.service_name} refused to speak ({code})."
        return SpeechError(reason, "The log of the portal says more.", cause="refused")

    def _words_for_sound(self, body: bytes) -> SpeechError:
        self._service.log("sent words instead of sound", body)
        reason = f"{self.service_name} sent a page or a message instead of sound."
        return SpeechError(reason, "Check --tts-base-url; the log of the portal says more.", cause="not_sound")


class _Passing(SpeechError, Passing):
    """An error after which another try may help, `pause_s` later."""

    def __init__(self, message: str, hint: str, *, cause: str, pause_s: float = PAUSE_BEFORE_RETRY_S) -> None:
        super().__init__(message, hint, cause=cause)
        self.pause_s = pause_s


def _is_words(response: httpx.Response) -> bool:
    """Whether a good answer declares itself as text. Headerless sound could not be told from a page otherwise."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind == "application/json"


def _pause_s(retry_after: str) -> float:
    """Return the seconds in a Retry-After header. A date, or an empty one, counts as the usual pause."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else PAUSE_BEFORE_RETRY_S


async def _beginning(response: httpx.Response) -> bytes:
    """Read as much of a refusal as is logged."""
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) >= LOGGED_BYTES:
            break
    return body[:LOGGED_BYTES]
