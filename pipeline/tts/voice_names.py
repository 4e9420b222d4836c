"""Names of voices that somebody asks for."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import SpeechError

__all__ = ["require_voice"]


def require_voice(backend: str, voices: Sequence[str], wanted: str | None) -> None:
    """Raises SpeechError: a backend has no voice of the name that is wanted. None: whichever it chooses."""
    if wanted is not None and wanted not in voices:
        raise SpeechError(f"{backend} has no voice '{wanted}'.", f"Choose one of: {', '.join(voices)}.")
