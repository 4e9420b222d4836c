"""Inbox: the sound of a viewer's microphone that waits to be looked at, and changes of its mode, in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np

from pipeline.types import FloatArray, ListenMode

__all__ = ["Inbox", "Mode", "Sound"]


@dataclass(frozen=True, slots=True)
class Sound:
    samples: FloatArray
    arrived_s: float
    lost: int = 0
    "samples that were dropped just before these"


@dataclass(frozen=True, slots=True)
class Mode:
    mode: ListenMode
    language: str | None


class Inbox:
    """Whoever puts something in never waits. Sound beyond a bound is dropped, the oldest first; modes never are."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        "set when there is something to look at; the reader clears it"
        self.samples = 0
        "of sound that waits"
        self.dropped_samples = 0
        "in all"
        self.came_s = 0.0
        "clock time of the newest sound"
        self._items: deque[Sound | Mode] = deque()
        self._lost_samples = 0  # before the oldest sound that waits

    def __len__(self) -> int:
        return len(self._items)

    def put_mode(self, mode: Mode) -> None:
        """Sound that came before counts in the mode before."""
        if self._items and isinstance(self._items[-1], Mode):
            self._items.pop()  # nothing was heard in that mode; so modes cannot pile up
        self._items.append(mode)
        self.arrived.set()

    def put_sound(self, samples: FloatArray, arrived_s: float, most_samples: float) -> None:
        """(n,) float32 that came at that clock time. most_samples: how much may wait, this included."""
        self.came_s = arrived_s
        self._items.append(Sound(samples, arrived_s))
        self.samples += len(samples)
        while self.samples > most_samples:
            self._drop_oldest()

    def take(self) -> Sound | Mode:
        """The next change of mode, or all the sound before it as one piece."""
        if isinstance(first := self._items[0], Mode):
            self._items.popleft()
            return first
        pieces: list[FloatArray] = []
        arrived_s, lost, self._lost_samples = 0.0, self._lost_samples, 0
        while self._items and isinstance(piece := self._items[0], Sound):
            pieces.append(piece.samples)
            arrived_s = piece.arrived_s
            self._items.popleft()
        samples = np.concatenate(pieces)
        self.samples -= len(samples)
        return Sound(samples, arrived_s, lost)

    @property
    def last_mode(self) -> ListenMode | None:
        """The newest mode that waits; None: none does."""
        return next((item.mode for item in reversed(self._items) if isinstance(item, Mode)), None)

    def clear(self) -> None:
        """Nothing waits any more."""
        self._items.clear()

    def _drop_oldest(self) -> None:
        oldest = next(item for item in self._items if isinstance(item, Sound))
        self._items.remove(oldest)
        self.samples -= len(oldest.samples)
        self.dropped_samples += len(oldest.samples)
        self._lost_samples += len(oldest.samples)
