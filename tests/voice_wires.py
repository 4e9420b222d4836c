"""The HTTP formats of voice services: what each one answers, and which requests it accepts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs
from xml.etree import ElementTree

from aiohttp import web
from fake_voice_service import pcm_tone, wav_tone

from pipeline.tts.http_voice import HttpVoice
from pipeline.tts.tencent import signature
from pipeline.types import AudioChunk

__all__ = ["TEXT", "WIRES", "Wire", "doubao_answer", "speak"]

TEXT = "Hello there, Bob."


@dataclass(frozen=True)
class Wire:
    """A service's format: how it answers, and what a valid request looks like."""

    body: Callable[[web.Request, bytes], bytes]
    "(request, its body) -> the body of a good answer"
    is_request: Callable[[web.Request, bytes, str], bool]
    "(request, its body, voice) -> whether the service would accept it"
    headers: Mapping[str, str] = field(default_factory=dict)
    "headers of a good answer"
    api_key: str = "secret"
    comes_whole: bool = False
    "whether sound is available only after the whole answer has come"


PIECES = [pcm_tone(1.0)[at : at + 4801] for at in range(0, 48_000, 4801)]
IN_JSON = {"Content-Type": "application/json"}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _qwen_answer(_request: web.Request, _content: bytes) -> bytes:
    events: list[dict[str, object]] = [{"output": {"audio": {"data": _base64(piece), "id": "a"}}} for piece in PIECES]
    events += [{"output": {"audio": {"data": "", "url": "http://x/a.wav"}, "finish_reason": "stop"}}]
    return b"".join(
        f"id:{number}\nevent:result\n:HTTP_STATUS/200\ndata:{json.dumps(event)}\n\n".encode()
        for number, event in enumerate(events, 1)
    )


def doubao_answer(_request: web.Request, _content: bytes) -> bytes:
    events: list[dict[str, object]] = [{"code": 0, "message": "", "data": _base64(piece)} for piece in PIECES]
    events += [{"code": 0, "message": "", "data": None, "sentence": {"text": TEXT}}]
    events += [{"code": 20_000_000, "message": "ok", "data": None}]
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def _tencent_answer(_request: web.Request, _content: bytes) -> bytes:
    sound = {"Audio": _base64(wav_tone(1.0, 16_000)), "SessionId": "s", "RequestId": "r"}
    return json.dumps({"Response": sound}).encode()


def _is_qwen_request(request: web.Request, content: bytes, voice: str) -> bool:
    return (
        (request.method, request.path) == ("POST", "/api/v1/services/aigc/multimodal-generation/generation")
        and (request.headers["Authorization"], request.headers["X-DashScope-SSE"]) == ("Bearer secret", "enable")
        and json.loads(content)
        == {"model": "qwen3-tts-flash", "input": {"text": TEXT, "voice": voice, "language_type": "English"}}
    )


def _is_doubao_request(request: web.Request, content: bytes, voice: str) -> bool:
    asked = {"text": TEXT, "speaker": voice, "audio_params": {"format": "pcm", "sample_rate": 24_000}}
    return (
        (request.method, request.path) == ("POST", "/api/v3/tts/unidirectional")
        and (request.headers["X-Api-Key"], request.headers["X-Api-Resource-Id"]) == ("secret", "seed-tts-2.0")
        and json.loads(content) == {"user": {"uid": "vivavoce"}, "req_params": asked}
    )


def _is_tencent_request(request: web.Request, content: bytes, voice: str) -> bool:
    asked = json.loads(content)
    date, now_s = request.headers["Authorization"].split("/")[1], int(request.headers["X-TC-Timestamp"])
    scope = f"{date}/tts/tc3_request"
    signed = signature("secret", request.headers["Host"], scope, now_s, content.decode())
    return (
        (request.method, request.path) == ("POST", "/")
        and (request.headers["X-TC-Action"], request.headers["X-TC-Version"]) == ("TextToVoice", "2019-08-23")
        and request.headers["Authorization"]
        == f"TC3-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders=content-type;host, Signature={signed}"
        and bool(asked.pop("SessionId"))
        and asked == {"Text": TEXT, "VoiceType": int(voice), "PrimaryLanguage": 2, "SampleRate": 16_000, "Codec": "wav"}
    )


def _is_index_request(request: web.Request, content: bytes, voice: str) -> bool:
    asked = {"text": TEXT, "spk_audio_path": voice}
    return (request.method, request.path) == ("POST", "/tts_url") and json.loads(content) == asked


def _is_openai_request(request: web.Request, content: bytes, voice: str) -> bool:
    asked = json.loads(content)
    return (
        (request.method, request.path) == ("POST", "/audio/speech")
        and request.headers["Authorization"] == "Bearer secret"
        and asked == {"model": "tts-1", "voice": voice, "input": TEXT, "response_format": "pcm"}
    )


def _is_sovits_request(request: web.Request, content: bytes, voice: str) -> bool:
    return (request.method, request.path) == ("POST", "/tts") and json.loads(content) == {
        "text": TEXT,
        "text_lang": "en",
        "ref_audio_path": voice,
        "prompt_lang": "zh",
        "media_type": "wav",
        "streaming_mode": True,
    }


def _is_cosyvoice_request(request: web.Request, content: bytes, voice: str) -> bool:
    form = {"tts_text": [TEXT], "spk_id": [voice]}
    return (request.method, request.path) == ("GET", "/inference_sft") and parse_qs(content.decode()) == form


def _is_fish_speech_request(request: web.Request, content: bytes, _voice: str) -> bool:
    asked = {"text": TEXT, "format": "wav", "streaming": True}
    return (request.method, request.path) == ("POST", "/v1/tts") and json.loads(content) == asked


def _is_fish_audio_request(request: web.Request, content: bytes, _voice: str) -> bool:
    return (
        (request.method, request.path) == ("POST", "/v1/tts")
        and (request.headers["Authorization"], request.headers["model"]) == ("Bearer secret", "s2.1-pro")
        and json.loads(content) == {"text": TEXT, "format": "wav"}
    )


def _is_xtts_request(request: web.Request, _content: bytes, voice: str) -> bool:
    asked = {"text": TEXT, "speaker_wav": voice, "language": "en"}
    return (request.method, request.path) == ("GET", "/tts_stream") and dict(request.query) == asked


def _is_elevenlabs_request(request: web.Request, content: bytes, voice: str) -> bool:
    return (
        (request.method, request.path) == ("POST", f"/v1/text-to-speech/{voice}/stream")
        and dict(request.query) == {"output_format": "pcm_24000"}
        and request.headers["xi-api-key"] == "secret"
        and json.loads(content) == {"text": TEXT, "model_id": "eleven_flash_v2_5"}
    )


def _is_azure_request(request: web.Request, content: bytes, voice: str) -> bool:
    speak = ElementTree.fromstring(content)
    (spoken,) = speak
    return (
        (request.method, request.path) == ("POST", "/cognitiveservices/v1")
        and request.headers["Ocp-Apim-Subscription-Key"] == "secret"
        and request.headers["X-Microsoft-OutputFormat"] == "raw-24khz-16bit-mono-pcm"
        and request.headers["Content-Type"] == "application/ssml+xml"
        and speak.attrib["{http://www.w3.org/XML/1998/namespace}lang"] == "en-US"
        and (spoken.attrib["name"], spoken.text) == (voice, TEXT)
    )


WIRES: dict[str, Wire] = {
    "openai-speech": Wire(lambda _request, _content: pcm_tone(1.0), _is_openai_request),
    "gpt-sovits": Wire(lambda _request, _content: wav_tone(1.0, 32_000), _is_sovits_request),
    "cosyvoice": Wire(lambda _request, _content: pcm_tone(1.0, 22_050), _is_cosyvoice_request),
    "fish-speech": Wire(lambda _request, _content: wav_tone(1.0, 44_100), _is_fish_speech_request),
    "fish-audio": Wire(lambda _request, _content: wav_tone(1.0, 44_100), _is_fish_audio_request),
    "xtts": Wire(lambda _request, _content: wav_tone(1.0), _is_xtts_request),
    "elevenlabs": Wire(lambda _request, _content: pcm_tone(1.0), _is_elevenlabs_request),
    "azure": Wire(lambda _request, _content: pcm_tone(1.0), _is_azure_request),
    "index-tts": Wire(lambda _request, _content: wav_tone(1.0, 22_050), _is_index_request),
    "qwen-tts": Wire(_qwen_answer, _is_qwen_request, {"Content-Type": "text/event-stream;charset=UTF-8"}),
    "doubao": Wire(doubao_answer, _is_doubao_request, IN_JSON),
    "tencent": Wire(_tencent_answer, _is_tencent_request, IN_JSON, api_key="AKID:secret", comes_whole=True),
}


async def speak(voice: HttpVoice, text: str = TEXT) -> list[AudioChunk]:
    return [chunk async for chunk in voice.synthesize(text)]
