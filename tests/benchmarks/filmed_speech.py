"""How lips that follow a filmed person's sound compare with that person's own lips.

    python -m tests.benchmarks.filmed_speech CLIP [CLIP ...]

CLIP shows one person who talks, with sound. The sound alone drives a portrait, by the real network and the real
renderer. MediaPipe's landmarker measures the lips of the film and of the drawn pictures in the same way, each picture
by itself: how far they are apart, in parts of the distance of the outer eye corners (IOD).

correlation   of the two openings, at no lag and at the best one; a positive lag: the drawn lips are late
range         from the 5th to the 95th percentile of the opening
speed         mean change of the opening per second while the person speaks
closures      moments when the person's lips meet: how many of them are drawn, within a picture
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avatars.detect import FaceAnalyzer, MediaPipeFaceAnalyzer
from avatars.media import clip_frames
from pipeline.audio import resample_file
from pipeline.compositing import compose
from pipeline.lipsync.viseme import VisemeLipSync
from pipeline.registry import create
from pipeline.types import FEATURE_RATE_HZ, FPS, AudioChunk, FeatureWindow, LipSyncRequest
from tests.portraits import portrait_bundle

Array = npt.NDArray[np.float64]

_LAGS = range(-6, 7)
_SHUT_IOD = 0.025


@dataclass(frozen=True, slots=True)
class Likeness:
    """The drawn lips against the filmed ones."""

    pictures: int
    correlation: float
    best_lag_pictures: int
    best_correlation: float
    filmed_range_iod: float
    drawn_range_iod: float
    filmed_speed_iod_s: float
    drawn_speed_iod_s: float
    closures: int
    closures_drawn: int

    @property
    def speed_ratio(self) -> float:
        return self.drawn_speed_iod_s / self.filmed_speed_iod_s

    def __str__(self) -> str:
        return (
            f"correlation {self.correlation:.2f} (best {self.best_correlation:.2f} at {self.best_lag_pictures:+d}), "
            f"range {self.drawn_range_iod:.3f} of {self.filmed_range_iod:.3f}, "
            f"speed {self.drawn_speed_iod_s:.2f} of {self.filmed_speed_iod_s:.2f} IOD/s ({self.speed_ratio:.2f}), "
            f"closures {self.closures_drawn}/{self.closures}, {self.pictures} pictures"
        )


def opening_iod(detector: FaceAnalyzer, picture: npt.NDArray[np.uint8]) -> float:
    """How far the lips of a picture are apart; NaN where no face was found."""
    faces = detector.analyse(picture)
    if not faces:
        return float("nan")
    points = faces[0].landmarks[:, :2]
    gaps = [np.linalg.norm(points[a] - points[b]) for a, b in ((82, 87), (13, 14), (312, 317))]
    return float(np.mean(gaps) / np.linalg.norm(points[33] - points[263]))


def filmed_openings(clip: Path) -> Array:
    with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as detector:
        return np.array([opening_iod(detector, picture) for picture in clip_frames(clip)])


def sound_of(clip: Path) -> npt.NDArray[np.float32]:
    """The clip's sound as 16 kHz mono."""
    import av

    with av.open(str(clip)) as film:
        stream = film.streams.audio[0]
        parts = [frame.to_ndarray().astype(np.float32) for frame in film.decode(stream)]
        rate_hz = stream.rate
    sound = np.concatenate([part.mean(axis=0) for part in parts])
    return resample_file(sound, rate_hz, FEATURE_RATE_HZ)


def windows_of(sound: npt.NDArray[np.float32]) -> list[FeatureWindow]:
    extractor = create("features", "visemes_around")
    extractor.load("cpu")
    stream = extractor.stream()
    return [*stream.push(AudioChunk(sound, FEATURE_RATE_HZ, final=True)), *stream.flush()]


def drawn_openings(windows: list[FeatureWindow], portrait: str = "man", size: int = 512) -> Array:
    """Each window drawn on a portrait that does not move its head."""
    with tempfile.TemporaryDirectory() as directory:
        bundle = portrait_bundle(Path(directory) / portrait, portrait, size)
        lipsync = VisemeLipSync()
        face = lipsync.prepare(bundle)
        with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as detector:
            openings = []
            for window in windows:
                patch = lipsync.infer([LipSyncRequest(face, 0, window, 0.0)])[0]
                openings.append(opening_iod(detector, compose(bundle.frame(0), patch)))
        return np.array(openings)


def likeness(filmed: Array, drawn: Array) -> Likeness:
    n = min(len(filmed), len(drawn))
    filmed, drawn = filmed[:n], drawn[:n]
    by_lag = {lag: _correlation(filmed, drawn, lag) for lag in _LAGS}
    best = max(by_lag, key=lambda lag: by_lag[lag])
    shut = [i for i in range(1, n - 1) if filmed[i] < _SHUT_IOD and filmed[i] <= min(filmed[i - 1], filmed[i + 1])]
    shut = [i for i, before in zip(shut, [-9, *shut], strict=False) if i > before + 1]
    return Likeness(
        pictures=n,
        correlation=by_lag[0],
        best_lag_pictures=best,
        best_correlation=by_lag[best],
        filmed_range_iod=_range(filmed),
        drawn_range_iod=_range(drawn),
        filmed_speed_iod_s=_speed(filmed),
        drawn_speed_iod_s=_speed(drawn),
        closures=len(shut),
        closures_drawn=sum(bool(np.nanmin(drawn[i - 1 : i + 2]) < _SHUT_IOD) for i in shut),
    )


def _correlation(filmed: Array, drawn: Array, lag: int) -> float:
    n = len(filmed) - abs(lag)
    pair = np.stack([drawn[max(0, lag) :][:n], filmed[max(0, -lag) :][:n]])
    pair = pair[:, ~np.isnan(pair).any(axis=0)]
    return float(np.asarray(np.corrcoef(pair))[0, 1])


def _range(opening: Array) -> float:
    low, high = np.nanpercentile(opening, (5, 95))
    return float(high - low)


def _speed(opening: Array) -> float:
    return float(np.nanmean(np.abs(np.diff(opening))) * FPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    for clip in parser.parse_args().clips:
        print(clip.name, likeness(filmed_openings(clip), drawn_openings(windows_of(sound_of(clip)))), flush=True)


if __name__ == "__main__":
    main()
