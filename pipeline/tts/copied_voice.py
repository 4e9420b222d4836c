"""Voices that speak like a recording: the base of services that copy a voice, and the copied voice of one avatar."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from avatars.voice_sample import LONGEST_SAMPLE_S, VoiceSample, read_voice_sample
from pipeline.errors import SpeechError
from pipeline.tts.http_voice import HttpVoice, SoundDecoder, WavDecoder
from pipeline.types import AudioChunk

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["CopiedVoice", "CopyingVoice", "sound_of"]


class CopyingVoice(HttpVoice):
    """A service that can speak like a voice sample. Services that get the sample sent override request_like()."""

    longest_sample_s: ClassVar[float] = LONGEST_SAMPLE_S

    def request_like(
        self, client: httpx.AsyncClient, text: str, sample: VoiceSample, speed: float = 1.0
    ) -> httpx.Request:
        """Make a request to say `text` like the sample. Raises SpeechError if the service cannot get the sample.

        This version is for services whose voices are files that they open themselves.
        """
        return self.request(client, text, self.path_on_server(sample))

    def decoder(self) -> SoundDecoder:
        """Of a WAV file, which is what most of them send."""
        return WavDecoder()

    async def synthesize_like(
        self, text: str, sample: VoiceSample, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak like synthesize(), in the voice of the sample. Raises SpeechError, LanguageNotSupported."""
        if sample.seconds > self.longest_sample_s:
            raise SpeechError(
                f"{self.service_name} takes voice samples of {self.longest_sample_s:g} seconds at most; this one lasts "
                f"{sample.seconds:.0f}.",
                "Cut the voice sample of the avatar, or choose another voice.",
                cause="sample_too_long",
            )
        speech = self.spoken(text, self.voices[0], lambda client: self.request_like(client, text, sample, speed))
        async with aclosing(speech) as chunks:
            async for chunk in chunks:
                yield chunk

    def path_on_server(self, sample: VoiceSample) -> str:
        """Return the sample's path for a service that opens files itself. Raises SpeechError if it runs elsewhere."""
        if self.avatars_folder:
            return f"{self.avatars_folder}/{sample.sound.parent.name}/{sample.sound.name}"
        if not _is_this_machine(self.base_url):
            raise SpeechError(
                f"{self.service_name} runs on another machine, and cannot read the avatar's voice sample.",
                "Set --tts-avatars-folder to where it finds the folder of avatars, or use CosyVoice or Fish-Speech.",
                cause="sample_elsewhere",
            )
        return str(sample.sound.resolve())


class CopiedVoice:
    """A SpeechSynthesizer: a service that copies voices, with the voice sample of one avatar.

    It speaks like the sample unless a voice is named. The sample is read for each sentence, so a deleted one is no
    longer heard.
    """

    def __init__(self, copying: CopyingVoice, avatar: Path, otherwise: str | None = None) -> None:
        """avatar: its folder. otherwise: voice to use if the sample is gone; None: the service's default."""
        self.name = copying.name
        self.sample_rate = copying.sample_rate
        self.streaming = copying.streaming
        self.phoneme_timing = copying.phoneme_timing
        self.languages = copying.languages
        self.voices = copying.voices
        self.online_voices = copying.online_voices
        self.speeds = copying.speeds
        self._copying = copying
        self._avatar = avatar
        self._otherwise = otherwise

    def load(self) -> None:
        """Do nothing: the engine owns the service, and loads and closes it."""

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak a sentence. Raises SpeechError, LanguageNotSupported."""
        sample = None if voice else await asyncio.to_thread(read_voice_sample, self._avatar)
        if sample is None:
            speech = self._copying.synthesize(text, voice or self._otherwise, speed)
        else:
            speech = self._copying.synthesize_like(text, sample, speed)
        async with aclosing(speech) as chunks:
            async for chunk in chunks:
                yield chunk

    async def aclose(self) -> None:
        """See load()."""


def sound_of(sample: VoiceSample) -> bytes:
    """Return the WAV file, read for each sentence, which takes less than a millisecond. Raises SpeechError."""
    try:
        return sample.sound.read_bytes()
    except OSError as error:  # it was just replaced or deleted
        raise SpeechError(
            "The avatar's voice sample cannot be read.", "Try again.", cause="sample_unreadable"
        ) from error


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a host name, so another machine
        return False
