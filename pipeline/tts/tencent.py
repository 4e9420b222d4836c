"""`tencent`: Tencent Cloud's speech synthesis, online.

Format: https://cloud.tencent.com/document/product/1073/37995 (TextToVoice, 2019-08-23). The answer is one JSON object
with a complete WAV file as base64. Signature: https://cloud.tencent.com/document/api/213/30654 (TC3-HMAC-SHA256).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import numpy as np

from pipeline.text import detect_language
from pipeline.tts.http_voice import HttpVoice, ServiceRefusal, WavDecoder
from pipeline.tts.sound_in_json import decoded, json_object, not_sound
from pipeline.types import FloatArray

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["TencentSpeech", "signature"]

CONTENT_TYPE: Final = "application/json; charset=utf-8"
PRIMARY_LANGUAGES: Final = {"zh": 1, "en": 2}
TIMES_AS_FAST: Final = (0.6, 0.8, 1.0, 1.2, 1.5, 2.5)
SPEEDS: Final = (-2.0, -1.0, 0.0, 1.0, 2.0, 6.0)
"""The service's values for the speeds above."""
NO_CREDIT: Final = frozenset({"NoFreeAccount", "PkgExhausted", "AccountArrears", "NoBanlance"})
"""Kinds of UnsupportedOperation. The last one is the service's own spelling."""


class TencentSpeech(HttpVoice):
    """A voice is a number, `VoiceType`. `options` are fields of the request.

    The service sends the sound only when all of it is made.
    """

    name = "tencent"
    service_name = "Tencent Cloud"
    default_url = "https://tts.tencentcloudapi.com"
    default_voices = ("501001", "501003", "101001", "101004")
    needs_key = True
    key_form = "SecretId:SecretKey"
    answers_in_text = True
    streaming = False
    languages = frozenset(PRIMARY_LANGUAGES)
    sample_rate = 16_000
    speeds = (0.6, 2.0)

    def speed_fields(self, speed: float) -> Mapping[str, object]:
        return {"Speed": round(float(np.interp(speed, TIMES_AS_FAST, SPEEDS)), 2)}

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        payload = json.dumps(
            {
                "Text": text,
                "SessionId": str(uuid.uuid4()),
                "VoiceType": int(voice) if voice.isdecimal() else voice,
                "PrimaryLanguage": PRIMARY_LANGUAGES[detect_language(text)],
                "SampleRate": self.sample_rate,
                "Codec": "wav",
                **self.fields(speed),
            }
        )
        secret_id, _, secret_key = self.api_key.partition(":")
        host, now_s = urlsplit(self.base_url).netloc, int(time.time())
        scope = f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}/tts/tc3_request"
        signed = signature(secret_key, host, scope, now_s, payload)
        credential = f"Credential={secret_id}/{scope}"
        return client.build_request(
            "POST",
            f"{self.base_url}/",
            headers={
                "Authorization": f"TC3-HMAC-SHA256 {credential}, SignedHeaders=content-type;host, Signature={signed}",
                "Content-Type": CONTENT_TYPE,
                "Host": host,
                "X-TC-Action": "TextToVoice",
                "X-TC-Version": "2019-08-23",
                "X-TC-Timestamp": str(now_s),
            },
            content=payload.encode(),
        )

    def decoder(self) -> _AnswerDecoder:
        return _AnswerDecoder()


class _AnswerDecoder:
    """Decodes the sound in a JSON object once it is complete."""

    def __init__(self) -> None:
        self.sample_rate = 0
        self._wav = WavDecoder()
        self._parts: list[bytes] = []  # bounded by HttpVoice

    def push(self, data: bytes) -> FloatArray:
        self._parts.append(data)
        return np.zeros(0, np.float32)

    def finish(self) -> FloatArray:
        answer = json_object(b"".join(self._parts)).get("Response")
        if not isinstance(answer, dict):
            raise not_sound()
        error = answer.get("Error")
        if isinstance(error, dict):
            code = str(error.get("Code"))
            raise ServiceRefusal(_status_of(code), code, str(error.get("Message")))
        samples = self._wav.push(decoded(answer.get("Audio")))
        self.sample_rate = self._wav.sample_rate
        return samples


def signature(secret_key: str, host: str, scope: str, now_s: int, payload: str) -> str:
    """Return the hexadecimal signature of a POST request with JSON.

    host: with the port, if any. scope: DATE/SERVICE/tc3_request. now_s: seconds since 1970, on that date.
    """
    canonical = f"POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{host}\n\ncontent-type;host\n{_sha256(payload)}"
    key = f"TC3{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    to_sign = f"TC3-HMAC-SHA256\n{now_s}\n{scope}\n{_sha256(canonical)}"
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _status_of(code: str) -> int:
    """Return the HTTP status that matches an error: https://cloud.tencent.com/document/product/1073/37988."""
    kind, _, which = code.partition(".")
    if which in NO_CREDIT:
        return 402
    if kind in ("LimitExceeded", "RequestLimitExceeded", "InternalError"):
        return 503
    return 401 if kind in ("AuthFailure", "UnauthorizedOperation") or which.startswith("Authorization") else 400
