"""SoundRepeats: whether the sound of a viewer whose line loses packets is sent twice.

Browsers ask for lost packets of pictures again, but not for those of sound, and 40 ms that are gone are heard. Twice
the sound is 5 kB a second, so it is sent twice only while packets are lost.
"""

from __future__ import annotations

from pipeline.clock import Clock

__all__ = ["LASTS_S", "MUCH", "SoundRepeats"]

MUCH = 0.01
"Share of lost packets from which on sound is sent twice. Browsers conceal single ones well."
LASTS_S = 30.0
"After the last report of such a loss: reports come every 1 to 5 s, and a line that lost much will lose again."


class SoundRepeats:
    """Of one viewer, whose reports on pictures count as well: what comes twice is hardly missed in those on sound."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s = clock.now_s()

    def on_report(self, lost: float) -> None:
        """Of the packets since the report before, that share (0..1) did not come."""
        if lost >= MUCH:
            self._until_s = self._clock.now_s() + LASTS_S

    def wanted(self) -> bool:
        return self._clock.now_s() < self._until_s
