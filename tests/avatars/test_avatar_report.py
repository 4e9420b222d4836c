"""A usable face that will make a worse avatar is not called good: the report says what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest
from clips import face_at

from avatars.detect import Face
from avatars.report import Concern, concerns_of, report_of
from avatars.tracking import follow


def concerns(face: Face, width: int, height: int, count: int = 1) -> tuple[Concern, ...]:
    return concerns_of(follow([[face]] * count), width, height)


def moved_below(face: Face, part: int) -> int:
    """The height of a picture whose lower edge lies at this point of the face."""
    return int(face.landmarks[part, 1])


def opened(face: Face, gap_iod: float) -> Face:
    """The face with its lips that far apart."""
    points = face.landmarks.copy()
    eyes = np.linalg.norm(points[263] - points[33])
    points[14] = points[13] + np.array([0, gap_iod * eyes, 0], np.float32)
    return type(face).from_landmarks(points)


def test_a_good_face_raises_no_concern() -> None:
    """A face that fills its picture, lips closed, is good, and said to be."""
    face = face_at(size=512)
    assert concerns(face, 512, 512) == ()
    assert report_of(follow([[face]]), face.size_px).words == ("The face is good.",)


@pytest.mark.parametrize(
    ("concern", "face", "width", "height"),
    [
        (Concern.SMALL_FACE, face_at(size=512), 4000, 2000),
        (Concern.SMALL_MOUTH, face_at(size=160), 160, 160),
        (Concern.MOUTH_CUT, face_at(size=512), 512, moved_below(face_at(size=512), 17)),
        (Concern.CHIN_CUT, face_at(size=512), 512, moved_below(face_at(size=512), 152) - 4),
        (Concern.MOUTH_CUT, face_at(x=-260, size=512), 512, 512),
        (Concern.MOUTH_OPEN, opened(face_at(size=512), 0.15), 512, 512),
    ],
)
@pytest.mark.parametrize("count", [1, 30])
def test_what_makes_a_worse_avatar_is_said(concern: Concern, face: Face, width: int, height: int, count: int) -> None:
    """Of photos and clips alike; and then the face is not called good as well."""
    assert concern in concerns(face, width, height, count)
    track = follow([[face]] * count)
    words = report_of(track, face.size_px, concerns_of(track, width, height)).words
    assert "The face is good." not in words
    assert words


def test_a_mouth_that_speaks_is_not_open_at_rest() -> None:
    """Of a clip the closed mouths count, not the open ones in between."""
    shut, wide = face_at(size=512), opened(face_at(size=512), 0.3)
    assert concerns_of(follow([[shut], [wide], [wide], [shut], [wide]] * 6), 512, 512) == ()
