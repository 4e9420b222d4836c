"""`fish-speech` (the operator's own server) and `fish-audio` (api.fish.audio). Both use the same request, `/v1/tts`.

Format: tools/server/views.py and fish_speech/utils/schema.py of https://github.com/fishaudio/fish-speech, and
https://docs.fish.audio/api-reference. Both send a WAV file in pieces, the only format that an own server can stream.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from avatars.voice_sample import VoiceSample
from pipeline.tts.copied_voice import CopyingVoice, sound_of
from pipeline.tts.http_voice import ANY_LANGUAGE, HttpVoice, WavDecoder

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["FishAudio", "FishSpeech"]


_S1: Final = frozenset({"en", "zh", "ja", "de", "fr", "es", "ko", "ar", "ru", "nl", "it", "pl", "pt"})
"""Languages of S1: https://huggingface.co/fishaudio/openaudio-s1-mini"""


class _Fish(HttpVoice):
    """A voice is the id of a reference on the server. `default` sends none, so the model chooses a voice."""

    sample_rate = 44_100
    languages = ANY_LANGUAGE - {"lo"}
    "languages of S2: https://huggingface.co/fishaudio/s2-pro"
    languages_by_model: ClassVar[Mapping[str, frozenset[str]]] = {"s1": _S1, "s1-mini": _S1}

    _streaming: ClassVar[Mapping[str, object]] = {"streaming": True}
    "fields that request streaming; the hosted service always streams"

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        reference = {} if voice == "default" else {"reference_id": voice}
        return self._asking(client, text, {**reference, **self.fields(speed)})

    def decoder(self) -> WavDecoder:
        return WavDecoder()

    def _asking(self, client: httpx.AsyncClient, text: str, fields: Mapping[str, object]) -> httpx.Request:
        asked = {"text": text, "format": "wav", **self._streaming, **fields}
        return client.build_request("POST", f"{self.base_url}/v1/tts", headers=self._headers(), json=asked)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


class FishSpeech(_Fish, CopyingVoice):
    """The operator's own server. It gets an avatar's voice sample with each sentence, and caches it by its content."""

    name = "fish-speech"
    service_name = "The Fish-Speech server"
    default_url = "http://127.0.0.1:8080"

    def request_like(
        self, client: httpx.AsyncClient, text: str, sample: VoiceSample, speed: float = 1.0
    ) -> httpx.Request:
        options = {name: value for name, value in self.fields(speed).items() if name != "reference_id"}
        reference = {"audio": base64.b64encode(sound_of(sample)).decode(), "text": sample.transcript}
        return self._asking(client, text, {"use_memory_cache": "on", **options, "references": [reference]})


class FishAudio(_Fish):
    """The hosted service. It takes no recordings in JSON, and the model is named in a header."""

    name = "fish-audio"
    service_name = "Fish Audio"
    default_url = "https://api.fish.audio"
    default_model = "s2.1-pro"
    needs_key = True
    speeds = (0.5, 2.0)
    _streaming: ClassVar[Mapping[str, object]] = {}

    def speed_fields(self, speed: float) -> Mapping[str, object]:
        return {"prosody": {"speed": speed}}

    def _headers(self) -> dict[str, str]:
        return {**super()._headers(), "model": self.model}
