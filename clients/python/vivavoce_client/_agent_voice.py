"""AgentVoice: lets an agent of another framework speak through an avatar, segment by segment."""

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
    """Speaks segments of sound, each as a turn of the session, and reports when a segment has been heard.

    is_audible() and ended_by() must be given the frames of session.frames(), in their order.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._sound: SpokenSound | None = None
        self._ending: deque[tuple[Turn, Mark]] = deque()
        self._cut: list[Turn] = []  # turns that the last clear() cut off, of which nothing more may be heard
        self._clears = 0

    async def say(self, data: bytes, rate_hz: int, channels: int = 1) -> None:
        """Add interleaved int16 sound to the segment. Waits while 10 s are not heard yet. Raises PortalError."""
        samples = np.frombuffer(data, np.int16)
        sound = self._sound
        # A turn may be over because no sound came for some time. The segment then goes on in a new turn.
        if sound is None or sound.turn.over or sound.rate_hz != rate_hz:
            clears = self._clears
            if sound is not None:
                await sound.end()
            sound = await self._session.open_sound(rate_hz)
            if clears != self._clears:  # clear() was called meanwhile, so this sound must not be heard
                await sound.end()
                return
            self._sound = sound
        await sound.write(samples if channels == 1 else _mono(samples, channels))

    async def end(self, mark: Mark) -> bool:
        """End the current segment. `mark` comes back from ended_by() when the segment has been heard.

        Returns False if no segment was begun. Raises PortalError.
        """
        sound, self._sound = self._sound, None
        if sound is None:
            return False
        self._ending.append((sound.turn, mark))
        await sound.end()
        return True

    async def clear(self) -> None:
        """Stop speaking, and drop all segments. Their marks do not come back. Raises PortalError."""
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
        """Wait until the marks of all segments have come back. Raises PortalError if the session ends first."""
        while self._ending:
            await self._session.finished(self._ending[0][0])
            await asyncio.sleep(FRAME_S)  # the turn's last frame may come after the message of its end

    def is_audible(self, frame: Frame) -> bool:
        """Return whether the frame has speech that was not cut off by clear()."""
        return frame.speaking and all(turn.over and _is_after(frame, turn) for turn in self._cut)

    def ended_by(self, frame: Frame) -> Iterator[Mark]:
        """Yield the marks of the segments that have ended by this frame."""
        while self._ending:
            turn, mark = self._ending[0]
            if not turn.over or (frame.speaking and not _is_after(frame, turn)):
                return
            self._ending.popleft()
            yield mark


def _is_after(frame: Frame, turn: Turn) -> bool:
    """Return whether a frame comes after a turn. The message of the turn's end may come a frame early or late."""
    return frame.time_s > turn._over_at_s + FRAME_S


def _mono(samples: NDArray[np.int16], channels: int) -> NDArray[np.int16]:
    mixed: NDArray[np.int16] = samples.reshape(-1, channels).mean(axis=1).astype(np.int16)
    return mixed
