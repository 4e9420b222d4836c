"""`gpt-sovits`: GPT-SoVITS, started with its `api_v2.py`. Voices are recordings on that server.

Format: `/tts` of https://github.com/RVC-Boss/GPT-SoVITS/blob/main/api_v2.py. The answer is a WAV file in pieces, whose
rate depends on the model (32 kHz up to v2, 24 or 48 kHz after it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from avatars.voice_sample import VoiceSample
from pipeline.text import detect_language
from pipeline.tts.copied_voice import CopyingVoice

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["GptSovits"]


class GptSovits(CopyingVoice):
    """A voice is the path, on the server, of a recording of 3 to 10 seconds. `options` give its transcript."""

    name = "gpt-sovits"
    service_name = "The GPT-SoVITS server"
    default_url = "http://127.0.0.1:9880"
    default_voices = ("reference.wav",)
    languages = frozenset({"zh", "en", "ja", "ko"})
    sample_rate = 32_000
    speeds = (0.5, 2.0)
    longest_sample_s: ClassVar[float] = 10.0

    def speed_fields(self, speed: float) -> Mapping[str, object]:
        return {"speed_factor": speed}

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        # The server refuses requests without prompt_lang. For a recording in another language, set it in `options`.
        return self._asking(client, text, {"ref_audio_path": voice, "prompt_lang": "zh", **self.fields(speed)})

    def request_like(
        self, client: httpx.AsyncClient, text: str, sample: VoiceSample, speed: float = 1.0
    ) -> httpx.Request:
        spoken = detect_language(sample.transcript or text)
        recording = {
            "ref_audio_path": self.path_on_server(sample),
            "prompt_lang": spoken if spoken in self.languages else "zh",
            "prompt_text": sample.transcript,
        }
        return self._asking(client, text, {**self.fields(speed), **recording})

    def _asking(self, client: httpx.AsyncClient, text: str, fields: Mapping[str, object]) -> httpx.Request:
        asked = {
            "text": text,
            "text_lang": detect_language(text),
            "media_type": "wav",
            # True means "best quality" in older servers, and new ones still accept it.
            "streaming_mode": True,
            **fields,
        }
        return client.build_request("POST", f"{self.base_url}/tts", json=asked)
