"""Mouth parameters of a picture, together with those of its neighbours.

Real mouths are chosen in sequence, so a picture needs to know what came before and what comes next. Its window has
both. So no state is kept from one picture to the next, and streaming gives the same result as rendering offline.
"""

from __future__ import annotations

import numpy as np

from pipeline.features.viseme import VisemeExtractor, VisemeStream
from pipeline.types import PICTURE_MS, AudioChunk, FeatureWindow, FloatArray

__all__ = ["PICTURES_AFTER", "PICTURES_BEFORE", "VisemesAround", "VisemesAroundStream"]

PICTURES_BEFORE, PICTURES_AFTER = 14, 4
"""Past pictures cost no time. Each picture still to come delays a sentence by 40 ms of sound."""
_WIDTH = PICTURES_BEFORE + 1 + PICTURES_AFTER
_REST = np.zeros(9, np.float32)
"""The row of a picture without speech, for before and after a sentence."""


class VisemesAround:
    """data is float32 (19, 9): rows of `viseme` for the 14 pictures before this one, itself, and the 4 after it."""

    name = "visemes_around"
    lookahead_ms = VisemeExtractor.lookahead_ms + PICTURES_AFTER * PICTURE_MS
    on_device = False

    def __init__(self) -> None:
        self._visemes = VisemeExtractor()

    def load(self, device: str) -> None:
        self._visemes.load(device)

    def stream(self) -> VisemesAroundStream:
        return VisemesAroundStream(self._visemes.stream())

    def close(self) -> None:
        self._visemes.close()


class VisemesAroundStream:
    """See FeatureStream."""

    def __init__(self, visemes: VisemeStream) -> None:
        self._visemes = visemes
        self.reset()

    def reset(self) -> None:
        self._visemes.reset()
        self._rows: list[FloatArray] = [_REST] * PICTURES_BEFORE
        self._given = 0

    def push(self, chunk: AudioChunk) -> list[FeatureWindow]:
        """Take a chunk. Returns the complete windows. Raises ValueError if the chunk is not at 16 kHz."""
        return self._give([window.data for window in self._visemes.push(chunk)])

    def flush(self) -> list[FeatureWindow]:
        last = [window.data for window in self._visemes.flush()]
        windows = self._give(last + [_REST] * PICTURES_AFTER)
        self.reset()
        return windows

    def _give(self, rows: list[FloatArray]) -> list[FeatureWindow]:
        """Return the windows that are complete with these rows."""
        self._rows += rows
        windows = []
        while len(self._rows) >= _WIDTH:
            windows.append(FeatureWindow(np.stack(self._rows[:_WIDTH]), self._given))
            self._given += 1
            del self._rows[0]
        return windows
