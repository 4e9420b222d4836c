"""One face is followed through a clip; gaps are bridged or cut away; the loop turns round where it shows least."""

from __future__ import annotations

import numpy as np
import pytest
from clips import face_at

from avatars.detect import Face
from avatars.tracking import LONGEST_GAP, FaceStatus, follow, ping_pong, smooth

pytestmark = pytest.mark.thorough


def test_a_steady_face_is_used_whole() -> None:
    """Ten good pictures are ten used pictures."""
    track = follow([[face_at(x=index)] for index in range(10)])
    assert set(track.statuses) == {FaceStatus.OK}
    assert (track.first, track.stop) == (0, 10)
    assert track.landmarks.shape == (10, 478, 3)


def test_short_gaps_are_bridged_by_interpolation() -> None:
    """Up to five pictures without a face lie on the line between their neighbours."""
    pictures = [[face_at(x=index)] if index < 10 or index >= 10 + LONGEST_GAP else [] for index in range(30)]
    track = follow(pictures)
    assert track.statuses.count(FaceStatus.MISSING) == LONGEST_GAP
    assert (track.first, track.stop) == (0, 30)
    assert np.diff(track.landmarks[:, 0, 0]) == pytest.approx(np.ones(29), abs=1e-3)


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        ([], FaceStatus.MISSING),
        ([face_at(yaw_deg=60)], FaceStatus.TURNED_AWAY),
        ([face_at(x=70, y=70, size=60)], FaceStatus.TOO_SMALL),
    ],
    ids=["missing", "turned away", "too small"],
)
def test_longer_gaps_are_cut_away(bad: list[Face], status: FaceStatus) -> None:
    """Six bad pictures end a stretch, and the longest stretch is used."""
    track = follow([[face_at()]] * 8 + [bad] * (LONGEST_GAP + 1) + [[face_at()]] * 20)
    assert track.statuses[10] is status
    assert (track.first, track.stop) == (14, 34)


def test_a_stretch_begins_and_ends_with_a_good_picture() -> None:
    """Bad pictures at either end are not bridged."""
    track = follow([[]] * 2 + [[face_at()]] * 5 + [[]] * 3)
    assert (track.first, track.stop) == (2, 7)


def test_the_face_is_kept_when_a_larger_one_comes() -> None:
    """The face of the first picture is followed, also past a larger one, and that is reported."""
    mine, other = face_at(), face_at(x=300, size=260)
    track = follow([[mine], [other, mine], [mine]])
    assert track.statuses[1] is FaceStatus.SEVERAL_FACES
    assert track.landmarks[1] == pytest.approx(mine.landmarks)
    assert track.usable_count == 3


def test_a_scene_change_ends_the_stretch() -> None:
    """Another face elsewhere is not joined to the first one."""
    track = follow([[face_at()]] * 10 + [[face_at(x=400)]] * 30)
    first_of_second = next(index for index in range(10, 40) if track.statuses[index] is FaceStatus.OK)
    assert (track.first, track.stop) == (first_of_second, 40)


def test_no_face_at_all() -> None:
    """Without any face nothing is used and no landmark is made up."""
    track = follow([[], []])
    assert track.usable_count == 0
    assert np.isnan(track.landmarks).all()


def test_smoothing_quietens_jitter_and_keeps_place() -> None:
    """Smoothed landmarks shake less, about the same place."""
    noise = np.random.default_rng(0).normal(0, 1, (60, 478, 3)).astype(np.float32)
    quiet = smooth(100 + noise)
    assert quiet.std() < 0.6 * noise.std()
    assert quiet.mean() == pytest.approx(100, abs=0.1)


def test_ping_pong_never_jumps() -> None:
    """The loop goes by single steps, there and back, and its end joins its start."""
    landmarks = np.stack([face_at(x=5 * np.sin(index / 6)).landmarks for index in range(60)])
    first, stop, loop = ping_pong(landmarks)
    assert set(np.abs(np.diff(np.append(loop, loop[0])))) == {1}
    assert set(loop) == set(range(stop - first))
    assert stop - first > 40


def test_the_turns_are_where_the_face_rests() -> None:
    """Of the places near the end the one with the least motion is chosen."""
    x = np.concatenate([np.arange(50.0), np.full(5, 50.0), np.arange(50.0, 55.0)])
    _, stop, _ = ping_pong(np.stack([face_at(x=place).landmarks for place in x]))
    assert 50 <= stop <= 56


def test_two_pictures_loop_as_they_are() -> None:
    """A clip too short to turn round in is played as it is."""
    first, stop, loop = ping_pong(np.zeros((2, 478, 3), np.float32))
    assert (first, stop) == (0, 2)
    assert loop.tolist() == [0, 1]
