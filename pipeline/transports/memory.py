"""MemoryTransport: keeps the last frames. For tests, for offline use, and as the simplest example of a transport."""

from __future__ import annotations

from collections import deque

from pipeline.transports.stats import TransportStats
from pipeline.types import MediaFrame

__all__ = ["MemoryTransport"]


class MemoryTransport:
    """`frames` has the last `keep` frames sent, oldest first. A frame counts as gone out as soon as it is sent."""

    name = "memory"

    def __init__(self, keep: int = 250) -> None:
        self.frames: deque[MediaFrame] = deque(maxlen=keep)
        self._sent = 0
        self._closed = False

    def send(self, frame: MediaFrame) -> None:
        """Keep the frame. Ignored after aclose()."""
        if not self._closed:
            self.frames.append(frame)
            self._sent += 1

    def flush(self) -> None:
        """Do nothing: no frame ever waits here."""

    async def aclose(self) -> None:
        """Take no more frames. Those kept stay readable."""
        self._closed = True

    def stats(self) -> TransportStats:
        return TransportStats(frames_sent=self._sent, pictures_sent=self._sent, connected=not self._closed)
