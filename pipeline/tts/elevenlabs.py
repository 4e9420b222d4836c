"""`elevenlabs`: ElevenLabs, online.

Format: https://elevenlabs.io/docs/api-reference/text-to-speech/stream; `pcm_24000` is 24 kHz, 16 bits, mono, no header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pipeline.tts.http_voice import ANY_LANGUAGE, HttpVoice

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["ElevenLabs"]


_MULTILINGUAL: Final = frozenset(
    {"en", "ja", "zh", "de", "hi", "fr", "ko", "pt", "it", "es", "id", "nl", "tr", "pl", "sv", "bg", "ro", "ar", "cs"}
    | {"el", "fi", "hr", "sk", "da", "ta", "uk", "ru"}
)
_MODELS: Final = {
    "eleven_flash_v2_5": _MULTILINGUAL | {"hu", "nb", "vi"},
    "eleven_turbo_v2_5": _MULTILINGUAL | {"hu", "nb", "vi"},
    "eleven_multilingual_v2": _MULTILINGUAL,
    "eleven_flash_v2": frozenset({"en"}),
    "eleven_turbo_v2": frozenset({"en"}),
    "eleven_v3": ANY_LANGUAGE - {"am", "km", "lo", "my", "si"},
}
"""Languages by model, of those known here: https://elevenlabs.io/docs/overview/models."""


class ElevenLabs(HttpVoice):
    """A voice is its id. The model detects the language. A model that is not listed here gets every language."""

    name = "elevenlabs"
    service_name = "ElevenLabs"
    default_url = "https://api.elevenlabs.io"
    default_voices = ("JBFqnCBsd6RMkjVDRZzb", "EXAVITQu4vr4xnSDxMaL")
    "named George and Sarah by the service"
    default_model = "eleven_flash_v2_5"
    needs_key = True
    languages_by_model = _MODELS
    speeds = (0.7, 1.2)

    def speed_fields(self, speed: float) -> Mapping[str, object]:
        return {"voice_settings": {"speed": speed}}

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        return client.build_request(
            "POST",
            f"{self.base_url}/v1/text-to-speech/{quote(voice, safe='')}/stream",
            params={"output_format": "pcm_24000"},
            headers={"xi-api-key": self.api_key},
            json={"text": text, "model_id": self.model, **self.fields(speed)},
        )
