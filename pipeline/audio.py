"""Sound as arrays: levels, fades, framing, resampling, loudness.

Everything is float32 mono (n,) in [-1, 1]. Only numpy is imported here; soxr is loaded with the first resampler.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.types import SAMPLES_PER_PICTURE, AudioChunk, FloatArray

if TYPE_CHECKING:
    from soxr import ResampleStream

__all__ = [
    "FADE_MS",
    "SPEECH_DBFS",
    "AudioFramer",
    "LoudnessNormalizer",
    "StreamResampler",
    "amplify",
    "dbfs",
    "fade_in",
    "fade_out",
    "in_pieces",
    "resample_file",
    "speech_dbfs",
]

FADE_MS = 20.0
SILENCE_DBFS = -120.0
"""The value of dbfs() for digital silence, instead of minus infinity."""
SPEECH_DBFS = -20.0
"""Common level of all voices: the RMS over the stretches with speech."""
CEILING_DBFS = -1.0
"""No output sample is louder than this."""
_EMPTY = np.zeros(0, np.float32)


def dbfs(samples: FloatArray) -> float:
    """Return the RMS level in dB; 0 is a full-scale square wave."""
    if not len(samples):
        return SILENCE_DBFS
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(SILENCE_DBFS, float(10 * np.log10(max(power, 1e-30))))


def fade_in(samples: FloatArray, sample_rate: int, fade_ms: float = FADE_MS) -> FloatArray:
    """Return a copy that rises from silence over its first fade_ms, or over its whole length if it is shorter."""
    length = min(len(samples), round(sample_rate * fade_ms / 1000))
    faded = samples.copy()
    faded[:length] *= np.linspace(0, 1, length, endpoint=False, dtype=np.float32)
    return faded


def fade_out(samples: FloatArray, sample_rate: int, fade_ms: float = FADE_MS) -> FloatArray:
    """Return a copy that falls to silence over its last fade_ms, or over its whole length if it is shorter."""
    return fade_in(samples[::-1], sample_rate, fade_ms)[::-1].copy()


class AudioFramer:
    """Cuts a stream into pieces as long as one picture."""

    def __init__(self, frame_samples: int = SAMPLES_PER_PICTURE) -> None:
        self._frame_samples = frame_samples
        self._rest = _EMPTY

    def push(self, samples: FloatArray) -> list[FloatArray]:
        """Return the complete pieces, (frame_samples,) each. The remainder waits for more samples."""
        held = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(held) - len(held) % self._frame_samples
        self._rest = held[whole:].copy()
        return [held[start : start + self._frame_samples] for start in range(0, whole, self._frame_samples)]


def in_pieces(chunk: AudioChunk, seconds: float) -> Iterator[AudioChunk]:
    """Split a chunk into pieces of at most that length. Only the last is final; all phonemes stay with the first."""
    size = max(1, round(seconds * chunk.sample_rate))
    starts = range(0, max(1, len(chunk.samples)), size)
    for start in starts:
        yield replace(
            chunk,
            samples=chunk.samples[start : start + size],
            start_sample=chunk.start_sample + start,
            phonemes=chunk.phonemes if start == 0 else None,
            final=chunk.final and start == starts[-1],
        )


class StreamResampler:
    """Resamples a stream with soxr (HQ). The result does not depend on how the stream is split into pieces."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz, self.to_hz = from_hz, to_hz
        self._stream: ResampleStream | None = None
        if from_hz != to_hz:
            import soxr

            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def push(self, samples: FloatArray) -> FloatArray:
        """Return the samples that are certain so far; the filter holds back a few milliseconds."""
        if self._stream is None or not len(samples):
            return samples
        resampled: FloatArray = self._stream.resample_chunk(np.ascontiguousarray(samples))
        return resampled

    def flush(self) -> FloatArray:
        """Return the rest of the stream, and reset the resampler."""
        if self._stream is None:
            return _EMPTY
        rest: FloatArray = self._stream.resample_chunk(_EMPTY, last=True)
        self._stream.clear()
        return rest


def resample_file(samples: FloatArray, from_hz: int, to_hz: int) -> FloatArray:
    """Resample a whole recording, with resampy if it is installed, else with soxr.

    resampy is imported only here, because its first call spends seconds on compiling.
    """
    if from_hz == to_hz or not len(samples):
        return samples
    if importlib.util.find_spec("resampy") is not None:
        import resampy

        return np.asarray(resampy.resample(samples, from_hz, to_hz), np.float32)
    import soxr

    return np.asarray(soxr.resample(samples, from_hz, to_hz), np.float32)


# -- loudness --

_FRAME_MS = 20.0
_ACTIVE_RANGE_DB = 25.0
"""A frame that is quieter than the loudest one by more than this is a pause."""
_FAINT_DBFS = -55.0
"""Sound below this level is noise, not speech, and is not amplified."""
_MAX_GAIN_DB = 24.0
_FIRST_GAIN_DB = 12.0
"""Largest gain while less than _MEASURED_S of speech is known: a breath must not be amplified to a shout."""
_MEASURED_S = 0.5
_GLIDE_MS = 40.0


def speech_dbfs(samples: FloatArray, sample_rate: int) -> float:
    """Return the RMS level over the active stretches only, so that pauses do not count."""
    active = _active_frames(samples, sample_rate)
    return dbfs(active.reshape(-1))


def _active_frames(samples: FloatArray, sample_rate: int) -> FloatArray:
    """Return (frames, samples of 20 ms): the frames that are not pauses."""
    length = max(1, round(sample_rate * _FRAME_MS / 1000))
    if len(samples) < length:
        return samples.reshape(1, -1)
    frames = samples[: len(samples) - len(samples) % length].reshape(-1, length)
    power = np.mean(np.square(frames), axis=1)
    active: FloatArray = frames[power >= power.max() * 10 ** (-_ACTIVE_RANGE_DB / 10)]
    return active


class LoudnessNormalizer:
    """Brings a sentence to the common level as it streams, without delay: each piece comes out at the same length.

    The gain follows the speech heard so far until half a second of active speech is known, and is then fixed. So a
    sentence that arrives in one piece gets a single gain. A soft limiter keeps every sample under the ceiling.
    """

    def __init__(self, target_dbfs: float = SPEECH_DBFS) -> None:
        self._target_dbfs = target_dbfs
        self._gain_db: float | None = None
        self._is_settled = False
        self._measured: FloatArray = _EMPTY

    def push(self, samples: FloatArray, sample_rate: int) -> FloatArray:
        """Return the next piece of the sentence at the common level, as a new array. (n,) in, (n,) out."""
        before_db = self._gain_db
        if not self._is_settled:
            self._measure(samples, sample_rate)
        after = 10 ** ((self._gain_db or 0.0) / 20)
        gain = np.full(len(samples), after, np.float32)
        if before_db is not None and before_db != self._gain_db:
            glide = min(len(samples), round(sample_rate * _GLIDE_MS / 1000))
            gain[:glide] = np.linspace(10 ** (before_db / 20), after, glide, dtype=np.float32)
        return _limit(samples * gain)

    def _measure(self, samples: FloatArray, sample_rate: int) -> None:
        self._measured = np.concatenate([self._measured, samples])
        active = _active_frames(self._measured, sample_rate)
        level_dbfs = dbfs(active.reshape(-1))
        if level_dbfs < _FAINT_DBFS:
            return
        self._is_settled = active.size >= _MEASURED_S * sample_rate
        largest_db = _MAX_GAIN_DB if self._is_settled else _FIRST_GAIN_DB
        self._gain_db = float(np.clip(self._target_dbfs - level_dbfs, -_MAX_GAIN_DB, largest_db))
        if self._is_settled:
            self._measured = _EMPTY


def amplify(samples: FloatArray, gain_db: float) -> FloatArray:
    """Return a copy amplified by that gain. A soft limiter keeps it under the ceiling."""
    return _limit(samples * np.float32(10 ** (gain_db / 20)))


def _limit(samples: FloatArray) -> FloatArray:
    """Bend samples above the knee so that none exceeds the ceiling. Each sample alone, so pieces do not matter."""
    ceiling = 10 ** (CEILING_DBFS / 20)
    knee = 0.7 * ceiling
    level = np.abs(samples)
    loud = level > knee
    if loud.any():
        bent = knee + (ceiling - knee) * np.tanh((level[loud] - knee) / (ceiling - knee))
        samples[loud] = np.copysign(bent, samples[loud])
    return samples
