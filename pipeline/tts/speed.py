"""The speed of a voice: its range, and how to request it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.interfaces import SpeechSynthesizer
    from pipeline.types import AudioChunk

__all__ = ["FASTEST", "ONE_SPEED", "SLOWEST", "kept_speed", "speech_at", "speeds_of"]

SLOWEST, FASTEST = 0.5, 2.0
"""Range of speeds that may be requested, relative to a voice's natural speed."""
ONE_SPEED: Final = (1.0, 1.0)
"""Range of a voice that cannot change its speed."""


def speeds_of(tts: SpeechSynthesizer) -> tuple[float, float]:
    """Return the slowest and the fastest speed of a voice, relative to its natural one."""
    # Voices of other packages may be older than this attribute.
    speeds: tuple[float, float] = getattr(tts, "speeds", ONE_SPEED)
    return speeds


def kept_speed(tts: SpeechSynthesizer, speed: float) -> float:
    """Return the possible speed nearest to the requested one."""
    slowest, fastest = speeds_of(tts)
    return min(max(speed, slowest), fastest)


def speech_at(tts: SpeechSynthesizer, text: str, voice: str | None, speed: float) -> AsyncGenerator[AudioChunk, None]:
    """Speak the text at the possible speed nearest to that one."""
    kept = kept_speed(tts, speed)
    return tts.synthesize(text, voice) if kept == 1 else tts.synthesize(text, voice, kept)
