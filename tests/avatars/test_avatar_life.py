"""A still blinks and moves its head a little, without a seam, and its landmarks move along."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from portraits import drawn, portrait

from avatars.eyelids import Eyelids
from avatars.geometry import LEFT_EYE, LIPS, RIGHT_EYE
from avatars.idle_life import idle_life
from avatars.life import HeadMotion, enlarged, enliven
from avatars.media import read_photo
from avatars.media_limits import fit_within

SIZE = 256
UPPER_LID, LOWER_LID = 159, 145  # middle of the left eye


@pytest.mark.parametrize("name", ["woman", "astronaut"])
def test_the_loop_is_seamless(name: str) -> None:
    """The last picture differs from the first no more than neighbours do, and the loop does move."""
    picture, landmarks = portrait(name, 192)
    life = idle_life(0)
    shown = life.order[np.arange(-20, 20)]
    frames, places = np.unique(shown, return_inverse=True)
    few = life.subset(frames, places.astype(np.int32))
    drawn = [rgb.astype(int) for rgb, *_ in enliven(picture, landmarks, few)]
    steps = [np.abs(drawn[here] - drawn[before]).mean() for before, here in pairwise(places)]
    assert steps[19] <= max(steps[:19] + steps[20:])
    assert np.abs(drawn[places[0]] - drawn[places[20]]).mean() > 0.2
    assert len(drawn) == len(frames)


@pytest.mark.parametrize("axis", range(7))
def test_landmarks_move_with_the_pixels(axis: int) -> None:
    """A spot painted at a landmark is found, in the moved picture, where the moved landmark is."""
    _, landmarks = portrait("woman", SIZE)
    motion = HeadMotion(landmarks, SIZE, SIZE)
    pose = np.zeros(7, np.float32)
    pose[axis] = 0.06
    field = motion.field(pose)
    moved = motion.move(landmarks, field)
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    for index in (LIPS[0], LIPS[20], LEFT_EYE[0], 152):
        spot = np.exp(-((x - landmarks[index, 0]) ** 2 + (y - landmarks[index, 1]) ** 2) / 18)
        shown = motion.warp(enlarged((255 * spot).astype(np.uint8)), field).astype(float)
        centre = (shown * x).sum() / shown.sum(), (shown * y).sum() / shown.sum()
        assert centre == pytest.approx(moved[index, :2], abs=0.3)


def test_the_borders_stay() -> None:
    """Head motion moves nothing at the left, right and upper border of the picture."""
    picture, landmarks = portrait("woman", SIZE)
    motion = HeadMotion(landmarks, SIZE, SIZE)
    field = motion.field(np.full(7, 0.02, np.float32))
    assert np.abs(field[:, [0, -1]]).max() < 0.15
    assert np.abs(field[0]).max() < 0.15
    assert np.abs(field[24, 24]).max() > 1
    still = motion.warp(enlarged(picture), motion.field(np.zeros(7, np.float32)))
    assert np.abs(still.astype(int) - picture).mean() < 1


@pytest.mark.parametrize("name", ["woman", "astronaut"])
def test_lids_close_without_touching_the_rest(name: str) -> None:
    """Closed lids cover the eye, lip and cheek stay as they are, and the landmarks of the lids meet."""
    picture, landmarks = portrait(name, 768)
    shut, points = Eyelids(picture, landmarks).at(1.0)
    changed = np.abs(shut.astype(int) - picture).max(axis=2) > 12
    y, x = np.nonzero(changed)
    eyes = landmarks[[*LEFT_EYE, *RIGHT_EYE], :2]
    reach = 0.35 * np.ptp(eyes[:, 0])
    assert changed.sum() > 300
    assert eyes[:, 0].min() - reach < x.min() < x.max() < eyes[:, 0].max() + reach
    assert eyes[:, 1].min() - reach < y.min() < y.max() < eyes[:, 1].max() + 0.3 * reach
    assert points[UPPER_LID] == pytest.approx(points[LOWER_LID])
    assert np.delete(points, [*LEFT_EYE, *RIGHT_EYE], 0) == pytest.approx(
        np.delete(landmarks, [*LEFT_EYE, *RIGHT_EYE], 0)
    )


def test_lids_close_gradually() -> None:
    """The further the lids are closed, the less of the eye is left as it was."""
    picture, landmarks = portrait("astronaut", 768)
    lids = Eyelids(picture, landmarks)
    changes = [np.abs(lids.at(closure)[0].astype(int) - picture).sum() for closure in (0, 0.3, 0.6, 1.0)]
    assert changes[0] == 0
    assert changes == sorted(set(changes))


@pytest.mark.parametrize("name", ["woman", "man"])
def test_a_painted_twin_is_reached(name: str) -> None:
    """With a twin whose eyes are closed, full closure shows the twin."""
    picture, landmarks = portrait(name, SIZE)
    twin = fit_within(read_photo(drawn(name).closed_eyes), SIZE)
    shut, _ = Eyelids(picture, landmarks, twin).at(1.0)
    away, reached = np.abs(picture.astype(int) - twin), np.abs(shut.astype(int) - twin)
    assert reached.sum() < 0.25 * away.sum()


def test_shut_eyes_do_not_blink() -> None:
    """Eyes that are shut in the photo stay as they are."""
    picture, landmarks = portrait("woman", SIZE)
    for ring in (LEFT_EYE, RIGHT_EYE):
        landmarks[list(ring[1:8])] = landmarks[list(ring[15:8:-1])]
    shut, points = Eyelids(picture, landmarks).at(1.0)
    assert np.array_equal(shut, picture)
    assert np.array_equal(points, landmarks)


def test_an_eye_at_the_border_is_left_alone() -> None:
    """A face that is cut by the border of the picture breaks nothing."""
    picture, landmarks = portrait("woman", SIZE)
    rgb, points = Eyelids(picture, landmarks + np.array([-150, 0, 0], np.float32)).at(1.0)
    assert rgb.shape == picture.shape
    assert np.isfinite(points).all()
