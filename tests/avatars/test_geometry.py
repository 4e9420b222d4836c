"""The box, the mask and the head's frame, on the landmarks of two drawn portraits and one photo."""

from pathlib import Path

import numpy as np
import pytest

from avatars import geometry
from pipeline.types import FloatArray

ASSETS = Path(__file__).parents[1] / "assets"
SIZES = {"woman": 768, "man": 768, "astronaut": 512}


@pytest.fixture(params=sorted(SIZES))
def face(request: pytest.FixtureRequest) -> tuple[FloatArray, int]:
    return np.load(ASSETS / f"landmarks_{request.param}.npy"), SIZES[request.param]


def turned(points: FloatArray, degrees: float, centre: FloatArray) -> FloatArray:
    """The same landmarks in a picture that was rotated about `centre`."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    out = points.copy()
    out[:, :2] = (points[:, :2] - centre) @ np.array([[c, s], [-s, c]]) + centre
    return out


def test_box_holds_the_mouth_with_room_for_a_dropped_jaw(face: tuple[FloatArray, int]) -> None:
    """The box lies inside the picture, has even corners, and holds the lips and the chin with 0.2 IOD below it."""
    points, size = face
    x0, y0, x1, y1 = geometry.mouth_box(points, size, size)
    assert not any(v % 2 for v in (x0, y0, x1, y1))
    assert 0 <= x0 < x1 <= size
    assert 0 <= y0 < y1 <= size
    lips = points[list(geometry.LIPS), :2]
    assert (lips > [x0, y0]).all()
    assert (lips < [x1, y1]).all()
    assert y1 > points[geometry.CHIN_TIP, 1] + 0.2 * geometry.interocular(points)


def test_box_leaves_the_eyes_alone(face: tuple[FloatArray, int]) -> None:
    """Blinks are baked into the frames, so the box ends well below the eyes."""
    points, size = face
    assert geometry.mouth_box(points, size, size)[1] > np.concatenate(geometry.eye_rings(points))[:, 1].max()


def test_box_is_cut_at_the_border() -> None:
    """A face at the picture's edge gets a smaller box, never one outside."""
    points = np.load(ASSETS / "landmarks_woman.npy")
    assert geometry.mouth_box(points, 431, 531)[2:] == (430, 530)


def test_boxes_of_a_moving_head_have_one_size_and_stay_inside(face: tuple[FloatArray, int]) -> None:
    """All boxes of an avatar have one size, follow the mouth and stay in the picture."""
    points, size = face
    frames = np.stack([points + np.array([dx, 0.5 * dx, 0]) for dx in range(-40, 41, 10)])
    boxes = geometry.mouth_boxes(frames, size, size)
    assert boxes.dtype == np.int32
    assert len(np.unique(boxes[:, 2:] - boxes[:, :2], axis=0)) == 1
    assert (boxes >= 0).all()
    assert (boxes <= size).all()
    assert not (boxes % 2).any()
    middles = (boxes[:, 0] + boxes[:, 2]) / 2
    assert np.abs(np.diff(middles) - 10).max() <= 2


def test_a_tilted_head_gets_a_box_that_still_holds_its_chin(face: tuple[FloatArray, int]) -> None:
    """Rolling the head by 25 degrees widens the box rather than losing the chin."""
    points, size = face
    rolled = turned(points, 25, points[geometry.NOSE_TIP, :2])
    x0, y0, x1, y1 = geometry.mouth_box(rolled, size * 2, size * 2)
    jaw = rolled[[*geometry.LIPS, geometry.CHIN_TIP], :2]
    assert (jaw > [x0, y0]).all()
    assert (jaw < [x1, y1]).all()


def test_mask_is_full_at_the_mouth_and_zero_on_the_rim() -> None:
    """The weight is 255 in the middle, 0 on every outermost pixel, and falls without a step of more than 40."""
    mask = geometry.mouth_mask(180, 140)
    assert mask.shape == (140, 180)
    assert mask.dtype == np.uint8
    assert mask[60, 90] == 255
    assert not mask[[0, -1]].any()
    assert not mask[:, [0, -1]].any()
    assert np.abs(np.diff(mask.astype(int), axis=0)).max() <= 40
    assert np.abs(np.diff(mask.astype(int), axis=1)).max() <= 40


def test_canonical_points_forget_place_size_and_roll(face: tuple[FloatArray, int]) -> None:
    """Moving, scaling and rolling the picture leaves the head's own frame as it is."""
    points, _ = face
    moved = turned(points, 17, np.array([50.0, 80.0])) * 1.7 + np.array([30.0, -12.0, 0.0])
    np.testing.assert_allclose(geometry.canonical_points(moved), geometry.canonical_points(points), atol=1e-3)


def test_affine_camera_reprojects_what_it_was_fitted_to(face: tuple[FloatArray, int]) -> None:
    """A camera fitted to a smoothly distorted face puts its points back within 2 % of IOD."""
    points, _ = face
    model = geometry.canonical_points(points)
    picture = turned(points, -8, np.array([0.0, 0.0]))[:, :2] * [1.05, 0.97] + 14
    camera = geometry.fit_affine_camera(model, picture)
    error = np.linalg.norm(model @ camera[:, :3].T + camera[:, 3] - picture, axis=1)
    assert error.max() < 0.02 * geometry.interocular(points)


def test_left_and_right_contours_run_from_left_to_right(face: tuple[FloatArray, int]) -> None:
    """Lip contours and the jaw are ordered from the picture's left to its right."""
    points, _ = face
    for contour in (
        geometry.UPPER_LIP_OUTER,
        geometry.LOWER_LIP_OUTER,
        geometry.UPPER_LIP_INNER,
        geometry.LOWER_LIP_INNER,
        geometry.JAW[2:-2],
    ):
        assert (np.diff(points[list(contour), 0]) > 0).all()
