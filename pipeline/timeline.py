"""SentenceTimeline: cuts one sentence of speech into pictures, each with exactly its audio and its features.

The voice is played at 48 kHz. Features get a 16 kHz copy of that same signal, so both have the same length to the
sample. A sentence ends on a whole picture, and its features are flushed there: nothing waits for the next sentence.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from pipeline.audio import FADE_MS, AudioFramer, StreamResampler, fade_in, fade_out
from pipeline.interfaces import FeatureStream
from pipeline.rest import is_loud, mouth_weight
from pipeline.stress import AHEAD_PICTURES, Stress
from pipeline.text import language_of_script
from pipeline.types import (
    FEATURE_RATE_HZ,
    PLAYOUT_RATE_HZ,
    SAMPLES_PER_PICTURE,
    AudioChunk,
    FeatureWindow,
    FloatArray,
    Phoneme,
)

__all__ = ["SentenceTimeline", "SpeechSlice", "expected_duration_s"]

FADE_SAMPLES = round(PLAYOUT_RATE_HZ * FADE_MS / 1000)
CHARACTERS_PER_S = {"zh": 4.5, "ja": 7.0, "ko": 6.0}
EUROPEAN_CHARACTERS_PER_S = 14.0


@dataclass(frozen=True, slots=True)
class SpeechSlice:
    """Everything that one picture of a sentence is made from."""

    window: FeatureWindow
    audio: FloatArray
    "(SAMPLES_PER_PICTURE,) at PLAYOUT_RATE_HZ"
    sentence: int
    played_share: float
    "share of the sentence played by the end of this picture, 0..1 (estimated until the sentence is complete)"
    text: str = ""
    "subtitle of the sentence, on its first picture only"
    duration_s: float = 0.0
    "length of the sentence, on its first picture only (estimated while the rest is still being synthesized)"
    voiced: bool = True
    "False: silence that lasts while the text is read"
    mouth: float = 1.0
    "opacity of a network's mouth, 0..1: see pipeline.rest"
    stress: float = 0.0
    "strength of the stress that follows right after, 0..1: see pipeline.stress"
    left: int = AHEAD_PICTURES
    "known pictures of the sentence after this one, AHEAD_PICTURES at most"
    gestures: tuple[str, ...] = ()
    "names of the gestures that begin with this picture"


class SentenceTimeline:
    """Takes the chunks of one sentence, and returns each slice as soon as its features are known.

    push() is take(), windows() and slices() in one. They are separate because features may be made on another thread.
    """

    def __init__(self, index: int, text: str, features: FeatureStream, voiced: bool = True) -> None:
        """voiced: False if the chunks are silence that lasts while the sentence is read."""
        self._index = index
        self._voiced = voiced
        self._text = text
        self._stream = features
        self._to_playout: StreamResampler | None = None
        self._to_features = StreamResampler(PLAYOUT_RATE_HZ, FEATURE_RATE_HZ)
        self._tail: FloatArray = np.zeros(0, np.float32)  # held back: it may be the end, which has to be faded out
        self._framer = AudioFramer()
        self._audio: deque[FloatArray] = deque()
        self._loud: list[bool] = []
        self._stress = Stress()
        self._taken_s = 0.0  # of the sentence; the resamplers hold back the last few ms of it
        self._samples = 0  # at PLAYOUT_RATE_HZ, passed on
        self._feature_samples = 0
        self._pictures = 0
        self._complete = False
        features.reset()

    def push(self, chunk: AudioChunk) -> list[SpeechSlice]:
        """Return the slices that are complete now. The final chunk returns all that remain."""
        return self.slices(self.windows(self.take(chunk)))

    def take(self, chunk: AudioChunk) -> AudioChunk:
        """Take in a chunk. Returns the 16 kHz copy of the speech that is now certain to be played."""
        if self._to_playout is None:
            self._to_playout = StreamResampler(chunk.sample_rate, PLAYOUT_RATE_HZ)
        start_s, self._taken_s = self._taken_s, self._taken_s + chunk.duration_s
        speech = self._to_playout.push(chunk.samples)
        if chunk.final:
            speech = np.concatenate([speech, self._to_playout.flush()])
        played = self._shape(speech, chunk.final)
        self._complete = chunk.final
        return self._feature_copy(played, chunk.phonemes, start_s, chunk.final)

    def windows(self, speech: AudioChunk) -> list[FeatureWindow]:
        """Return the windows that are complete after `speech` or a piece of it.

        The final piece returns all that remain.
        """
        windows = self._stream.push(speech)
        return windows + self._stream.flush() if speech.final else windows

    def slices(self, windows: list[FeatureWindow]) -> list[SpeechSlice]:
        """Return one slice for each of these windows."""
        return [self._picture(window) for window in windows]

    def _shape(self, speech: FloatArray, final: bool) -> FloatArray:
        """Fade in at the start; fade out and pad to whole pictures at the end. Holds back what may still be the end."""
        held = np.concatenate([self._tail, speech])
        if not final and not self._samples and len(held) < 2 * FADE_SAMPLES:
            self._tail = held  # too short for both fades
            return held[:0]
        cut = len(held) if final else max(0, len(held) - FADE_SAMPLES)
        played, self._tail = held[:cut], held[cut:]
        if final:
            played = fade_out(played, PLAYOUT_RATE_HZ)
            played = np.pad(played, (0, -(self._samples + len(played)) % SAMPLES_PER_PICTURE))
        if not self._samples:
            played = fade_in(played, PLAYOUT_RATE_HZ)
        self._samples += len(played)
        frames = self._framer.push(played)
        self._audio.extend(frames)
        self._loud += map(is_loud, frames)
        self._stress.hear(frames)
        return played

    def _feature_copy(
        self, played: FloatArray, phonemes: tuple[Phoneme, ...] | None, start_s: float, final: bool
    ) -> AudioChunk:
        samples = self._to_features.push(played)
        if final:
            samples = np.concatenate([samples, self._to_features.flush()])
        # Phoneme times count from the start of the chunk. The copy starts elsewhere: the resamplers hold samples back.
        shift_s = start_s - self._feature_samples / FEATURE_RATE_HZ
        moved = phonemes and tuple(replace(p, start_s=p.start_s + shift_s, end_s=p.end_s + shift_s) for p in phonemes)
        chunk = AudioChunk(samples, FEATURE_RATE_HZ, start_sample=self._feature_samples, phonemes=moved, final=final)
        self._feature_samples += len(samples)
        return chunk

    def _picture(self, window: FeatureWindow) -> SpeechSlice:
        self._pictures += 1
        total_s = self._duration_s()
        first = self._pictures == 1
        left = len(self._loud) - self._pictures if self._complete else AHEAD_PICTURES
        return SpeechSlice(
            mouth=mouth_weight(self._loud, self._pictures - 1, self._complete),
            stress=self._stress.at(self._pictures - 1),
            left=min(left, AHEAD_PICTURES),
            window=window,
            audio=self._audio.popleft(),
            sentence=self._index,
            played_share=min(1.0, self._pictures * SAMPLES_PER_PICTURE / PLAYOUT_RATE_HZ / total_s),
            text=self._text if first else "",
            duration_s=total_s if first else 0.0,
            voiced=self._voiced,
        )

    def _duration_s(self) -> float:
        known_s = self._samples / PLAYOUT_RATE_HZ
        if self._complete:
            return known_s
        return max(known_s, expected_duration_s(self._text))


def expected_duration_s(text: str) -> float:
    """Estimate how long a voice takes to speak a text, in seconds."""
    return len(text) / CHARACTERS_PER_S.get(language_of_script(text), EUROPEAN_CHARACTERS_PER_S)
