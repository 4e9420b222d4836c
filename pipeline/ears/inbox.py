"""Inbox: a queue for the sound of a viewer's microphone and the changes of its mode, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np

from pipeline.types import FloatArray, ListenMode

__all__ = ["Inbox", "Mode", "Sound"]


@dataclass(frozen=True, slots=True)
class Sound:
    """Sound in the queue."""

    samples: FloatArray
    arrived_s: float
    lost: int = 0
    "samples dropped just before these"


@dataclass(frozen=True, slots=True)
class Mode:
    """A change of the mode, or of the language that the viewer speaks."""

    mode: ListenMode
    language: str | None


class Inbox:
    """Putting never waits. Sound beyond a bound is dropped, the oldest first; changes of mode never are."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        "Set when something was put; the reader clears it."
        self.samples = 0
        "Number of samples in the queue."
        self.dropped_samples = 0
        "Total of dropped samples."
        self.came_s = 0.0
        "Clock time at which the newest sound arrived."
        self._items: deque[Sound | Mode] = deque()
        self._lost_samples = 0  # dropped before the oldest sound in the queue

    def __len__(self) -> int:
        return len(self._items)

    def put_mode(self, mode: Mode) -> None:
        """Add a change of mode. Sound that was put before it counts in the previous mode."""
        if self._items and isinstance(self._items[-1], Mode):
            self._items.pop()  # no sound came in that mode; dropping it keeps modes from piling up
        self._items.append(mode)
        self.arrived.set()

    def put_sound(self, samples: FloatArray, arrived_s: float, max_samples: float) -> None:
        """Add (n,) float32 that arrived at that clock time. max_samples: bound of the queue, these included."""
        self.came_s = arrived_s
        self._items.append(Sound(samples, arrived_s))
        self.samples += len(samples)
        while self.samples > max_samples:
            self._drop_oldest()

    def take(self) -> Sound | Mode:
        """Take the next change of mode, or all sound before it in one piece. The queue must not be empty."""
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
        """The newest change of mode in the queue; None if there is none."""
        return next((item.mode for item in reversed(self._items) if isinstance(item, Mode)), None)

    def clear(self) -> None:
        """Empty the queue."""
        self._items.clear()

    def _drop_oldest(self) -> None:
        oldest = next(item for item in self._items if isinstance(item, Sound))
        self._items.remove(oldest)
        self.samples -= len(oldest.samples)
        self.dropped_samples += len(oldest.samples)
        self._lost_samples += len(oldest.samples)
