"""SpokenSound: sends a program's own sound, such as the voice of an agent, for the avatar to speak."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from vivavoce_client._types import Turn

LEAD_S = 10.0
"""How far ahead of what is heard sound may be sent. The portal refuses more than 30 s."""
PIECE_S = 0.5
SHORTEST_PIECE_S = 0.02
LOOKED_EVERY_S = 0.1

_HEADER = struct.Struct("<BBHI")  # kind, flags, sequence number, turn
_KIND, _ENDS = 3, 1


class SpokenSound:
    """A turn that speaks the sound given to write(), beginning with the first piece. Call end() after the last.

    It is made by AsyncSession.open_sound(). A turn that gets no sound for about 20 s ends by itself.
    """

    def __init__(self, turn: Turn, rate_hz: int, send: Callable[[bytes], Awaitable[None]]) -> None:
        self.turn = turn
        self.rate_hz = rate_hz
        self._send = send
        self._waiting = b""
        self._sent_s = 0.0
        self._sequence = 0
        self._ended = False

    async def write(self, samples: NDArray[np.int16] | NDArray[np.float32]) -> None:
        """Speak these samples next: (n,) mono, as int16 or as float32 from -1 to 1.

        Waits while more than 10 s have been sent and not heard yet. Sound for a turn that was interrupted is dropped.
        Raises PortalError.
        """
        self._waiting += _coded(samples)
        piece = 2 * round(PIECE_S * self.rate_hz)
        while len(self._waiting) >= 2 * SHORTEST_PIECE_S * self.rate_hz:
            sent, self._waiting = self._waiting[:piece], self._waiting[piece:]
            await self._send_piece(sent)

    async def end(self) -> None:
        """Tell the portal that there is no more sound. Idempotent. Raises PortalError."""
        if not self._ended:
            self._ended = True
            await self._send_piece(self._waiting, _ENDS)

    async def _send_piece(self, data: bytes, flags: int = 0) -> None:
        while not self.turn.over and self._ahead_s() > LEAD_S:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.turn._ended.wait(), LOOKED_EVERY_S)
        if self.turn.over:
            self._waiting = b""
            return
        self._sent_s += len(data) / 2 / self.rate_hz
        self._sequence = (self._sequence + 1) & 0xFFFF
        await self._send(_HEADER.pack(_KIND, flags, self._sequence, self.turn.number) + data)

    def _ahead_s(self) -> float:
        since_s = self.turn._spoken_since_s
        return self._sent_s - (0.0 if since_s is None else asyncio.get_running_loop().time() - since_s)


def _coded(samples: NDArray[np.int16] | NDArray[np.float32]) -> bytes:
    whole = samples if samples.dtype == np.int16 else np.clip(samples * 32768.0, -32768, 32767)
    return bytes(whole.astype("<i2").tobytes())
