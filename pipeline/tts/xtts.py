"""`xtts`: Coqui's XTTS, served by xtts-api-server. Voices are recordings in its speakers folder.

Format: `/tts_stream` of https://github.com/daswer123/xtts-api-server/blob/main/xtts_api_server/server.py. The answer is
a WAV file at 24 kHz, in pieces. Versions whose streaming has no query parameters yet are not supported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.text import detect_language
from pipeline.tts.copied_voice import CopyingVoice

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["Xtts"]


class Xtts(CopyingVoice):
    """A voice is the name of a speaker on the server: a file or folder there, or the full path of a WAV file."""

    name = "xtts"
    service_name = "The XTTS server"
    default_url = "http://127.0.0.1:8020"
    default_voices = ("female",)
    languages = frozenset(
        {"ar", "cs", "de", "en", "es", "fr", "hi", "hu", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "zh"}
    )

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        language = detect_language(text)
        wished: Mapping[str, Any] = self.options  # httpx refuses values that cannot be part of a URL
        return client.build_request(
            "GET",
            f"{self.base_url}/tts_stream",
            params={
                "text": text,
                "speaker_wav": voice,
                "language": "zh-cn" if language == "zh" else language,
                **wished,
            },
        )
