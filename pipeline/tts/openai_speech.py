"""`openai-speech`: any service with OpenAI's `/v1/audio/speech` (OpenAI, Kokoro-FastAPI, LocalAI, vLLM-Omni, ...).

Format: https://platform.openai.com/docs/api-reference/audio/createSpeech; `pcm` is 24 kHz, 16 bits, mono, no header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.tts.http_voice import HttpVoice

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["OpenAISpeech"]


class OpenAISpeech(HttpVoice):
    """Streams: sound arrives while the service is still speaking."""

    name = "openai-speech"
    service_name = "The speech service"
    default_url = "http://127.0.0.1:8880/v1"
    default_voices = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")
    default_model = "tts-1"
    speeds = (0.5, 2.0)

    def speed_fields(self, speed: float) -> Mapping[str, object]:
        return {"speed": speed}

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        return client.build_request(
            "POST",
            f"{self.base_url}/audio/speech",
            headers={"Authorization": f"Bearer {self.api_key}"} if self.api_key else {},
            json={
                "model": self.model,
                "voice": voice,
                "input": text,
                "response_format": "pcm",
                **self.fields(speed),
            },
        )
