"""`elevenlabs`: ElevenLabs, online.

Format: https://elevenlabs.io/docs/api-reference/text-to-speech/stream; `pcm_24000` is 24 kHz, 16 bits, mono, no header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from pipeline.tts.http_voice import HttpVoice

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["ElevenLabs"]


class ElevenLabs(HttpVoice):
    """A voice is its id. The model finds the language out by itself."""

    name = "elevenlabs"
    service_name = "ElevenLabs"
    default_url = "https://api.elevenlabs.io"
    default_voices = ("JBFqnCBsd6RMkjVDRZzb", "EXAVITQu4vr4xnSDxMaL")
    "George and Sarah, as the service calls them"
    default_model = "eleven_flash_v2_5"
    needs_key = True

    def request(self, client: httpx.AsyncClient, text: str, voice: str) -> httpx.Request:
        return client.build_request(
            "POST",
            f"{self.base_url}/v1/text-to-speech/{quote(voice, safe='')}/stream",
            params={"output_format": "pcm_24000"},
            headers={"xi-api-key": self.api_key},
            json={"text": text, "model_id": self.model, **self.options},
        )
