"""AgentVoice: what an agent of another framework says through an avatar, segment by segment."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vivavoce_client._session import AsyncSession
from vivavoce_client._sound import SpokenSound
from vivavoce_client._types import Frame, Turn

FRAME_S = 0.04

Mark = TypeVar("Mark")


class AgentVoice(Generic[Mark]):
    """Segments of sound, each of which is a turn of the session. It tells when a segment has been heard.

    Frames are those of session.frames(), in their order.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._sound: SpokenSound | None = None
        self._ending: deque[tuple[Turn, Mark]] = deque()
        self._cut: list[Turn] = []  # by the last clear(): of them nothing more is to be heard
        self._clears = 0

    async def say(self, data: bytes, rate_hz: int, channels: int = 1) -> None:
        """Speak that next: interleaved int16. Waits while 10 s are ahead of what is heard. Raises PortalError."""
        samples = np.frombuffer(data, np.int16)
        sound = self._sound
        if sound is None or sound.turn.over or sound.rate_hz != rate_hz:  # it may have ended because nothing came
            clears = self._clears
            if sound is not None:
                await sound.end()
            sound = await self._session.open_sound(rate_hz)
            if clears != self._clears:  # somebody interrupted meanwhile; nothing of this was heard
                await sound.end()
                return
            self._sound = sound
        await sound.write(samples if channels == 1 else _mono(samples, channels))

    async def end(self, mark: Mark) -> bool:
        """The segment is complete. `mark` comes back when it has been heard. False: none was begun.

        Raises PortalError.
        """
        sound, self._sound = self._sound, None
        if sound is None:
            return False
        self._ending.append((sound.turn, mark))
        await sound.end()
        return True

    async def clear(self) -> None:
        """Fall silent, and forget all segments; their marks do not come back. Raises PortalError."""
        self._clears += 1
        cut = [turn for turn, _ in self._ending]
        if self._sound is not None:
            cut.append(self._sound.turn)
        self._sound = None
        self._ending.clear()
        if cut:
            self._cut = cut
        await self._session.interrupt()

    async def heard(self) -> None:
        """Return when the marks of all segments have come back. Raises PortalError if the session ends before."""
        while self._ending:
            await self._session.finished(self._ending[0][0])
            await asyncio.sleep(FRAME_S)  # the last frame follows, or was before

    def is_audible(self, frame: Frame) -> bool:
        """Whether the frame's sound belongs to a segment that goes on."""
        return frame.speaking and all(turn.over and _is_after(frame, turn) for turn in self._cut)

    def ended_by(self, frame: Frame) -> Iterator[Mark]:
        """Marks of the segments whose last frame was this one, or one before it."""
        while self._ending:
            turn, mark = self._ending[0]
            if not turn.over or (frame.speaking and not _is_after(frame, turn)):
                return
            self._ending.popleft()
            yield mark


def _is_after(frame: Frame, turn: Turn) -> bool:
    """The message of a turn's end may come a frame before or after its last frame."""
    return frame.time_s > turn._over_at_s + FRAME_S


def _mono(samples: NDArray[np.int16], channels: int) -> NDArray[np.int16]:
    mixed: NDArray[np.int16] = samples.reshape(-1, channels).mean(axis=1).astype(np.int16)
    return mixed
