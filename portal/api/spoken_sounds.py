"""Sound that a client sends piece by piece for the avatar to speak: for agents that have a voice of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.channel import Channel
from pipeline.errors import BadRequest
from pipeline.types import AudioChunk, SessionEvent, TurnEvent, TurnState
from portal.api.sound_messages import SpokenSound

__all__ = ["SESSION_WAITING_S", "WAITING_S", "SpokenSounds"]

WAITING_S: Final = 30.0
"""How much sound of one turn may wait to be spoken. More is refused."""
SESSION_WAITING_S: Final = 90.0
"""How much sound of all turns of a session may wait together: 10 s for each turn that may wait in line."""
SHORTEST_PIECE_S: Final = 0.01
"""The least that a piece counts for. The overhead of a tiny piece takes more memory than its samples do."""
GATHERED_S: Final = 0.02
"""Pieces are handed on with at least so much sound: each costs a turn the same work, however short it is."""


@dataclass(frozen=True, slots=True)
class _Incoming:
    rate_hz: int
    pieces: Channel[SpokenSound]

    async def chunks(self) -> AsyncIterator[AudioChunk]:
        """Yield the sound as it comes. Pieces wait as int16 and become float32 only here: that halves their memory."""
        gathered: list[SpokenSound] = []
        samples = 0
        async for piece in self.pieces:
            gathered.append(piece)
            samples += len(piece.samples)
            if samples >= GATHERED_S * self.rate_hz:
                yield self._chunk(gathered)
                gathered, samples = [], 0
        if gathered:
            yield self._chunk(gathered)

    def _chunk(self, pieces: list[SpokenSound]) -> AudioChunk:
        samples = np.concatenate([piece.samples for piece in pieces])
        return AudioChunk(samples.astype(np.float32) / np.float32(32768), self.rate_hz)


class SpokenSounds:
    """The sound that clients send for one session, by the turns that speak it.

    speak: queues a turn that speaks the given chunks, and returns its number.
    """

    def __init__(self, speak: Callable[[AsyncIterator[AudioChunk]], int]) -> None:
        self._speak = speak
        self._incoming: dict[int, _Incoming] = {}

    def begin(self, rate_hz: int) -> int:
        """Queue a turn that speaks the sound given to take(), and return its number. Raises as Session.speak()."""
        incoming = _Incoming(rate_hz, Channel(WAITING_S, lambda piece: _weight_s(piece, rate_hz)))
        turn = self._speak(incoming.chunks())
        self._incoming[turn] = incoming
        return turn

    def take(self, sound: SpokenSound) -> float | None:
        """Give a piece of sound to its turn. Return what the piece counts for, in seconds.

        Returns None if the turn has ended; the piece is then dropped. Raises BadRequest if too much sound waits.
        """
        incoming = self._incoming.get(sound.turn)
        if incoming is None or incoming.pieces.closed:
            return None
        taken = not len(sound.samples) or (self._has_room and incoming.pieces.offer(sound))
        if sound.ends:
            incoming.pieces.close()
        if not taken:
            raise BadRequest(
                f"More than {WAITING_S:g} seconds of sound wait to be spoken, or {SESSION_WAITING_S:g} of all turns.",
                "Send it no more than 10 seconds before it is heard.",
                cause="too_much_sound",
            )
        return _weight_s(sound, incoming.rate_hz)

    @property
    def _has_room(self) -> bool:
        return sum(incoming.pieces.held for incoming in self._incoming.values()) < SESSION_WAITING_S

    def note(self, event: SessionEvent) -> None:
        """Close the sound of a turn that has ended."""
        if isinstance(event, TurnEvent) and event.state in (TurnState.DONE, TurnState.INTERRUPTED):
            incoming = self._incoming.pop(event.turn, None)
            if incoming is not None:
                incoming.pieces.close()


def _weight_s(piece: SpokenSound, rate_hz: int) -> float:
    return max(SHORTEST_PIECE_S, len(piece.samples) / rate_hz)
