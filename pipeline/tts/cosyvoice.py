"""`cosyvoice`: CosyVoice, started with its `runtime/python/fastapi/server.py`.

Format: https://github.com/FunAudioLLM/CosyVoice/blob/main/runtime/python/fastapi/server.py. The answer is 16-bit
samples without a header, and does not state the rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from avatars.voice_sample import VoiceSample
from pipeline.errors import SpeechError
from pipeline.tts.copied_voice import CopyingVoice, sound_of
from pipeline.tts.http_voice import PcmDecoder

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["CosyVoice"]

MAX_RECORDING_BYTES = 10 * 2**20
"""Limit for a recording. CosyVoice takes 30 s at most, which have 6 MB at 48 kHz and two channels."""


class CosyVoice(CopyingVoice):
    """A voice is a speaker of the model, or the path of a WAV file on this machine whose voice is copied."""

    name = "cosyvoice"
    service_name = "The CosyVoice server"
    default_url = "http://127.0.0.1:50000"
    default_voices = ("中文女", "中文男", "英文女", "英文男")
    default_model = "CosyVoice-300M-SFT"
    languages = frozenset({"zh", "en", "ja", "ko"})
    sample_rate = 22_050

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        # All versions of the server take GET with a form in the body, as its own client sends it; older ones take no
        # POST.
        fields = self._form(text)
        if not voice.lower().endswith(".wav"):
            return client.build_request("GET", f"{self.base_url}/inference_sft", data={**fields, "spk_id": voice})
        return self._copying(client, fields, _recording(voice))

    def request_like(
        self, client: httpx.AsyncClient, text: str, sample: VoiceSample, speed: float = 1.0
    ) -> httpx.Request:
        return self._copying(client, {**self._form(text), "prompt_text": sample.transcript}, sound_of(sample))

    def _form(self, text: str) -> dict[str, str]:
        return {"tts_text": text, **{name: str(value) for name, value in self.options.items()}}

    def _copying(self, client: httpx.AsyncClient, fields: Mapping[str, str], recording: bytes) -> httpx.Request:
        """Request a copied voice. Without a transcript of the recording, its voice is copied across languages."""
        kind = "zero_shot" if fields.get("prompt_text") else "cross_lingual"
        told = {name: value for name, value in fields.items() if name != "prompt_text" or value}
        files = {"prompt_wav": ("prompt.wav", recording, "audio/wav")}
        return client.build_request("GET", f"{self.base_url}/inference_{kind}", data=told, files=files)

    def decoder(self) -> PcmDecoder:
        """Return a decoder. Models named CosyVoice-300M speak at 22050 Hz, all later ones at 24000 Hz."""
        return PcmDecoder(self.sample_rate if "300M" in self.model else 24_000)


def _recording(path: str) -> bytes:
    """Read the operator's recording, for each sentence: a file of this size takes less than a millisecond."""
    try:
        with Path(path).open("rb") as file:
            recording = file.read(MAX_RECORDING_BYTES + 1)
    except OSError as error:
        raise SpeechError(
            "The recording of this voice cannot be read.", "Check the path in --tts-voices.", cause="recording"
        ) from error
    if len(recording) > MAX_RECORDING_BYTES:
        raise SpeechError("The recording of this voice is too long.", "Cut it to 30 seconds.", cause="recording")
    return recording
