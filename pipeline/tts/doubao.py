"""`doubao`: Doubao's speech synthesis (ByteDance, Volcano Engine), online.

Format: https://www.volcengine.com/docs/6561/1598757 (V3, HTTP chunked). The answer is lines of JSON, each with a piece
of 16-bit samples as base64 in `data`. The last one has the code 20000000.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pipeline.tts.http_voice import HttpVoice, ServiceRefusal
from pipeline.tts.sound_in_json import LineDecoder, decoded, json_object

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["Doubao"]

GOES_ON: Final = 0
HAS_ENDED: Final = 20_000_000
TOO_MANY_AT_ONCE: Final = "concurrency"
"""Marks more concurrent requests than were paid for: the code of that error also has other meanings."""


class Doubao(HttpVoice):
    """A voice is a `speaker`, the model is a resource of the service. `options` are fields of `req_params`."""

    name = "doubao"
    service_name = "Doubao"
    default_url = "https://openspeech.bytedance.com"
    default_model = "seed-tts-2.0"
    default_voices = ("zh_female_vv_uranus_bigtts", "zh_female_xiaohe_uranus_bigtts", "zh_male_m191_uranus_bigtts")
    needs_key = True
    answers_in_text = True
    languages = frozenset({"zh", "en"})
    speeds = (0.5, 2.0)

    def speed_fields(self, speed: float) -> Mapping[str, object]:
        return {"audio_params": {"speech_rate": round(100 * (speed - 1))}}

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        sound = {"format": "pcm", "sample_rate": self.sample_rate}
        params = {"text": text, "speaker": voice, **self.fields(speed)}
        wished = params.get("audio_params")
        audio_params = {**wished, **sound} if isinstance(wished, dict) else sound
        return client.build_request(
            "POST",
            f"{self.base_url}/api/v3/tts/unidirectional",
            headers={**self._who_asks(), "X-Api-Resource-Id": self.model},
            json={
                "user": {"uid": "vivavoce"},
                "req_params": {**params, "audio_params": audio_params},
            },
        )

    def decoder(self) -> _Decoder:
        return _Decoder(self.sample_rate)

    def _who_asks(self) -> dict[str, str]:
        """Return the headers with the key.

        The old console gives an app id and a token, written with a colon between.
        """
        app, colon, token = self.api_key.partition(":")
        return {"X-Api-App-Id": app, "X-Api-Access-Key": token} if colon else {"X-Api-Key": self.api_key}


class _Decoder(LineDecoder):
    """Decodes the sound in lines of JSON."""

    def pcm_of(self, line: bytes) -> bytes:
        event = json_object(line)
        code, words = event.get("code"), str(event.get("message"))
        if code not in (GOES_ON, HAS_ENDED):
            raise ServiceRefusal(_status_of(code, words), str(code), words)
        return decoded(event.get("data"))


def _status_of(code: object, words: str) -> int:
    """Return the HTTP status that matches an error: 4... is the request's fault, 5... the service's."""
    if TOO_MANY_AT_ONCE in words or str(code).startswith("55"):
        return 503
    return 400
