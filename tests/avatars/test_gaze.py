"""The eyes of a still look about: both irises move together, between lids and in a face that stay."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from portraits import portrait

from avatars.eyelids import measured_eyes
from avatars.gaze import Gaze
from avatars.geometry import LEFT_EYE, LEFT_IRIS, RIGHT_EYE, RIGHT_IRIS

ImageArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

NAMES = ("woman", "man", "astronaut")


@pytest.mark.parametrize("name", NAMES)
def test_straight_ahead_is_the_picture(name: str) -> None:
    """A gaze of 0 gives picture and landmarks to the bit."""
    picture, landmarks = portrait(name, 512)
    seen, points = Gaze(picture, landmarks).at(0, 0)
    assert np.array_equal(seen, picture) and np.array_equal(points, landmarks)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("right", [-1.0, 1.0])
def test_both_irises_move_and_the_face_stays(name: str, right: float) -> None:
    """The iris moves to the wanted side, as far as its landmarks do, and no pixel outside the eyes."""
    picture, landmarks = portrait(name, 768)
    seen, points = Gaze(picture, landmarks).at(right, 0)
    eyes = np.zeros(picture.shape[:2], np.uint8)
    for ring, iris, eye in zip(
        (LEFT_EYE, RIGHT_EYE), (LEFT_IRIS, RIGHT_IRIS), measured_eyes(picture, landmarks), strict=True
    ):
        outline = landmarks[list(ring), :2].round().astype(np.int32)
        within = cv2.fillPoly(np.zeros_like(eyes), [outline], 1)
        eyes |= within
        assert eye is not None
        wanted = float((points - landmarks)[iris[0], 0])
        assert 0.03 * eye.width < wanted * right < 0.06 * eye.width
        assert _moved_px(picture, seen, landmarks[list(iris), :2]) == pytest.approx(wanted, abs=0.8)
    away = cv2.dilate(eyes, np.ones((7, 7), np.uint8)) == 0
    assert np.array_equal(seen[away], picture[away])


def test_eyes_that_cannot_be_moved_well_stay() -> None:
    """Small eyes, eyes that are nearly shut, and eyes without a white always look as they do in the picture."""
    small, narrow = portrait("woman", 128), portrait("woman", 512)
    narrow[1][list(LEFT_EYE[1:8]), 1] = narrow[1][list(LEFT_EYE[15:8:-1]), 1] - 2
    blue = portrait("woman", 512)
    for ring in (LEFT_EYE, RIGHT_EYE):
        cv2.fillPoly(blue[0], [blue[1][list(ring), :2].round().astype(np.int32)], (40, 160, 175))
    for picture, landmarks in (small, narrow, blue):
        gaze = Gaze(picture, landmarks)
        assert not gaze.moves
        assert np.array_equal(gaze.at(1, 1)[0], picture)
    assert Gaze(*portrait("woman", 512)).moves


def _moved_px(before: ImageArray, after: ImageArray, iris: FloatArray) -> float:
    """How far to the right the middle of an iris, five points (5, 2) px, is found again."""
    radius = 0.7 * float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
    x, y = iris[0]
    middle = before[int(y - radius) : int(y + radius), int(x - radius) : int(x + radius)]
    rows = after[int(y - radius) : int(y + radius), int(x - 3 * radius) : int(x + 3 * radius)]
    unlike = cv2.matchTemplate(rows, middle, cv2.TM_SQDIFF)[0]
    return float(np.argmin(unlike) - (int(x - radius) - int(x - 3 * radius)))
