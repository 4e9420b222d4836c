"""Utterances: finds where somebody begins and stops speaking, from windows of sound and their probability of speech.

Pure: no clock, no network. Time is counted in windows, so the result does not depend on how the sound is split.
"""

from __future__ import annotations

import enum
from collections import deque

import numpy as np

from pipeline.types import LISTEN_RATE_HZ, FloatArray

__all__ = ["LONGEST_S", "SHORTEST_SPEECH_S", "WINDOW_S", "WINDOW_SAMPLES", "Step", "Utterance", "UtteranceFinder"]

WINDOW_SAMPLES = 512
WINDOW_S = WINDOW_SAMPLES / LISTEN_RATE_HZ  # 0.032
LONGEST_S = 30.0
"""Most that a recogniser takes at once. A longer utterance is cut, and goes on."""
SHORTEST_SPEECH_S = 0.3
"""Less speech is a click or a cough. It is not recognised, because Whisper invents words for noise."""
PAUSE_S = 0.2
"""A pause of this length may be the end of the turn."""
_SPEECH = 0.5
_SILENCE = 0.35
"""Between these two limits a window counts like the one before it, so that a faint syllable is not a pause."""
_FIRST_WINDOWS = 2
"""Speech begins with so many windows in a row; a single one is a click."""
_BEFORE_S = 0.3
"""Sound kept from before the first window with speech, because the network notices soft consonants late."""
_CUT_FROM_S = 20.0
"""A long utterance is cut at its quietest place between here and its end."""
_QUIET_WINDOWS = 5
"""Loudness is averaged over 160 ms, about a syllable."""


class Step(enum.Enum):
    """The effect of a window on the utterance."""

    NOTHING = enum.auto()
    BEGAN = enum.auto()
    GOES_ON = enum.auto()
    PAUSED = enum.auto()
    "A pause that may be the end. Reported once per pause."
    SILENT = enum.auto()
    "A pause so long that it is the end."
    LONG = enum.auto()
    "The utterance is as long as a recogniser takes at once: cut() it."


class Utterance:
    """The windows of one utterance."""

    def __init__(self, windows: list[FloatArray], speech_windows: int = 0) -> None:
        self._windows = windows
        self._speech_windows = speech_windows

    @property
    def speech_s(self) -> float:
        """Length of the windows with speech, in seconds."""
        return self._speech_windows * WINDOW_S

    @property
    def duration_s(self) -> float:
        """Length of all windows, in seconds."""
        return len(self._windows) * WINDOW_S

    def add(self, window: FloatArray, is_speech: bool) -> None:
        """Append a window: (WINDOW_SAMPLES,) float32."""
        self._windows.append(window)
        self._speech_windows += is_speech

    def samples(self) -> FloatArray:
        """(n,) float32 at LISTEN_RATE_HZ."""
        return np.concatenate(self._windows) if self._windows else np.zeros(0, np.float32)

    def cut(self) -> FloatArray:
        """Remove the part before the quietest place near the end, and return its samples. The rest stays."""
        first = round(_CUT_FROM_S / WINDOW_S)
        power = np.array([float(np.mean(np.square(window))) for window in self._windows[first:]])
        around = np.convolve(power, np.ones(_QUIET_WINDOWS), mode="valid")
        place = first + int(np.argmin(around)) + _QUIET_WINDOWS // 2
        before, self._windows = self._windows[:place], self._windows[place:]
        return np.concatenate(before)


class UtteranceFinder:
    """Finds the utterances of one microphone.

    silence_s: a pause that ends an utterance, whatever the end-of-turn detector says.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_windows = max(1, round(silence_s / WINDOW_S))
        self._pause_windows = max(1, round(PAUSE_S / WINDOW_S))
        self._before: deque[FloatArray] = deque(maxlen=round(_BEFORE_S / WINDOW_S) + _FIRST_WINDOWS)
        self._in_a_row = 0
        self._pause = 0
        self._was_speech = False
        self._held = False
        self.utterance: Utterance | None = None
        "The utterance that goes on; None: nobody speaks."

    def hold(self) -> None:
        """Begin an utterance now that ends with take() only, for push to talk."""
        self._held = True
        self.utterance = self.utterance or Utterance([])

    def push(self, window: FloatArray, probability: float) -> Step:
        """Take the next (WINDOW_SAMPLES,) of sound. If several steps apply, returns the most decisive one."""
        is_speech = probability >= (_SILENCE if self._was_speech else _SPEECH)
        self._was_speech = is_speech
        if self.utterance is None:
            return self._wait(window, is_speech)
        self.utterance.add(window, is_speech)
        self._pause = 0 if is_speech else self._pause + 1
        if self.utterance.duration_s >= LONGEST_S:
            return Step.LONG
        if is_speech:
            return Step.GOES_ON
        if self._held:
            return Step.NOTHING
        if self._pause >= self._silence_windows:
            return Step.SILENT
        return Step.PAUSED if self._pause == self._pause_windows else Step.NOTHING

    def take(self) -> Utterance | None:
        """End and return the utterance; None if nobody spoke."""
        utterance, self.utterance = self.utterance, None
        self._in_a_row = self._pause = 0
        self._was_speech = self._held = False
        self._before.clear()
        return utterance

    def _wait(self, window: FloatArray, is_speech: bool) -> Step:
        self._before.append(window)
        self._in_a_row = self._in_a_row + 1 if is_speech else 0
        if self._in_a_row < _FIRST_WINDOWS:
            return Step.NOTHING
        self.utterance = Utterance(list(self._before), self._in_a_row)
        self._before.clear()
        self._pause = 0
        return Step.BEGAN
