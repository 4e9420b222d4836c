"""What a viewer's bandwidth estimate (REMB) means for the next live picture."""

from __future__ import annotations

from pipeline.types import FPS

__all__ = ["BitrateLimit"]

_CONGESTED = 0.9  # an estimate below this share of what is sent means that some of it does not arrive


class BitrateLimit:
    """`bps` is what live pictures may use, None for no limit.

    A browser's estimate never rises far above what it receives, and while a loop is replayed that is a third of a live
    stream. So a low estimate counts only if more than that is being sent; otherwise it can only raise the limit.
    """

    def __init__(self) -> None:
        self.bps: int | None = None
        self._sent_bps = 0.0

    def on_picture(self, size_bytes: int) -> None:
        """A picture of that size was sent (25 a second)."""
        # Mean over about a second, so that one key frame does not look like a stream.
        self._sent_bps += (size_bytes * 8 * FPS - self._sent_bps) / FPS

    def on_remb(self, estimate_bps: int) -> None:
        if estimate_bps < _CONGESTED * self._sent_bps:
            self.bps = estimate_bps
        elif self.bps is not None:
            self.bps = max(self.bps, estimate_bps)
