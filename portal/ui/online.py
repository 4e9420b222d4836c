"""Finds out whether the online voices can be reached. This is only done when somebody looks at the list of voices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pipeline.clock import Clock, SystemClock
from pipeline.errors import BackendUnavailable
from pipeline.tts.edge import EdgeSynthesizer

__all__ = ["OnlineVoices"]

BELIEVED_S = 60.0


class OnlineVoices:
    """Probes the voices' service at most once in BELIEVED_S, however many people ask."""

    def __init__(self, probe: Callable[[], Awaitable[None]] | None = None, clock: Clock | None = None) -> None:
        """probe: raises BackendUnavailable if the service cannot be reached. Default: the one of `edge`."""
        self._probe = probe or _probe_edge
        self._clock = clock or SystemClock()
        self._asking = asyncio.Lock()
        self._are_reachable = False
        self._believed_until_s = float("-inf")

    async def are_reachable(self) -> bool:
        async with self._asking:
            if self._clock.now_s() >= self._believed_until_s:
                try:
                    await self._probe()
                    self._are_reachable = True
                except BackendUnavailable:
                    self._are_reachable = False
                self._believed_until_s = self._clock.now_s() + BELIEVED_S
        return self._are_reachable


async def _probe_edge() -> None:
    """Probe the service of `edge`. Raises BackendUnavailable, also if its package is missing."""
    await EdgeSynthesizer().probe()
