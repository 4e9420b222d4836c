"""Features for Wav2Lip: the mel spectrogram from the beginning of each picture on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.wav2lip_mel import BANDS, COLUMN_SAMPLES, HOP_SAMPLES, mel_columns, pre_emphasised
from pipeline.features.pictures import FEATURE_SAMPLES_PER_PICTURE, PictureStream, PlainExtractor
from pipeline.types import FEATURE_RATE_HZ, AudioChunk, FeatureWindow, FloatArray

__all__ = ["MelExtractor", "MelStream"]

_COLUMNS = 16
"""Columns of a window: 200 ms."""
_HALF_COLUMN_SAMPLES = COLUMN_SAMPLES // 2
_WINDOW_SAMPLES = (_COLUMNS - 1) * HOP_SAMPLES + _HALF_COLUMN_SAMPLES
"""Samples from the time of a window's first column to the end of the sound in its last column."""


def _first_column(picture: int) -> int:
    """Return the first column of a picture, rounded down as in the original: a picture has 3.2 columns."""
    return picture * FEATURE_SAMPLES_PER_PICTURE // HOP_SAMPLES


class MelExtractor(PlainExtractor):
    """data is float32 (80, 16): 80 bands, 16 columns of 12.5 ms from the picture's beginning on.

    A sentence is followed by silence (columns of -4), as it would be live. The original makes no picture whose window
    extends beyond the file: it repeats the last 16 columns once, and ends 4 pictures early.
    """

    name = "mel"
    lookahead_ms = (_WINDOW_SAMPLES - FEATURE_SAMPLES_PER_PICTURE) * 1000 / FEATURE_RATE_HZ

    def stream(self) -> MelStream:
        return MelStream()


class MelStream(PictureStream):
    """See FeatureStream."""

    def reset(self) -> None:
        super().reset()
        self._next_picture = 0
        self._last_sample = 0.0
        self._emphasised: npt.NDArray[np.float64] = np.zeros(_HALF_COLUMN_SAMPLES)
        "from the beginning of the next column on; silence precedes a sentence"
        self._columns: FloatArray = np.zeros((0, BANDS), np.float32)
        self._forgotten_columns = 0

    def push(self, chunk: AudioChunk) -> list[FeatureWindow]:
        """Take a chunk. Returns the complete windows. Raises ValueError if the chunk is not at 16 kHz."""
        self._count.take(chunk)
        if not len(chunk.samples):
            return []
        emphasised = pre_emphasised(chunk.samples, self._last_sample)
        self._last_sample = float(chunk.samples[-1])
        return self._count.give(self._windows(emphasised))

    def flush(self) -> list[FeatureWindow]:
        # Silence is appended after pre-emphasis, as in the original, so that the last sample leaves no click.
        rows = self._windows(np.zeros(_WINDOW_SAMPLES + HOP_SAMPLES))[: self._count.pictures_left]
        windows = self._count.give(rows)
        self.reset()
        return windows

    def _windows(self, emphasised: npt.NDArray[np.float64]) -> list[FloatArray]:
        """Return the windows that are complete with these samples."""
        self._emphasised = np.concatenate([self._emphasised, emphasised])
        columns = mel_columns(self._emphasised)
        self._emphasised = self._emphasised[len(columns) * HOP_SAMPLES :]
        self._columns = np.concatenate([self._columns, columns])
        rows = []
        while self._forgotten_columns + len(self._columns) >= _first_column(self._next_picture) + _COLUMNS:
            self._forget_columns_before(_first_column(self._next_picture))
            rows.append(self._columns[:_COLUMNS].T)
            self._next_picture += 1
        return rows

    def _forget_columns_before(self, column: int) -> None:
        self._columns = self._columns[column - self._forgotten_columns :]
        self._forgotten_columns = column
