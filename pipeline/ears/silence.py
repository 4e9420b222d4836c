"""End-of-turn detection by silence alone, for when no network judges pauses."""

from __future__ import annotations

from pipeline.types import FloatArray

__all__ = ["SilenceEndpoint"]


class SilenceEndpoint:
    """Never sure, so a turn ends after the longest pause, `ears_silence_ms`."""

    name = "silence"

    def load(self) -> None:
        """Do nothing: there is nothing to load."""

    def probability(self, samples: FloatArray) -> float:
        return 0.0

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""
