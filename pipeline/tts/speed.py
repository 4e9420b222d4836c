"""How fast a voice speaks: what it can, and asking it for that."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.interfaces import SpeechSynthesizer
    from pipeline.types import AudioChunk

__all__ = ["FASTEST", "ONE_SPEED", "SLOWEST", "kept_speed", "speech_at", "speeds_of"]

SLOWEST, FASTEST = 0.5, 2.0
"""What anybody may ask for, in times as fast as a voice speaks by itself."""
ONE_SPEED: Final = (1.0, 1.0)
"""Of a voice that cannot change its own."""


def speeds_of(tts: SpeechSynthesizer) -> tuple[float, float]:
    """The slowest and the fastest it can speak, in times as fast as by itself."""
    # Voices of other packages may have been written before there were speeds.
    speeds: tuple[float, float] = getattr(tts, "speeds", ONE_SPEED)
    return speeds


def kept_speed(tts: SpeechSynthesizer, speed: float) -> float:
    """The speed nearest to the one that is wished for."""
    slowest, fastest = speeds_of(tts)
    return min(max(speed, slowest), fastest)


def speech_at(tts: SpeechSynthesizer, text: str, voice: str | None, speed: float) -> AsyncGenerator[AudioChunk, None]:
    """The text, as nearly as possible at that speed."""
    kept = kept_speed(tts, speed)
    return tts.synthesize(text, voice) if kept == 1 else tts.synthesize(text, voice, kept)
