"""SoundRepeats: decides whether sound is sent twice to a viewer whose connection loses packets.

Browsers request lost packets of pictures again, but not of sound, and a gap of 40 ms is audible. Sending sound twice
costs 5 kB a second, so it is done only while packets are lost.
"""

from __future__ import annotations

from pipeline.clock import Clock

__all__ = ["LASTS_S", "MUCH", "SoundRepeats"]

MUCH = 0.01
"Share of lost packets from which sound is sent twice. Browsers conceal single losses well."
LASTS_S = 30.0
"Time after the last report of such a loss. Reports come every 1 to 5 s, and a lossy connection will lose again."


class SoundRepeats:
    """For one viewer.

    Reports on pictures count, too: sound that is sent twice hardly shows losses in its own reports.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s = clock.now_s()

    def on_report(self, lost: float) -> None:
        """Take a report. lost: share (0..1) of the packets lost since the previous report."""
        if lost >= MUCH:
            self._until_s = self._clock.now_s() + LASTS_S

    def wanted(self) -> bool:
        """Whether sound is to be sent twice now."""
        return self._clock.now_s() < self._until_s
