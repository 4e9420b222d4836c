"""How well the lips follow speech, measured on rendered pictures by a detector that knows nothing of the renderer.

Sentences are spoken by hibari, whose phoneme timing is the ground truth. Each is drawn on a portrait without head
motion, by the real extractor and the real renderer; MediaPipe's landmarker measures how far the lips of each picture
are apart (aperture, in parts of the distance of the outer eye corners). Reported per driver:

closures     p, b and m during which some picture shows lips that are shut (within 20 ms of the sound)
f and v      f and v during which some picture shows a lower lip that is thinner than at rest beside a small gap: at the
             upper teeth
vowels shut  long vowels during which no picture shows open lips: what a mouth that hardly moves would be punished for
correlation  of the aperture with the openness of the phoneme that sounds, without coarticulation, softened by a picture
best lag     the shift, in pictures, at which that correlation is highest; positive: the mouth is late

Drivers: "phonemes" (timing as the synthesizer gives it) and "audio" (the same sound, timing withheld).

    python -m tests.benchmarks.lip_sync_accuracy
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from avatars.detect import FaceAnalyzer, MediaPipeFaceAnalyzer
from models.visemes import (
    CLOSED,
    MOUTH_PARAMETERS,
    MOUTH_SHAPES,
    TUCKED,
    VISEMES,
    TimedSound,
    viseme_labels,
    visemes_of,
)
from pipeline.audio import resample_file
from pipeline.compositing import compose
from pipeline.lipsync.mouth_shape import JAW_DROP_IOD
from pipeline.lipsync.viseme import VisemeLipSync
from pipeline.registry import create
from pipeline.types import FEATURE_RATE_HZ, PICTURE_MS, AudioChunk, FeatureWindow, LipSyncRequest, Phoneme
from tests.portraits import portrait_bundle

__all__ = ["DRIVERS", "SENTENCES", "TARGETS", "SyncAccuracy", "measure"]

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

DRIVERS = ("phonemes", "audio")
TARGETS = {"phonemes": 0.90, "audio": 0.80}
"recall of closures"
LARGEST_LAG_PICTURES = 1
MIN_CORRELATION = 0.55

SENTENCES = (
    "My mother bought a big brown map of the empty beach.",
    "Please put the paper cup back up above the lamp.",
    "Bob may be able to help the people from the museum.",
    "She asked me about the best time to move the boat.",
    "Have you ever seen five foxes over the far valley?",
    "The weather will be warm and bright by the end of May.",
    "A simple problem may become a bigger one in time.",
    "Wash your shoes and choose a cheap umbrella.",
    "Good morning, and welcome to our happy company.",
    "Open the window, the room is too warm for me.",
    "I believe the number of members doubled last summer.",
    "Who would have thought that thin thread could hold?",
    "Both pipes must be checked before the pump is used.",
    "We all go home now, you may do so too.",
)

_SHUT_LEVEL = 0.25
_CLOSURE_MARGIN_S = 0.020
_TUCKED_LIP, _TUCKED_GAP_IOD = 0.85, 0.06
"part of its thickness at rest that a lower lip at the upper teeth shows at most, and the gap beside it"
_LONG_VOWEL_S = 0.060
_LAGS = range(-8, 9)
_VOWELS = frozenset(VISEMES.index(name) for name in ("aa", "E", "ih", "oh"))


@dataclass(frozen=True)
class SyncAccuracy:
    """What one driver achieved."""

    driver: str
    pictures: int
    closures: int
    closures_seen: int
    tucks: int
    tucks_seen: int
    "of all f and v"
    vowels: int
    vowels_shut: int
    correlation: float
    best_lag_pictures: int
    best_correlation: float

    @property
    def closure_recall(self) -> float:
        return self.closures_seen / max(1, self.closures)

    @property
    def reaches_target(self) -> bool:
        return (
            self.closure_recall >= TARGETS[self.driver]
            and abs(self.best_lag_pictures) <= LARGEST_LAG_PICTURES
            and self.correlation >= MIN_CORRELATION
        )

    def __str__(self) -> str:
        return (
            f"{self.driver:9} closures {self.closures_seen}/{self.closures} ({self.closure_recall:.2f}), "
            f"f and v {self.tucks_seen}/{self.tucks}, vowels shut {self.vowels_shut}/{self.vowels}, "
            f"correlation {self.correlation:.2f} (best {self.best_correlation:.2f} "
            f"at lag {self.best_lag_pictures:+d} pictures), {self.pictures} pictures"
        )


def measure(
    drivers: Iterable[str] = DRIVERS, sentences: Sequence[str] = SENTENCES, portrait: str = "man", size: int = 512
) -> list[SyncAccuracy]:
    """Speak, draw and look at the sentences with each driver. About 25 CPU seconds a driver."""
    spoken = asyncio.run(_speak(sentences))
    with tempfile.TemporaryDirectory() as directory:
        screen = _Screen(Path(directory), portrait, size)
        return [_accuracy(driver, spoken, screen) for driver in drivers]


async def _speak(sentences: Sequence[str]) -> list[AudioChunk]:
    """Each sentence as one 16 kHz chunk with its phonemes."""
    voice = create("tts", "hibari")
    voice.load()
    spoken = []
    for sentence in sentences:
        parts, sounds, start_s = [], [], 0.0
        async for chunk in voice.synthesize(sentence):
            parts.append(chunk.samples)
            sounds += [
                replace(sound, start_s=sound.start_s + start_s, end_s=sound.end_s + start_s)
                for sound in chunk.phonemes or ()
            ]
            start_s += chunk.duration_s
        samples = resample_file(np.concatenate(parts), voice.sample_rate, FEATURE_RATE_HZ)
        spoken.append(AudioChunk(samples, FEATURE_RATE_HZ, phonemes=tuple(sounds), final=True))
    await voice.aclose()
    return spoken


class _Screen:
    """A portrait without head motion, and the detector that looks at its pictures."""

    def __init__(self, directory: Path, portrait: str, size: int) -> None:
        self._bundle = portrait_bundle(directory / portrait, portrait, size)
        self._lipsync = VisemeLipSync()
        self._face = self._lipsync.prepare(self._bundle)

    @cached_property
    def rest_lip(self) -> float:
        """Thickness of the lower lip at rest."""
        with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as detector:
            return self._lips(detector, self._bundle.frame(0))[1]

    def lips(self, windows: Sequence[FeatureWindow]) -> Array:
        """(n, 2) of each picture: aperture, thickness of the lower lip; NaN where no face was found."""
        with MediaPipeFaceAnalyzer(tracking=True, max_faces=1) as detector:
            return np.array([self._lips(detector, self._spoken(window)) for window in windows])

    def _spoken(self, window: FeatureWindow) -> Image:
        patch = self._lipsync.infer([LipSyncRequest(self._face, 0, window, 0.0)])[0]
        return compose(self._bundle.frame(0), patch)

    @staticmethod
    def _lips(detector: FaceAnalyzer, picture: Image) -> tuple[float, float]:
        faces = detector.analyse(picture)
        if not faces:
            return float("nan"), float("nan")
        points = faces[0].landmarks[:, :2]

        def apart(*pairs: tuple[int, int]) -> float:
            return float(np.mean([np.linalg.norm(points[a] - points[b]) for a, b in pairs]))

        iod = apart((33, 263))
        return apart((82, 87), (13, 14), (312, 317)) / iod, apart((87, 84), (14, 17), (317, 314)) / iod


def _accuracy(driver: str, spoken: Sequence[AudioChunk], screen: _Screen) -> SyncAccuracy:
    extractor = create("features", "visemes_around")
    extractor.load("cpu")
    stream = extractor.stream()
    seen, told, tucks = [], [], []
    for chunk in spoken:
        heard = chunk if driver == "phonemes" else replace(chunk, phonemes=None)
        windows = [*stream.push(heard), *stream.flush()]
        lips = screen.lips(windows)
        seen.append(lips[:, 0])
        tucks += _tucks(chunk, lips, screen.rest_lip)
        told.append(_openness(chunk, len(windows)))
    every = np.concatenate(seen)
    low, high = np.nanpercentile(every, (3, 95))
    shut_below = low + _SHUT_LEVEL * (high - low)
    closures = [
        shut for chunk, aperture in zip(spoken, seen, strict=True) for shut in _closures(chunk, aperture, shut_below)
    ]
    vowels = [
        shut for chunk, aperture in zip(spoken, seen, strict=True) for shut in _vowels(chunk, aperture, shut_below)
    ]
    correlations = {lag: _correlation(seen, told, lag) for lag in _LAGS}
    best = max(correlations, key=lambda lag: correlations[lag])
    return SyncAccuracy(
        driver,
        len(every),
        len(closures),
        sum(closures),
        len(tucks),
        sum(tucks),
        len(vowels),
        sum(vowels),
        correlations[0],
        best,
        correlations[best],
    )


def _openness(chunk: AudioChunk, pictures: int) -> Array:
    """How far the phonemes that sound during each picture open the lips, without coarticulation."""
    sounds = [TimedSound(p.ipa, round(p.start_s * 1000), round(p.end_s * 1000)) for p in chunk.phonemes or ()]
    shapes = dict(zip(MOUTH_PARAMETERS, MOUTH_SHAPES.T, strict=True))
    opening = (JAW_DROP_IOD * shapes["jaw"] + 0.077 * shapes["open"]) * (shapes["press"] < 0.5)
    labels = viseme_labels(sounds, 0, pictures * PICTURE_MS)
    each = opening[labels].reshape(pictures, PICTURE_MS).mean(axis=1).astype(np.float64)
    smooth: Array = gaussian_filter1d(each, 1.0)
    return smooth


def _closures(chunk: AudioChunk, aperture: Array, shut_below: float) -> list[bool]:
    """Per p, b and m: whether the lips meet."""
    return [
        bool(np.nanmin(aperture[_pictures_of(sound)]) < shut_below)
        for sound in chunk.phonemes or ()
        if visemes_of(sound.ipa) == (CLOSED,)
    ]


def _tucks(chunk: AudioChunk, lips: Array, rest_lip: float) -> list[bool]:
    """Per f and v: whether the lower lip is seen at the upper teeth."""
    aperture, lower_lip = lips.T
    tucked = (lower_lip < _TUCKED_LIP * rest_lip) & (aperture < _TUCKED_GAP_IOD)
    return [
        bool(tucked[_pictures_of(sound)].any()) for sound in chunk.phonemes or () if visemes_of(sound.ipa) == (TUCKED,)
    ]


def _pictures_of(sound: Phoneme) -> slice:
    """Those in which a contact of the lips may be seen."""
    first = max(0, int(np.floor((sound.start_s - _CLOSURE_MARGIN_S) * 1000 / PICTURE_MS)))
    return slice(first, int(np.ceil((sound.end_s + _CLOSURE_MARGIN_S) * 1000 / PICTURE_MS)))


def _vowels(chunk: AudioChunk, aperture: Array, shut_below: float) -> list[bool]:
    """Per vowel of 60 ms or more: whether the lips stay shut all through."""
    found = []
    for sound in chunk.phonemes or ():
        if sound.end_s - sound.start_s >= _LONG_VOWEL_S and _VOWELS.intersection(visemes_of(sound.ipa)):
            first = int(np.ceil(sound.start_s * 1000 / PICTURE_MS))
            stop = max(first + 1, int(sound.end_s * 1000 / PICTURE_MS))
            found.append(bool(np.nanmax(aperture[first:stop]) < shut_below))
    return found


def _correlation(seen: Sequence[Array], told: Sequence[Array], lag: int) -> float:
    """Pearson correlation over all sentences of the aperture, `lag` pictures later, with the openness of the sounds."""
    pairs = []
    for aperture, opening in zip(seen, told, strict=True):
        n = len(aperture) - abs(lag)
        pairs.append(np.stack([aperture[max(0, lag) :][:n], opening[max(0, -lag) :][:n]]))
    both = np.concatenate(pairs, axis=1)
    both = both[:, ~np.isnan(both).any(axis=0)]
    return float(np.asarray(np.corrcoef(both))[0, 1])


def main() -> int:
    results = measure()
    for result in results:
        print(result, "" if result.reaches_target else "  BELOW TARGET")
    return 0 if all(result.reaches_target for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
