"""Requests that tests of the HTTP API send, and helpers to read the answers."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from avatars.library import presets

__all__ = ["MAX_UPLOAD_BYTES", "PHOTO", "error_of", "leftovers", "recording", "send_photo"]

MAX_UPLOAD_BYTES = 2_000_000
PHOTO = presets()[0].picture


def error_of(response: Any, status: int) -> dict[str, str]:
    assert response.status_code == status, response.text
    error: dict[str, str] = response.json()["error"]
    assert error["message"] and error["hint"]
    return error


def recording() -> bytes:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"\0\0" * 16000)
    return sound.getvalue()


def send_photo(client: TestClient, content: bytes, file_name: str = "me.png", **fields: str) -> Any:
    return client.post("/api/avatars", files={"file": (file_name, content)}, data={"consent": "true", **fields})


def leftovers(folder: Path) -> list[Path]:
    return [path for part in ("uploads", "jobs") for path in (folder / part).rglob("*") if path.is_file()]
