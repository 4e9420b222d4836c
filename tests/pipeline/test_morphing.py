"""A face on its way from one place to another: one face at each step, and a background that stays."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.compositing import Dissolve
from pipeline.morphing import moved
from pipeline.types import FloatArray, ImageArray

HEIGHT, WIDTH = 240, 320
RADIUS = 40


def face_at(x: float, y: float, turn: float = 0.0) -> tuple[ImageArray, FloatArray]:
    """A grey picture with a white disc that has a dark spot on its rim, and points of the disc."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False) + turn
    rim = np.stack([x + RADIUS * np.cos(angles), y + RADIUS * np.sin(angles)], axis=1)
    points = np.concatenate([rim, (rim + np.array([x, y])) / 2]).astype(np.float32)
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[:, :16] = (np.arange(HEIGHT, dtype=np.uint8) // 4)[:, None, None]
    cv2.circle(image, (round(x), round(y)), RADIUS, (250, 250, 250), -1)
    cv2.circle(image, tuple(round(float(v)) for v in points[40]), 6, (0, 0, 0), -1)
    return image, points


def middle_of(bright: npt.NDArray[np.bool_]) -> tuple[float, float]:
    rows, columns = np.nonzero(bright)
    return float(columns.mean()), float(rows.mean())


def test_a_face_is_moved_and_what_is_far_from_it_stays() -> None:
    """By its points: where they were, they are at their targets."""
    image, points = face_at(150, 120)
    _, target = face_at(162, 126)
    out = moved(image, points, target)
    assert middle_of(out[..., 0] > 180) == pytest.approx((162, 126), abs=1.0)
    assert (out[:, :16] == image[:, :16]).all() and (out[:8] == image[:8]).all()


def test_a_face_is_turned() -> None:
    """The spot on it goes where its point goes."""
    image, points = face_at(150, 120)
    _, target = face_at(150, 120, turn=0.3)
    out = moved(image, points, target)
    spot = middle_of((out[..., 0] < 60) & (np.arange(WIDTH) > 100))
    assert spot == pytest.approx(tuple(target[40]), abs=2.0)


def test_a_dissolve_shows_one_face_and_not_two() -> None:
    """At each step it is where it should be; the sum of two faces would be wider."""
    (before, there), (after, here) = face_at(150, 120), face_at(166, 120)
    for step in range(1, 6):
        picture = Dissolve(before, after, step / 6, there, here).frame()
        x, _y = middle_of(picture[..., 0] > 180)
        assert x == pytest.approx(150 + 16 * step / 6, abs=1.5)
        columns = np.nonzero((picture[..., 0] > 120).any(axis=0) & (np.arange(WIDTH) > 30))[0]
        assert np.ptp(columns) <= 2 * RADIUS + 4


def test_what_is_no_face_or_another_one_is_left_as_it_is() -> None:
    """Points that are all one, that have not moved, or that are far away."""
    image, points = face_at(150, 120)
    for there, here in ((points * 0, points * 0), (points, points), (points, points + 100)):
        assert moved(image, there, here) is image
