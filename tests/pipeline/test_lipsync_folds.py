"""The folds of a still smooth out where its mouth gets narrower, deepen where it gets wider, and are its own."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from portraits import portrait

from pipeline.lipsync.folds import SkinFolds
from pipeline.types import FloatArray, ImageArray

TO_CHART = np.array([[1 / 100, 0, -2.56], [0, 1 / 100, -3.0]])
"of a picture of 512 px, 100 px per IOD"
WHOLE = np.array([0.0, 0.0, 512.0, 512.0])
TO_PX = np.asarray(cv2.invertAffineTransform(TO_CHART), np.float64)
LUMA = np.array([0.299, 0.587, 0.114])


def folds_of(picture: ImageArray, landmarks: FloatArray) -> SkinFolds | None:
    return SkinFolds.of(picture, landmarks.astype(np.float64), TO_PX, 100.0, WHOLE)


@pytest.fixture(name="folded", scope="module")
def folded_() -> tuple[ImageArray, FloatArray]:
    """A face of one colour with a dark line from the nose to the mouth on each side."""
    _picture, landmarks = portrait("woman", 512)
    picture = np.full((512, 512, 3), (200, 160, 140), np.uint8)
    return draw_folds(picture, landmarks, (150, 105, 90)), landmarks


def draw_folds(picture: ImageArray, landmarks: FloatArray, colour: tuple[int, int, int]) -> ImageArray:
    for line in ((203, 206, 216), (423, 426, 436)):
        cv2.polylines(picture, [landmarks[list(line), :2].round().astype(np.int32)], False, colour, 3, cv2.LINE_AA)
    return picture


def darkness(picture: ImageArray, landmarks: FloatArray) -> float:
    """How much darker the folds are than the skin, in levels."""
    x, y = landmarks[206, :2].round().astype(int)
    return float(200 * LUMA[0] + 160 * LUMA[1] + 140 * LUMA[2] - (picture[y, x] @ LUMA))


def test_a_narrower_mouth_smooths_folds_and_a_wider_one_deepens_them(folded: tuple[ImageArray, FloatArray]) -> None:
    """The further the mouth goes, the more; and no fold becomes lighter than the skin."""
    picture, landmarks = folded
    folds = folds_of(picture, landmarks)
    assert folds is not None
    seen = [darkness(folds.moved(picture, TO_CHART, narrower), landmarks) for narrower in (-0.2, -0.06, 0, 0.06, 0.2)]
    assert seen == sorted(seen, reverse=True) and len(set(seen)) == 5
    assert seen[0] > 1.3 * seen[2] and -2 < seen[4] < 0.4 * seen[2]


def test_a_smoothed_fold_has_the_colour_of_the_skin_around_it(folded: tuple[ImageArray, FloatArray]) -> None:
    """Also where the fold is redder than the skin."""
    picture, landmarks = folded
    redder = draw_folds(picture.copy(), landmarks, (170, 95, 80))
    folds = folds_of(redder, landmarks)
    assert folds is not None
    x, y = landmarks[206, :2].round().astype(int)
    before, after = (
        image[y, x].astype(int) - (200, 160, 140) for image in (redder, folds.moved(redder, TO_CHART, 0.2))
    )
    assert np.ptp(after) < 0.4 * np.ptp(before)


def test_only_the_folds_change(folded: tuple[ImageArray, FloatArray]) -> None:
    """Lips, nostrils and what is far from the folds keep every pixel."""
    picture, landmarks = folded
    folds = folds_of(picture, landmarks)
    assert folds is not None
    changed = np.any(folds.moved(picture, TO_CHART, 0.2) != picture, axis=2)
    near = np.zeros((512, 512), np.uint8)
    for line in ((129, 203, 206, 216, 212), (358, 423, 426, 436, 432)):
        cv2.polylines(near, [landmarks[list(line), :2].round().astype(np.int32)], False, 1, 40)
    assert changed.any() and not changed[near == 0].any()


def test_nothing_changes_at_the_rim_of_the_box(folded: tuple[ImageArray, FloatArray]) -> None:
    """Also where a fold goes on outside of it, so a patch joins its frame without a seam."""
    picture, landmarks = folded
    x, y = landmarks[206, :2].round().astype(int)
    box = np.array([x - 30, y - 10, x + 170, y + 190])
    folds = SkinFolds.of(picture, landmarks.astype(np.float64), TO_PX, 100.0, box)
    assert folds is not None
    changed = np.any(folds.moved(picture, TO_CHART, 0.2) != picture, axis=2)
    assert changed[y : y + 10, x - 10 : x + 10].any()
    changed[box[1] + 3 : box[3] - 3, box[0] + 3 : box[2] - 3] = False
    assert not changed.any()


@pytest.mark.parametrize("change", [lambda image: image, lambda image: cv2.GaussianBlur(image, (0, 0), 3)])
def test_a_smooth_face_gets_no_folds(change: Callable[[ImageArray], ImageArray]) -> None:
    """Skin of one colour gives nothing to move."""
    _picture, landmarks = portrait("woman", 512)
    assert folds_of(np.asarray(change(np.full((512, 512, 3), 180, np.uint8))), landmarks) is None


def test_a_mouth_that_stays_as_wide_costs_nothing(folded: tuple[ImageArray, FloatArray]) -> None:
    """The very same pixels come back, not a copy."""
    picture, landmarks = folded
    folds = folds_of(picture, landmarks)
    assert folds is not None
    assert folds.moved(picture, TO_CHART, 0.001) is picture
