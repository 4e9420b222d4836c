"""`auto`: picks the voice for each sentence by its language and by what can be reached."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from pipeline.clock import Clock, SystemClock
from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.interfaces import SpeechSynthesizer
from pipeline.text import detect_language
from pipeline.tts.edge import EdgeSynthesizer
from pipeline.tts.hibari import HibariSynthesizer
from pipeline.types import AudioChunk

__all__ = ["AutoSynthesizer"]

logger = logging.getLogger(__name__)

RECHECK_S = 60.0
"""How long it is believed that the online voice can, or cannot, be reached."""

_LANGUAGES = {
    "am": "Amharic",
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "gu": "Gujarati",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ka": "Georgian",
    "km": "Khmer",
    "kn": "Kannada",
    "ko": "Korean",
    "lo": "Lao",
    "ml": "Malayalam",
    "mr": "Marathi",
    "my": "Burmese",
    "nb": "Norwegian",
    "ne": "Nepali",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "si": "Sinhala",
    "sk": "Slovak",
    "sv": "Swedish",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


class AutoSynthesizer:
    """English by `hibari`, on this machine; other languages by `edge`, where there is a network.

    Naming one of edge's voices makes edge speak English too, with hibari to fall back on.
    """

    name = "auto"
    streaming = True

    def __init__(
        self,
        offline: SpeechSynthesizer | None = None,
        online: EdgeSynthesizer | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Without arguments: hibari and edge, as far as they are installed. Raises BackendUnavailable."""
        self._offline = offline or _if_installed(HibariSynthesizer)
        self._online = online or _if_installed(EdgeSynthesizer)
        if self._offline is None and self._online is None:
            raise BackendUnavailable(self.name, "no voice is installed", "pip install hibari-tts edge-tts")
        self._clock = clock or SystemClock()
        self._probing = asyncio.Lock()
        self._is_reachable = False
        self._believed_until_s = float("-inf")
        self._avoided_until_s = float("-inf")

    @property
    def _backends(self) -> list[SpeechSynthesizer]:
        return [backend for backend in (self._offline, self._online) if backend is not None]

    @property
    def sample_rate(self) -> int:
        return self._backends[0].sample_rate

    @property
    def phoneme_timing(self) -> bool:
        return self._backends[0].phoneme_timing

    @property
    def languages(self) -> frozenset[str]:
        """Those spoken offline, and edge's too while it is known to be reachable."""
        offline = self._offline.languages if self._offline else frozenset()
        return offline | self._online.languages if self._online and self._is_reachable else offline

    @property
    def voices(self) -> tuple[str, ...]:
        return tuple(voice for backend in self._backends for voice in backend.voices)

    @property
    def online_voices(self) -> frozenset[str]:
        return frozenset().union(*(backend.online_voices for backend in self._backends))

    def describe(self, language: str = "en", voice: str | None = None) -> str:
        """Which voice speaks that language as far as is known now, e.g. "hibari (heart)"; empty for none."""
        for backend in self._candidates(language, voice):
            if backend is self._offline or self._is_reachable:
                chosen = voice if voice in backend.voices else None
                return f"{backend.name} ({chosen})" if chosen else backend.name
        return ""

    def load(self) -> None:
        """Load the voice of this machine; the online one is loaded when a sentence first asks for it."""
        self._backends[0].load()

    async def synthesize(self, text: str, voice: str | None = None) -> AsyncIterator[AudioChunk]:
        if voice is not None and voice not in self.voices:
            raise SpeechError(f"There is no voice '{voice}' here.", f"Choose one of: {', '.join(self.voices)}.")
        language = detect_language(text)
        online = self._online is not None and language in self._online.languages
        failure: SpeechError = _no_voice_for(language, online)
        candidates = self._candidates(language, voice)
        for backend in candidates:
            if backend is self._online and not await self._should_try_online(alone=len(candidates) == 1):
                continue
            started = False
            try:
                async with aclosing(_speech(backend, text, voice)) as chunks:
                    async for chunk in chunks:
                        started = True
                        yield chunk
                return
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

    def _candidates(self, language: str, voice: str | None) -> list[SpeechSynthesizer]:
        """Who might speak it, the preferred one first."""
        able = [backend for backend in self._backends if language in backend.languages]
        wants_online = self._online is not None and voice in self._online.voices
        return able[::-1] if wants_online else able[:1]

    async def _should_try_online(self, alone: bool) -> bool:
        """alone: no other voice can speak the sentence. Then a failure before costs the sentence nothing but a look
        whether the network is there; else the other voice is preferred for a while.
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
                    self._believe(False)
                else:
                    self._believe(True)
        return self._is_reachable

    def _believe(self, is_reachable: bool) -> None:
        self._is_reachable = is_reachable
        self._believed_until_s = self._clock.now_s() + RECHECK_S


def _speech(backend: SpeechSynthesizer, text: str, voice: str | None) -> Any:
    return backend.synthesize(text, voice if voice in backend.voices else None)


def _if_installed(backend: type[Any]) -> Any:
    try:
        return backend()
    except BackendUnavailable as error:
        logger.info("%s", error)
        return None


def _no_voice_for(language: str, online: bool) -> LanguageNotSupported:
    """online: whether there is an online voice for it."""
    named = _LANGUAGES.get(language, "this language")
    if not online:
        return LanguageNotSupported(f"No voice here speaks {named}.", "It is shown as text only.")
    return LanguageNotSupported(
        f"No voice here speaks {named} without a network.",
        "English is spoken offline; connect to the network and other languages are spoken by online voices.",
    )
