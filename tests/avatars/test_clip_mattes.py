"""Where the person of a clip is: by a network that is unsure of single pictures, and by what is behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import pytest

from avatars.clip_background import seen_background
from avatars.clip_mattes import mattes_of_clip
from avatars.mattes import Mattes
from avatars.picture_flow import PictureFlow

SIDE, COUNT = 160, 61
SKIN, HAIR, WALL = (210, 160, 130), (50, 42, 36), (38, 60, 120)
SWAYS = [6 * float(np.sin(index / 10)) for index in range(COUNT)]
Pictures = Sequence[np.ndarray]


def alpha_of(sway: float, *, with_hair: bool = True) -> np.ndarray:
    """How much of each pixel is a person who sways by so many px: a face, a body, a lock of hair beside the face."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    columns -= np.float32(sway)
    face = np.clip(36 - np.hypot(columns - 80, rows - 70), 0, 1)
    body = np.clip(np.minimum(columns - 40, 120 - columns), 0, 1) * (rows > 100)
    lock = np.clip(12 - np.hypot(columns - 118, (rows - 84) / 2), 0, 1)
    return np.asarray(np.maximum.reduce([face, body, lock * with_hair]), np.float32)


def filmed(wall: np.ndarray, noise: float = 0.0) -> list[np.ndarray]:
    """A picture uint8 RGB (SIDE, SIDE, 3) for each of SWAYS, before a wall (SIDE, SIDE, 3)."""
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    pictures = []
    for sway in SWAYS:
        alpha, bald = alpha_of(sway)[..., None], alpha_of(sway, with_hair=False)[..., None]
        pattern = 12 * np.sin((columns - sway) / 4) * np.cos(rows / 5)
        colours = bald * (np.array(SKIN) + pattern[..., None]) + (1 - bald) * np.array(HAIR)
        picture = alpha * colours + (1 - alpha) * wall + random.normal(0, noise, (SIDE, SIDE, 3))
        pictures.append(np.clip(np.round(picture), 0, 255).astype(np.uint8))
    return pictures


def plain_wall() -> np.ndarray:
    return np.broadcast_to(np.array(WALL, np.float32), (SIDE, SIDE, 3))


def soft(alpha: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), 1.5), np.float32)


class Unsure:
    """A network with soft edges that sees the hair in every third picture that it is given."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, _picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        self._calls += 1
        return soft(alpha_of(SWAYS[frame_of(landmarks)], with_hair=self._calls % 3 == 1))


LANDMARKS = np.broadcast_to(np.arange(COUNT, dtype=np.float32)[:, None, None], (COUNT, 478, 3))
"By them the networks of these tests know which picture they see."


def frame_of(landmarks: np.ndarray) -> int:
    return int(landmarks[0, 0])


def mattes(pictures: Pictures, find: Callable[[np.ndarray, np.ndarray], np.ndarray | None]) -> Mattes | None:
    def some(frames: Sequence[int]) -> Iterator[np.ndarray]:
        return (pictures[frame] for frame in frames)

    return mattes_of_clip(some, LANDMARKS, find, lambda _part: None)


def known(pictures: Pictures) -> list[np.ndarray]:
    found = mattes(pictures, Unsure())
    assert found is not None
    return [found.matte(frame).astype(np.float32) / 255 for frame in range(COUNT)]


def test_hair_that_the_network_misses_now_and_then_is_there_in_every_picture() -> None:
    """Before a plain wall, what differs from the wall beside the person is the person."""
    for frame, matte in enumerate(known(filmed(plain_wall(), noise=2))):
        truth = alpha_of(SWAYS[frame])
        assert np.abs(matte - truth).mean() < 0.01, frame
        assert matte[84, round(123 + SWAYS[frame])] > 0.9, frame


def test_the_edge_does_not_flicker() -> None:
    """From picture to picture it moves with the person, and hardly beside that, though the camera has noise."""
    found = np.stack(known(filmed(plain_wall(), noise=3)))
    truth = np.stack([alpha_of(sway) for sway in SWAYS])
    jerk, wanted = (np.abs(it[1:-1] - (it[:-2] + it[2:]) / 2) for it in (found, truth))
    assert jerk.mean() < wanted.mean() + 0.001
    assert jerk.max() < 0.35


def test_before_a_background_that_nobody_knows_the_network_has_the_last_word() -> None:
    """A pattern behind the person that is never seen is not taken for a part of the person."""
    wall = 40 + 160 * (np.random.default_rng(2).random((SIDE // 8, SIDE // 8, 3)) > 0.5).astype(np.float32)
    pictures = filmed(cv2.resize(wall, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))
    found = mattes(pictures, lambda _picture, landmarks: soft(alpha_of(SWAYS[frame_of(landmarks)])))
    assert found is not None
    for frame in range(0, COUNT, 6):
        truth = alpha_of(SWAYS[frame])
        matte = found.matte(frame).astype(np.float32) / 255
        assert np.abs(matte - truth).mean() < 0.04  # no flow is exact before such a pattern
        assert matte[cv2.dilate(truth, np.ones((21, 21))) == 0].max() < 0.02


@pytest.mark.parametrize("light", [0.3, 1.0])
def test_the_network_is_shown_a_dark_clip_brightened(light: float) -> None:
    """It takes dark hair before a dark wall for background. A picture of usual brightness stays as it is."""
    pictures = [np.round(light * picture).astype(np.uint8) for picture in filmed(np.full((SIDE, SIDE, 3), 130.0))]
    middles: list[float] = []

    def find(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        middles.append(float(np.median(picture)))
        return soft(alpha_of(SWAYS[frame_of(landmarks)]))

    assert mattes(pictures, find) is not None
    assert 90 < min(middles) <= max(middles) < 150 and (light < 1 or max(middles) <= 131)


def test_there_are_none_where_the_network_sees_no_person() -> None:
    """Nor where it sees one in a few pictures only: the avatar keeps its background, as before."""
    pictures = filmed(plain_wall())
    assert mattes(pictures, lambda _picture, _landmarks: None) is None
    once = iter([soft(alpha_of(0))])
    assert mattes(pictures, lambda _picture, _landmarks: next(once, None)) is None


def test_progress_can_end_it() -> None:
    """What it raises comes through, while the network looks and afterwards."""
    pictures = filmed(plain_wall())
    told: list[float] = []

    def ends(part: float) -> None:
        told.append(part)
        if part > 0.8:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        mattes_of_clip(
            lambda frames: (pictures[frame] for frame in frames),
            LANDMARKS,
            Unsure(),
            ends,
        )
    assert told == sorted(told) and told[0] < 0.3


def test_what_a_person_uncovers_is_known_and_the_rest_is_guessed_by_what_is_next_to_it() -> None:
    """A stripe that is seen beside a person who walks is there in the background; a wall goes on behind them."""
    wall = plain_wall().copy()
    wall[:, 60:64] = (200, 40, 40)
    pictures, persons = [], []
    for x in range(20, 120, 5):
        person = np.zeros((SIDE, SIDE), np.float32)
        person[40:, x : x + 20] = 1
        picture = wall.copy()
        picture[person > 0] = SKIN
        pictures.append(picture.astype(np.uint8))
        persons.append(person)
    background = seen_background(pictures, persons)
    assert np.abs(background.full.astype(float) - wall).max() < 12
    assert background.trust[100, 61] == 1
    still = seen_background(pictures[:1] * 4, persons[:1] * 4)
    assert np.abs(still.full[100, 30].astype(float) - WALL).max() < 12


def test_what_is_known_of_one_picture_is_carried_to_another() -> None:
    """A person who has moved by 5 px takes their matte along."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    pattern = np.sin(columns / 7) * np.cos(rows / 9)

    def picture(shift: int) -> np.ndarray:
        grey = 120 + 60 * np.roll(pattern, shift, axis=1)
        return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)

    flow = PictureFlow(SIDE, SIDE)
    there = flow.carry(np.dstack([alpha_of(0)] * 2), PictureFlow.small(picture(0)), PictureFlow.small(picture(5)))
    assert np.abs(there[:, 20:140, 0] - alpha_of(5)[:, 20:140]).mean() < 0.02
