"""`azure`: Azure AI Speech, online, with the operator's key.

Format: https://learn.microsoft.com/azure/ai-services/speech-service/rest-text-to-speech. Requests are SSML; the answer
is 16-bit samples at 24 kHz without a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from pipeline.tts.http_voice import ANY_LANGUAGE, HttpVoice

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["AzureSpeech"]


MULTILINGUAL: Final = ANY_LANGUAGE - {"gu", "mr"}
"""Languages, of those known here, that voices with "Multilingual" in their names speak. The service reads others as if
they were one of these, and reports no error."""


class AzureSpeech(HttpVoice):
    """A voice is its full name, which begins with its locale. `options` become attributes of SSML's `prosody`."""

    name = "azure"
    service_name = "Azure AI Speech"
    default_voices = ("en-US-AvaMultilingualNeural", "zh-CN-XiaoxiaoMultilingualNeural")
    needs_key = True
    languages = MULTILINGUAL
    speeds = (0.5, 2.0)

    def spoken_by(self, voice: str) -> frozenset[str]:
        """Return the voice's languages. A voice of one language also reads English words and sentences."""
        return MULTILINGUAL if "Multilingual" in voice else frozenset({voice.partition("-")[0].lower(), "en"})

    def speed_fields(self, speed: float) -> Mapping[str, object]:
        return {"rate": f"{round(100 * (speed - 1)):+d}%"}

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        locale = "-".join(voice.split("-")[:2])
        said = escape(text)
        if fields := self.fields(speed):
            attributes = " ".join(f"{name}={quoteattr(str(value))}" for name, value in fields.items())
            said = f"<prosody {attributes}>{said}</prosody>"
        ssml = (
            '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
            f"xml:lang={quoteattr(locale)}><voice name={quoteattr(voice)}>{said}</voice></speak>"
        )
        return client.build_request(
            "POST",
            f"{self.base_url}/cognitiveservices/v1",
            headers={
                "Ocp-Apim-Subscription-Key": self.api_key,
                "Content-Type": "application/ssml+xml",
                "X-Microsoft-OutputFormat": "raw-24khz-16bit-mono-pcm",
                # The service refuses requests without a user agent.
                "User-Agent": "vivavoce",
            },
            content=ssml.encode(),
        )
