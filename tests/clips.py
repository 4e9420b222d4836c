"""Clips for tests, encoded with PyAV from pictures, with any rate, timestamps, container and rotation tag."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from portraits import portrait

from avatars.detect import Face

SIDE = 192


def moving_portrait(count: int, side: int = SIDE) -> list[np.ndarray]:
    """Return pictures of the drawn woman, swaying by a few pixels: uint8 RGB (side, side, 3)."""
    picture, _ = portrait("woman", side)
    return [np.roll(picture, round(4 * np.sin(index / 4)), axis=1) for index in range(count)]


def grey_levels(levels: Iterable[int], side: int = 64) -> list[np.ndarray]:
    """Return plain pictures that can be identified by their brightness."""
    return [np.full((side, side, 3), level, np.uint8) for level in levels]


def write_clip(
    path: Path,
    pictures: Sequence[np.ndarray],
    rate: int = 25,
    codec: str = "libx264",
    times_s: Sequence[float] | None = None,
    faststart: bool = False,
) -> Path:
    """Encode pictures. times_s: a timestamp for each picture."""
    options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.VideoStream)
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, rgb in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = round(1000 * (times_s[index] if times_s else index / rate))
            frame.time_base = Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """Write a second of silence without a picture."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=48000)
        for start in range(0, 48000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.pts, frame.sample_rate = start, 48000
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def tag_turn(path: Path, a: int = 0, b: int = 1, c: int = -1, d: int = 0) -> None:
    """Write a display matrix: (x, y) is shown at (a x + c y, b x + d y).

    The default is that of a phone held upright: the picture has to be turned clockwise by 90 degrees.
    """
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # its place in a version 0 header
    data[matrix : matrix + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


class ScriptedAnalyzer:
    """A FaceAnalyzer that gives the next of its answers with each call; the last one is repeated."""

    def __init__(self, answers: Sequence[list[Face]]) -> None:
        self._answers = answers
        self.calls = 0
        self.closed = False

    def analyse(self, rgb: np.ndarray) -> list[Face]:
        answer = self._answers[min(self.calls, len(self._answers) - 1)]
        self.calls += 1
        return answer

    def close(self) -> None:
        self.closed = True


def face_at(x: float = 0.0, y: float = 0.0, size: float = SIDE, yaw_deg: float = 0.0) -> Face:
    """Return the drawn woman's face in a picture of that size, moved, and turned about its vertical axis."""
    _, landmarks = portrait("woman", 384)
    points = landmarks * np.float32(size / 384)
    middle = points.mean(axis=0)
    turn = np.radians(yaw_deg)
    rotation = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    points = (points - middle) @ rotation.T + middle + [x, y, 0]
    return Face.from_landmarks(points.astype(np.float32))
