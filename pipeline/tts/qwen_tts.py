"""`qwen-tts`: Qwen-TTS of Alibaba Cloud (DashScope, Model Studio), online.

Format: https://help.aliyun.com/zh/model-studio/qwen-tts-api. The answer is server-sent events, each with a piece of
16-bit samples at 24 kHz as base64 in `output.audio.data`. The last has a URL instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.text import LANGUAGE_NAMES, detect_language
from pipeline.tts.http_voice import HttpVoice, ServiceRefusal
from pipeline.tts.sound_in_json import LineDecoder, decoded, json_object, not_sound

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["QwenTts"]

_FIELDS = (b"id:", b"event:", b"retry:", b":")
"""Fields of events besides their data. Any other line is not part of an event."""


class QwenTts(HttpVoice):
    """A voice is one of the service's names. `options` are fields of the request's `input`."""

    name = "qwen-tts"
    service_name = "Qwen-TTS"
    default_url = "https://dashscope.aliyuncs.com"
    default_model = "qwen3-tts-flash"
    default_voices = ("Cherry", "Serena", "Ethan", "Chelsie")
    needs_key = True
    answers_in_text = True
    languages = frozenset({"zh", "en", "de", "it", "pt", "es", "ja", "ko", "fr", "ru"})

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        spoken = {"text": text, "voice": voice, "language_type": LANGUAGE_NAMES[detect_language(text)]}
        return client.build_request(
            "POST",
            f"{self.base_url}/api/v1/services/aigc/multimodal-generation/generation",
            headers={"Authorization": f"Bearer {self.api_key}", "X-DashScope-SSE": "enable"},
            json={"model": self.model, "input": {**spoken, **self.options}},
        )

    def decoder(self) -> _EventDecoder:
        return _EventDecoder(self.sample_rate)


class _EventDecoder(LineDecoder):
    """Decodes the sound in server-sent events."""

    def pcm_of(self, line: bytes) -> bytes:
        if line.startswith(b"{"):  # errors may come as plain JSON, not as events
            event = json_object(line)
        elif line.startswith(b"data:"):
            event = json_object(line.removeprefix(b"data:"))
        elif line.startswith(_FIELDS):
            return b""
        else:
            raise not_sound()
        if code := event.get("code"):
            raise ServiceRefusal(_status_of(str(code)), str(code), str(event.get("message")))
        return decoded(_sound_of(event))


def _sound_of(event: dict[str, object]) -> object:
    """Return the sound in an event. Raises SpeechError if it has another form."""
    output = event.get("output")
    audio = (output.get("audio") or {}) if isinstance(output, dict) else None
    if not isinstance(audio, dict):
        raise not_sound()
    return audio.get("data")


def _status_of(code: str) -> int:
    """Return the HTTP status that matches an error: https://help.aliyun.com/zh/model-studio/error-code."""
    match code.partition(".")[0]:
        case "Throttling" | "InternalError" | "SystemError" | "ModelUnavailable" | "RequestTimeOut":
            return 503
        case "InvalidApiKey" | "AccessDenied":
            return 401
        case "Arrearage":
            return 402
    return 400
