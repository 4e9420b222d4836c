"""What every extractor of a sentence's features shares: counting samples and pictures."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.types import FEATURE_RATE_HZ, FPS, AudioChunk, FeatureWindow, FloatArray

__all__ = ["FEATURE_SAMPLES_PER_PICTURE", "PictureCount", "PictureStream", "PlainExtractor"]

FEATURE_SAMPLES_PER_PICTURE = FEATURE_RATE_HZ // FPS  # 640


class PictureCount:
    """How much of a sentence was taken in, and how many of its pictures were given out."""

    def __init__(self) -> None:
        self._samples = 0
        self._pictures = 0

    @property
    def samples(self) -> int:
        return self._samples

    @property
    def pictures_left(self) -> int:
        """Pictures not given out yet if the sentence ended here: it is padded to whole pictures."""
        return -(-self._samples // FEATURE_SAMPLES_PER_PICTURE) - self._pictures

    def take(self, chunk: AudioChunk) -> None:
        """Raises ValueError for another rate than FEATURE_RATE_HZ."""
        if chunk.sample_rate != FEATURE_RATE_HZ:
            raise ValueError(
                f"Features are made from {FEATURE_RATE_HZ} Hz audio, but this chunk has {chunk.sample_rate} Hz: "
                "resample before pushing."
            )
        self._samples += len(chunk.samples)

    def give(self, rows: Iterable[FloatArray]) -> list[FeatureWindow]:
        """Number rows of data as the next pictures."""
        windows = [FeatureWindow(row, i) for i, row in enumerate(rows, start=self._pictures)]
        self._pictures += len(windows)
        return windows


class PictureStream:
    """A FeatureStream, as far as it counts. Subclasses also begin in reset() what they keep of a sentence."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._count = PictureCount()


class PlainExtractor:
    """A FeatureExtractor that computes: it runs no network."""

    on_device = False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to close."""
