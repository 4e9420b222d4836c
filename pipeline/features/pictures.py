"""The base of feature extractors: counts the samples and pictures of a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.types import FEATURE_RATE_HZ, FPS, AudioChunk, FeatureWindow, FloatArray

__all__ = ["FEATURE_SAMPLES_PER_PICTURE", "PictureCount", "PictureStream", "PlainExtractor"]

FEATURE_SAMPLES_PER_PICTURE = FEATURE_RATE_HZ // FPS  # 640


class PictureCount:
    """How much of a sentence was taken in, and how many of its pictures were returned."""

    def __init__(self) -> None:
        self._samples = 0
        self._pictures = 0

    @property
    def samples(self) -> int:
        """Number of samples taken so far."""
        return self._samples

    @property
    def pictures_left(self) -> int:
        """Pictures still to return if the sentence ended here; it is padded to whole pictures."""
        return -(-self._samples // FEATURE_SAMPLES_PER_PICTURE) - self._pictures

    def take(self, chunk: AudioChunk) -> None:
        """Count a chunk. Raises ValueError if its rate is not FEATURE_RATE_HZ."""
        if chunk.sample_rate != FEATURE_RATE_HZ:
            raise ValueError(
                f"Features are made from {FEATURE_RATE_HZ} Hz audio, but this chunk has {chunk.sample_rate} Hz: "
                "resample before pushing."
            )
        self._samples += len(chunk.samples)

    def give(self, rows: Iterable[FloatArray]) -> list[FeatureWindow]:
        """Make the next windows of rows of data, numbered by picture."""
        windows = [FeatureWindow(row, i) for i, row in enumerate(rows, start=self._pictures)]
        self._pictures += len(windows)
        return windows


class PictureStream:
    """The counting part of a FeatureStream. Subclasses override reset() to reset their own state as well."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._count = PictureCount()


class PlainExtractor:
    """A FeatureExtractor that runs no network."""

    on_device = False

    def load(self, device: str) -> None:
        """Do nothing: there is nothing to load."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
