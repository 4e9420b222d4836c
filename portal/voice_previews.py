"""VoicePreviews: speaks one short sentence with a voice, for people who are choosing one."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict, defaultdict
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import numpy as np

from avatars.plain_sound import wav_of
from pipeline import registry
from pipeline.backends import Backends
from pipeline.errors import AskedTooOften, BadRequest, SpeechError
from pipeline.interfaces import SpeechSynthesizer
from pipeline.polish import VoicePolish
from pipeline.tts.auto import AutoSynthesizer
from pipeline.tts.http_voice import HttpVoice
from pipeline.types import FloatArray
from portal.http.limits import AddressShares

__all__ = ["SENTENCES", "VoicePreviews", "language_for"]

AT_A_TIME: Final = 2
"""Previews that one backend makes at a time. Voices on this machine take processor time from live sessions."""
MAX_PREVIEWS: Final = 16
"""Most different previews of one backend that are being made or wait for it."""
MAX_PREVIEWS_EACH: Final = 3
"""Most previews that one address may wait for. A page asks for one, and gives up the one before."""
LONGEST_S: Final = 10.0
"""Longest sound of a preview."""
KEPT_BYTES: Final = 32 * 2**20
"""Most memory for finished previews, some two hundred. The least recently used goes first."""
SENTENCES: Final = {
    "en": "Hello! This is what I sound like.",
    "zh": "你好！这就是我的声音。",
    "de": "Hallo! So klingt meine Stimme.",
    "fr": "Bonjour ! Voici ma voix.",
    "es": "¡Hola! Así suena mi voz.",
    "it": "Ciao! Questa è la mia voce.",
    "pt": "Olá! Esta é a minha voz.",
    "nl": "Hallo! Zo klinkt mijn stem.",
    "pl": "Dzień dobry! Tak brzmi mój głos.",
    "cs": "Dobrý den! Takhle zní můj hlas.",
    "sv": "Hej! Så här låter min röst.",
    "da": "Hej! Sådan lyder min stemme.",
    "nb": "Hei! Slik høres stemmen min ut.",
    "fi": "Hei! Tältä ääneni kuulostaa.",
    "hu": "Jó napot! Ilyen a hangom.",
    "ro": "Bună ziua! Așa sună vocea mea.",
    "tr": "Merhaba! Sesim böyle.",
    "id": "Halo! Beginilah suara saya.",
    "vi": "Xin chào! Đây là giọng nói của tôi.",
    "ru": "Здравствуйте! Так звучит мой голос.",
    "uk": "Добрий день! Так звучить мій голос.",
    "el": "Γεια σας! Έτσι ακούγεται η φωνή μου.",
    "ar": "مرحبا! هذا هو صوتي.",
    "he": "שלום! ככה נשמע הקול שלי.",
    "hi": "नमस्ते! मेरी आवाज़ ऐसी है।",
    "ja": "こんにちは。これが私の声です。",
    "ko": "안녕하세요! 이것이 제 목소리입니다.",
    "th": "สวัสดี นี่คือเสียงของฉัน",
}
"""What a voice says, by language. A voice of any other language tries the English sentence."""
_IN_NAME: Final = re.compile(r"(?:^|-)([a-z]{2})(?=[-_]|$)")
"""Finds the language in a voice's name. Many begin with it, or with the backend and it: zh-CN-YunxiNeural, pico-de-DE.
"""


@dataclass(slots=True)
class _Making:
    task: asyncio.Task[bytes]
    wanted_by: int = 0


class VoicePreviews:
    """Makes previews of voices. Each is made once, however many people ask for it, and then kept.

    Each backend has a line of its own, so a service that does not answer delays only people who want to hear it. One
    address has a few places in all lines together.
    """

    def __init__(self, backends: Backends, patience_s: float) -> None:
        """patience_s: longest time for one sentence."""
        self._backends = backends
        self._patience_s = patience_s
        self._places: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_A_TIME))
        self._shares = AddressShares(MAX_PREVIEWS_EACH)
        self._making: dict[tuple[str, str, str], _Making] = {}
        self._kept: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()

    async def of(self, tts: str, voice: str, language: str, address: str) -> bytes:
        """Return a preview as a WAV file. If all who wait for it give up, the voice stops.

        voice: empty for the backend's default. language: the listener's, used by voices that speak several languages.
        address: the client's address, for limits.

        Raises BadRequest, BackendUnavailable, AskedTooOften, SpeechError, SessionClosed.
        """
        if tts not in registry.names("tts"):
            raise BadRequest(f"There is no voice backend '{tts}'.", "GET /api/backends lists them.")
        synthesizer = await self._backends.get("tts", tts)
        if voice and voice not in synthesizer.voices:
            raise BadRequest(f"{tts} has no voice '{voice}'.", "GET /api/backends lists them.")
        sentence = SENTENCES.get(language_for(voice, _spoken_by(synthesizer, voice), language), SENTENCES["en"])
        key = (tts, voice, sentence)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        with self._shares.held(address, AskedTooOften("You are trying too many voices at once.", "Wait for the last.")):
            making = self._begun(key, synthesizer)
            making.wanted_by += 1
            try:
                return await asyncio.shield(making.task)
            finally:
                making.wanted_by -= 1
                if not making.wanted_by:
                    making.task.cancel()
                    self._making.pop(key, None)

    async def aclose(self) -> None:
        """Cancel the previews that are being made. Idempotent."""
        tasks = [making.task for making in self._making.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begun(self, key: tuple[str, str, str], synthesizer: SpeechSynthesizer) -> _Making:
        if key not in self._making:
            if sum(tts == key[0] for tts, _voice, _sentence in self._making) >= MAX_PREVIEWS:
                raise AskedTooOften("Too many voices are being tried at once.", "Try again in a moment.")
            task = asyncio.create_task(self._make(key, synthesizer), name=f"preview of {key[0]} {key[1]}")
            self._making[key] = _Making(task)
        return self._making[key]

    async def _make(self, key: tuple[str, str, str], synthesizer: SpeechSynthesizer) -> bytes:
        tts, voice, sentence = key
        async with self._places[tts]:
            try:
                async with asyncio.timeout(self._patience_s):
                    sound = await _spoken(synthesizer, sentence, voice or None)
            except TimeoutError as error:
                raise _silent(f"The voice gave nothing for {self._patience_s:g} seconds.") from error
        self._kept[key] = sound
        while sum(map(len, self._kept.values())) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return sound


def _silent(reason: str) -> SpeechError:
    return SpeechError(reason, "Try again, or choose another voice.", cause="silent")


def language_for(voice: str, spoken: frozenset[str], language: str) -> str:
    """Choose the language of a preview, among those that the voice speaks.

    The order is: the language in the voice's name, the listener's language, English, any other.
    """
    named = _IN_NAME.findall(voice)
    return next((code for code in (*named, language, "en") if code in spoken), min(spoken))


def _spoken_by(synthesizer: SpeechSynthesizer, voice: str) -> frozenset[str]:
    if voice and isinstance(synthesizer, HttpVoice | AutoSynthesizer):
        return synthesizer.spoken_by(voice)
    return synthesizer.languages


async def _spoken(synthesizer: SpeechSynthesizer, sentence: str, voice: str | None) -> bytes:
    """Return a sentence as a WAV file, as it sounds in a session: at the usual loudness, without silence before it."""
    polish = VoicePolish()
    parts: list[FloatArray] = []
    rate_hz = synthesizer.sample_rate
    async with aclosing(synthesizer.synthesize(sentence, voice)) as chunks:
        async for chunk in chunks:
            rate_hz = chunk.sample_rate
            parts.append(polish.push(chunk).samples)
            if sum(map(len, parts)) > LONGEST_S * rate_hz:
                break
    if not parts:
        raise _silent("The voice gave no sound.")
    return wav_of(np.concatenate(parts)[: round(LONGEST_S * rate_hz)], rate_hz)
