"""Openings: the line of recordings that must be decoded as a whole before they are spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import ClientDisconnect

from pipeline.errors import RenderError
from pipeline.recording import Recording, open_recording
from portal.http.limits import TooMany, Turns
from portal.intake.uploads import MAX_SPEECH_S

__all__ = ["OPENED_EACH", "SHORT_S", "Openings"]

SHORT_S: Final = 30.0
"Longest recording that counts as short. Decoding one second of sound takes 0.01 to 0.03 s of CPU time."
SHORT_AT_A_TIME, LONG_AT_A_TIME = 2, 1
OPENED_EACH = 4
"Most recordings of one address that may wait or be decoded. More are refused."


class Openings:
    """Opens the recordings of one address one after another, and long ones separately from short ones.

    So a short recording never waits for other people's long ones, however many there are.
    """

    def __init__(self) -> None:
        self._turns = Turns()
        self._short, self._long = asyncio.Semaphore(SHORT_AT_A_TIME), asyncio.Semaphore(LONG_AT_A_TIME)

    async def open(
        self, path: Path, declared_s: float, address: str, is_gone: Callable[[], Awaitable[bool]]
    ) -> Recording:
        """Open a recording when its turn comes.

        declared_s: its length in seconds according to its packets. If it turns out to be longer, it is opened as a long
        one. is_gone: returns whether the sender has hung up; it is called when the recording's turn comes.

        Raises TooMany, ClientDisconnect, and the errors of open_recording().
        """
        if self._turns.wanted(address) >= OPENED_EACH:
            raise TooMany(
                f"{OPENED_EACH} recordings from your address wait to be read.",
                "Send the next one when one of them is spoken.",
                cause="uploads",
            )
        async with self._turns.of(address):
            if declared_s <= SHORT_S:
                try:
                    async with self._short:
                        await _raise_if_gone(is_gone)
                        # Packets tell the length only roughly, so up to twice SHORT_S is read before it is "too long".
                        return await open_recording(path, 2 * SHORT_S)
                except RenderError as error:
                    if error.cause != "too_long":
                        raise
            async with self._long:
                await _raise_if_gone(is_gone)
                return await open_recording(path, MAX_SPEECH_S)


async def _raise_if_gone(is_gone: Callable[[], Awaitable[bool]]) -> None:
    if await is_gone():
        raise ClientDisconnect
