"""Mouth parameters and activity per picture: from phoneme timing if the synthesizer gives it, else from the sound."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from models.viseme_net import STEP_MS as NETWORK_STEP_MS
from models.viseme_net import VisemeNetwork, VisemeStep
from models.visemes import REST, VISEMES, WORD_GAP_MS, TimedSound, viseme_labels, visemes_of
from pipeline.features.coarticulation import FUTURE_MS, N_COLUMNS, STEP_MS, Coarticulator, rest_steps
from pipeline.features.pictures import PictureCount
from pipeline.types import FEATURE_RATE_HZ, PICTURE_MS, AudioChunk, FeatureWindow, FloatArray

__all__ = ["VisemeExtractor", "VisemeStream"]

_SAMPLES_PER_MS = FEATURE_RATE_HZ // 1000
_REMEMBERED = 4
"""Past sounds that are kept: marks and an h take their shape from earlier sounds, rarely over two."""


class _Source(Protocol):
    """Produces the steps of one sentence for the Coarticulator."""

    press_gain: float
    fv_gain: float
    round_gain: float

    def push(self, chunk: AudioChunk) -> FloatArray:
        """Take a chunk. Returns (n, N_COLUMNS) steps that later audio cannot change."""
        ...

    def finish(self) -> FloatArray:
        """Return the remaining steps, at the end of the sentence."""
        ...


class _Timing:
    """Steps from phoneme timing. A chunk may have phonemes beyond its end; one without timing adds none."""

    press_gain, fv_gain, round_gain = 1.5, 1.5, 1.0

    def __init__(self) -> None:
        self._sounds: list[TimedSound] = []
        self._samples = 0
        self._done_ms = 0

    def push(self, chunk: AudioChunk) -> FloatArray:
        origin_ms = self._samples / _SAMPLES_PER_MS
        self._sounds += [
            TimedSound(p.ipa, _whole_ms(origin_ms + p.start_s * 1000), _whole_ms(origin_ms + p.end_s * 1000))
            for p in chunk.phonemes or ()
            if visemes_of(p.ipa) != (REST,)
        ]
        self._samples += len(chunk.samples)
        return self._next((self._samples // _SAMPLES_PER_MS - WORD_GAP_MS - self._done_ms) // STEP_MS)

    def finish(self) -> FloatArray:
        left_samples = self._samples - self._done_ms * _SAMPLES_PER_MS
        return self._next(-(-left_samples // (STEP_MS * _SAMPLES_PER_MS)))

    def _next(self, n: int) -> FloatArray:
        n = max(0, n)
        start_ms, self._done_ms = self._done_ms, self._done_ms + n * STEP_MS
        labels = viseme_labels(self._sounds, start_ms, self._done_ms)
        self._forget()
        steps = np.ones((n, N_COLUMNS), np.float32)
        steps[:, :-1] = (labels.reshape(n, STEP_MS, 1) == np.arange(len(VISEMES))).mean(axis=1)
        return steps

    def _forget(self) -> None:
        """Drop sounds that no later label can depend on, so that long sentences cost no more per picture."""
        over = [s for s in self._sounds if s.end_ms <= self._done_ms - WORD_GAP_MS]
        self._sounds = over[-_REMEMBERED:] + [s for s in self._sounds if s.end_ms > self._done_ms - WORD_GAP_MS]


def _whole_ms(ms: float) -> int:
    """Round to whole ms, tolerating rounding errors that depend on how the audio was split."""
    return math.floor(ms + 0.5 + 1e-6)


class _FromSound:
    """Steps from the network. Louder speech opens the mouth wider; held notes of music hardly open it."""

    press_gain, fv_gain, round_gain = 1.6, 1.8, 1.7
    _GAIN, _GAIN_AT_PEAK, _GAIN_SLOPE, _GAIN_RANGE = 1.18, 1.08, 0.22, (0.55, 1.2)

    _MUSIC, _SPEECH, _GAIN_OF_MUSIC = 0.11, 0.145, 0.25
    """Spectral change of held notes and of the steadiest speech; the gain is interpolated between the two."""

    def __init__(self, network: VisemeNetwork) -> None:
        self._stream = network.stream()

    def push(self, chunk: AudioChunk) -> FloatArray:
        return self._steps(self._stream.push(chunk.samples))

    def finish(self) -> FloatArray:
        return self._steps(self._stream.finish())

    def _steps(self, step: VisemeStep) -> FloatArray:
        gain = self._GAIN * np.clip(self._GAIN_AT_PEAK + self._GAIN_SLOPE * step.loudness, *self._GAIN_RANGE)
        gain *= np.interp(step.change, (self._MUSIC, self._SPEECH), (self._GAIN_OF_MUSIC, 1.0))
        return np.column_stack([step.probabilities, gain]).repeat(NETWORK_STEP_MS // STEP_MS, axis=0)


class _Sentence:
    """Turns the audio of one sentence into pictures."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._coarticulator = Coarticulator(source.press_gain, source.fv_gain, source.round_gain)

    def push(self, chunk: AudioChunk) -> FloatArray:
        return self._coarticulator.push(self._source.push(chunk))

    def finish(self) -> FloatArray:
        silence = rest_steps((PICTURE_MS + FUTURE_MS) // STEP_MS)
        return self._coarticulator.push(np.concatenate([self._source.finish(), silence]))


class VisemeExtractor:
    """data is float32 (9,): the mouth parameters of models/visemes.py, then activity (0: the photo's own mouth)."""

    name = "viseme"
    lookahead_ms = float(FUTURE_MS + WORD_GAP_MS)
    on_device = False

    def __init__(self) -> None:
        self._network: VisemeNetwork | None = None

    def load(self, device: str) -> None:
        """Load the network, which is part of the repository. It runs in numpy, whatever the device."""
        self._network = VisemeNetwork.load()

    def stream(self) -> VisemeStream:
        if self._network is None:
            raise RuntimeError("load() comes before stream()")
        return VisemeStream(self._network)

    def close(self) -> None:
        self._network = None


class VisemeStream:
    """See FeatureStream."""

    def __init__(self, network: VisemeNetwork) -> None:
        self._network = network
        self.reset()

    def reset(self) -> None:
        self._count = PictureCount()
        self._sentence: _Sentence | None = None

    def push(self, chunk: AudioChunk) -> list[FeatureWindow]:
        """Take a chunk. Returns the complete windows. Raises ValueError if the chunk is not at 16 kHz.

        The first chunk that is not empty decides whether the sentence's visemes come from timing or from the sound.
        """
        self._count.take(chunk)
        if self._sentence is None:
            if not len(chunk.samples) and not chunk.phonemes:
                return []
            self._sentence = _Sentence(_FromSound(self._network) if chunk.phonemes is None else _Timing())
        return self._count.give(self._sentence.push(chunk))

    def flush(self) -> list[FeatureWindow]:
        rows = self._sentence.finish()[: self._count.pictures_left] if self._sentence else ()
        windows = self._count.give(rows)
        self.reset()
        return windows
