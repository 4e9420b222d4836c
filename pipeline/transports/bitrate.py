"""Derives the bit rate of live pictures from a viewer's bandwidth estimates (REMB)."""

from __future__ import annotations

from pipeline.types import FPS

__all__ = ["BitrateLimit"]

_CONGESTED = 0.9  # if the estimate is below this share of what is sent, some of it does not arrive


class BitrateLimit:
    """`bps` is the limit for live pictures; None: no limit.

    A browser's estimate never rises far above what it receives, and a replayed loop has a third of a live stream's
    rate. So a low estimate counts only if more than that is being sent; otherwise estimates can only raise the limit.
    """

    def __init__(self) -> None:
        self.bps: int | None = None
        self._sent_bps = 0.0

    def on_picture(self, size_bytes: int) -> None:
        """Note that a picture of that size was sent. There are 25 a second."""
        # Averaged over about a second, so that one key frame does not look like a stream.
        self._sent_bps += (size_bytes * 8 * FPS - self._sent_bps) / FPS

    def on_remb(self, estimate_bps: int) -> None:
        """Take an estimate of the viewer's bandwidth."""
        if estimate_bps < _CONGESTED * self._sent_bps:
            self.bps = estimate_bps
        elif self.bps is not None:
            self.bps = max(self.bps, estimate_bps)
