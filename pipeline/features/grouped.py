"""Features of networks that need a long context around each picture.

Pictures are encoded in groups, each with its context. The groups depend on the sentence only, so the network gets the
same pieces however the audio arrives. The first groups are small, so they come early. No group is more than two
pictures longer than all groups before it together, so speech that arrives at twice its own speed is encoded in time.
Large groups are cheap, because their pictures share a context.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.features.pictures import PictureCount
from pipeline.types import FEATURE_RATE_HZ, PICTURE_MS, AudioChunk, FeatureWindow, FloatArray

__all__ = ["STEP_SAMPLES", "Encoder", "GroupedStream", "ReceptiveField"]

STEP_SAMPLES = 320
_STEPS_PER_PICTURE = 2
_FIRST_GROUPS, _GROUP = (2, 4, 8), 16
"""Sizes of groups, in pictures."""
_SILENCE = 0.001
"""Peak of -60 dBFS. Softer sound is not speech, and the network is not asked about it."""


class Encoder(Protocol):
    """A network, with its state for one sentence."""

    def states(self, samples: FloatArray, first_step: int) -> FloatArray:
        """Return (n, ...): the states of n steps, beginning at the sentence's `first_step`.

        samples: from ReceptiveField.margin_before before the first step to margin_after after the end of the last one.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """How much sound a step and a window need around them. A picture has two steps of 20 ms."""

    margin_before: int
    "samples before a step that it depends on; at the beginning of a sentence they are mirrored"
    margin_after: int
    "samples after a step's end that it depends on"
    past_steps: int
    "steps of context before a group"
    ahead_steps: int
    "steps of context after a group"
    window_before: int
    "steps of a window before its picture's first step"
    window_after: int
    "steps of a window from its picture's first step on"
    clamped: bool
    "True: beyond the ends of a sentence, windows repeat its first or last step. False: they are zero there"
    window_shape: tuple[int, ...]
    "shape of a window's data"

    @property
    def lookahead_ms(self) -> float:
        """How long the first picture of a group waits, for the others and for the sound after them."""
        samples = self.ahead_steps * STEP_SAMPLES + self.margin_after
        return (_GROUP - 1) * PICTURE_MS + samples * 1000 / FEATURE_RATE_HZ


class GroupedStream:
    """See FeatureStream. Silence is not given to the network: its windows are zero."""

    def __init__(self, field: ReceptiveField, new_encoder: Callable[[], Encoder]) -> None:
        self._field = field
        self._new_encoder = new_encoder
        self.reset()

    def reset(self) -> None:
        self._count = PictureCount()
        self._encoder = self._new_encoder()
        self._samples: FloatArray = np.zeros(0, np.float32)
        self._forgotten_samples = 0
        self._groups = 0
        self._next_picture = 0

    def push(self, chunk: AudioChunk) -> list[FeatureWindow]:
        """Take a chunk. Returns the complete windows. Raises ValueError if the chunk is not at 16 kHz."""
        self._count.take(chunk)
        self._samples = np.concatenate([self._samples, chunk.samples])
        rows: list[FloatArray] = []
        while self._count.samples >= self._sample_after(self._group_end()):
            rows += self._group(self._group_end())
        return self._count.give(rows)

    def flush(self) -> list[FeatureWindow]:
        pictures = self._next_picture + self._count.pictures_left
        silence = max(0, self._sample_after(pictures) - self._count.samples)
        self._samples = np.pad(self._samples, (0, silence))
        rows: list[FloatArray] = []
        while self._next_picture < pictures:
            rows += self._group(min(self._group_end(), pictures), pictures * _STEPS_PER_PICTURE)
        windows = self._count.give(rows)
        self.reset()
        return windows

    def _group_end(self) -> int:
        size = _FIRST_GROUPS[self._groups] if self._groups < len(_FIRST_GROUPS) else _GROUP
        return self._next_picture + size

    def _sample_after(self, picture: int) -> int:
        """Return the end of the samples that a group ending before `picture` needs."""
        step = picture * _STEPS_PER_PICTURE + self._field.ahead_steps
        return step * STEP_SAMPLES + self._field.margin_after

    def _group(self, end: int, sentence_steps: int | None = None) -> list[FloatArray]:
        """Return the windows up to picture `end`. sentence_steps: number of steps in the sentence, if known."""
        first_step = max(0, self._next_picture * _STEPS_PER_PICTURE - self._field.past_steps)
        samples = self._samples_from(first_step, self._sample_after(end))
        pictures = range(self._next_picture, end)
        self._groups += 1
        self._next_picture = end
        if np.abs(samples).max() < _SILENCE:
            return [np.zeros(self._field.window_shape, np.float32) for _ in pictures]
        states = self._encoder.states(samples, first_step)
        last_step = first_step + len(states) - 1 if sentence_steps is None else sentence_steps - 1
        return [self._window(states, first_step, last_step, picture) for picture in pictures]

    def _samples_from(self, first_step: int, end: int) -> FloatArray:
        """Return the samples from before `first_step` to `end`, and drop older ones."""
        start = first_step * STEP_SAMPLES - self._field.margin_before
        kept_from = max(0, start)
        self._samples = self._samples[kept_from - self._forgotten_samples :]
        self._forgotten_samples = kept_from
        return np.pad(self._samples[: end - kept_from], (kept_from - start, 0), mode="reflect")

    def _window(self, states: FloatArray, first_step: int, last_step: int, picture: int) -> FloatArray:
        centre = picture * _STEPS_PER_PICTURE
        wanted = np.arange(centre - self._field.window_before, centre + self._field.window_after)
        there = wanted.clip(0, last_step)
        window: FloatArray = states[there - first_step]
        if not self._field.clamped:
            window[wanted != there] = 0
        return window.reshape(self._field.window_shape)
