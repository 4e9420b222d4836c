"""`index-tts`: IndexTTS2, served by index-tts-vllm's `api_server_v2.py`. Voices are recordings on that server.

Format: `/tts_url` of https://github.com/Ksuriuri/index-tts-vllm/blob/master/api_server_v2.py; a complete WAV file.
IndexTTS2's own repository has a web page, but no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.tts.copied_voice import CopyingVoice

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["IndexTts"]


class IndexTts(CopyingVoice):
    """A voice is the path of a recording on the server. `options` may set its emotion (`emo_control_method`, ...)."""

    name = "index-tts"
    service_name = "The IndexTTS2 server"
    default_url = "http://127.0.0.1:6006"
    default_voices = ("reference.wav",)
    streaming = False
    languages = frozenset({"zh", "en"})
    sample_rate = 22_050

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        return client.build_request(
            "POST", f"{self.base_url}/tts_url", json={"text": text, "spk_audio_path": voice, **self.options}
        )
