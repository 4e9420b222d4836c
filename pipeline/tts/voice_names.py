"""Checks the names of requested voices."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import SpeechError

__all__ = ["require_voice"]


def require_voice(backend: str, voices: Sequence[str], wanted: str | None) -> None:
    """Raise SpeechError if the backend has no voice of the wanted name. None means any voice."""
    if wanted is not None and wanted not in voices:
        raise SpeechError(f"{backend} has no voice '{wanted}'.", f"Choose one of: {', '.join(voices)}.")
