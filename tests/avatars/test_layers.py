"""A person moves in front of a background that stays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from portraits import portrait

from avatars import network_files
from avatars.errors import AvatarError
from avatars.geometry import CHIN_TIP, FACE_TOP
from avatars.idle_life import IdleLife
from avatars.layers import Layers
from avatars.life import enliven
from avatars.matte import person_matte

RANDOM = np.random.default_rng(3)
SIDE = 96


def disc() -> npt.NDArray[np.float32]:
    """A matte (SIDE, SIDE): 1 in the middle, 0 outside, and soft over 6 px between."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.clip((33 - np.hypot(x - SIDE / 2, y - SIDE / 2)) / 6, 0, 1).astype(np.float32)


def two_colours(matte: npt.NDArray[np.float32], person: list[int], background: list[int]) -> npt.NDArray[np.uint8]:
    return np.round(matte[..., None] * person + (1 - matte[..., None]) * background).astype(np.uint8)


def test_layers_that_do_not_move_are_the_picture() -> None:
    """Taken apart and put together, a picture is what it was, but for rounding."""
    matte = disc()
    picture = two_colours(matte, [200, 40, 30], [20, 90, 220])
    layers = Layers(picture, matte)
    again = layers.composite(layers.person(picture))
    assert np.abs(again.astype(int) - picture).max() <= 2
    assert np.array_equal(again[matte == 0], picture[matte == 0])


def test_a_soft_edge_takes_no_background_along() -> None:
    """Where the person has moved to, its edge is mixed of its own colour and of what is behind it now: no halo."""
    matte = disc()
    picture = two_colours(matte, [200, 40, 30], [20, 90, 220])
    layers = Layers(picture, matte)
    moved = np.roll(layers.person(picture), 9, axis=1)
    expected = two_colours(np.roll(matte, 9, axis=1), [200, 40, 30], [20, 90, 220])
    assert np.abs(layers.composite(moved).astype(int) - expected).max() <= 4


def test_a_textured_background_stays_to_the_bit() -> None:
    """Wherever the person is moved to, a pixel that it does not cover is the picture's own."""
    matte = disc()
    picture = RANDOM.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    layers = Layers(picture, matte)
    for shift in (-8, 0, 5):
        person = np.roll(layers.person(picture), shift, axis=0)
        free = (matte == 0) & (person[..., 3] == 0)
        assert np.array_equal(layers.composite(person)[free], picture[free])


@pytest.mark.parametrize("name", ["woman", "astronaut"])
def test_the_matte_is_the_person(name: str) -> None:
    """All of the face is in it, the upper corners of the picture are not, and there is a soft edge between."""
    picture, landmarks = portrait(name, 256)
    matte = person_matte(picture, landmarks)
    assert matte is not None and matte.shape == (256, 256)
    top, chin = landmarks[FACE_TOP, :2], landmarks[CHIN_TIP, :2]
    x, y = ((top + chin) / 2).astype(int)
    assert matte[y, x] == 1
    assert matte[:20, :20].max() == matte[:20, -20:].max() == 0
    assert ((matte > 0) & (matte < 1)).any()


def test_a_matte_of_something_else_is_none() -> None:
    """Where the network sees another thing than the face, or nothing at all, there is no matte."""
    picture, landmarks = portrait("woman", 256)
    aside = landmarks - np.array([landmarks[:, 0].min(), 0, 0], np.float32)
    assert person_matte(picture, aside * np.array([0.3, 0.3, 0.3], np.float32)) is None
    assert person_matte(np.full_like(picture, 90), landmarks) is None


def test_what_is_behind_a_still_does_not_move() -> None:
    """While the head of a photo moves, no pixel away from the person changes; without a matte some do."""
    picture, landmarks = portrait("astronaut", 256)
    poses = np.zeros((3, 7), np.float32)
    poses[1, [0, 3]], poses[2, [1, 6]] = 0.04, -0.01
    life = IdleLife(poses, np.zeros(3, np.float32), np.zeros((3, 2), np.float32), np.arange(3, dtype=np.int32))
    matte = person_matte(picture, landmarks)
    assert matte is not None
    ways = (Layers(picture, matte), None)
    kept, moved = ([drawn.astype(int) for drawn, *_ in enliven(picture, landmarks, life, way)] for way in ways)
    away = cv2.dilate((matte > 0).astype(np.uint8), np.ones((21, 21), np.uint8)) == 0
    assert max(np.abs(drawn - kept[0])[away].max() for drawn in kept) == 0
    assert max(np.abs(drawn - moved[0])[away].max() for drawn in moved) > 3
    assert max(np.abs(drawn - kept[0]).max() for drawn in kept) > 20


def test_a_damaged_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not the one we know is not run; the remedy is named."""
    monkeypatch.setattr(network_files, "FOLDER", tmp_path)
    with pytest.raises(AvatarError, match="git checkout"):
        person_matte(*portrait("woman", 64))
