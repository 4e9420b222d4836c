"""A still idles for a minute without repeating itself: its head moves softly, it breathes and blinks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from avatars.idle_life import BLINK, MIN_LOOP_S, MOTIONS, IdleLife, idle_life
from avatars.media_limits import FPS

SEEDS = (0, 1, 2, 3)


@pytest.fixture(params=SEEDS)
def life(request: pytest.FixtureRequest) -> IdleLife:
    return idle_life(request.param)


def blinks_of(life: IdleLife) -> npt.NDArray[np.intp]:
    """Places in the loop at which lids begin to close."""
    closures = life.closures[life.order]
    return np.flatnonzero((closures == np.float32(BLINK[0])) & (np.roll(closures, 1) == 0))


def test_it_lasts_a_minute_and_does_not_repeat(life: IdleLife) -> None:
    """At no shift of the loop are more than a sixth of its pictures the same, and no 6 s come twice."""
    assert len(life.order) >= MIN_LOOP_S * FPS
    alike = [(life.order == np.roll(life.order, shift)).mean() for shift in range(1, len(life.order))]
    assert max(alike) < 1 / 6
    stretches = np.lib.stride_tricks.sliding_window_view(np.tile(life.order, 2), 6 * FPS)[: len(life.order)]
    assert len(np.unique(stretches, axis=0)) == len(life.order)


def test_few_frames_are_kept_and_all_are_shown(life: IdleLife) -> None:
    """A minute is made of at most 340 frames, and none of them is kept for nothing."""
    assert len(life.poses) == len(life.closures) <= 340
    assert np.array_equal(np.unique(life.order), np.arange(len(life.poses)))


def test_the_head_moves_softly(life: IdleLife) -> None:
    """From picture to picture, over the seam too, no motion jumps, and none changes its speed at once."""
    poses = life.poses[life.order]
    steps = np.abs(np.diff(poses, axis=0, append=poses[:1]))
    changes = np.abs(np.diff(steps, axis=0, append=steps[:1]))
    reach = np.ptp(poses, axis=0)
    assert poses.shape == (len(life.order), len(MOTIONS))
    assert (steps.max(axis=0) < 0.08 * reach).all()
    assert (changes.max(axis=0) < 0.015 * reach).all()
    assert np.abs(poses).max() < 0.05


def test_it_breathes_all_the_time(life: IdleLife) -> None:
    """A breath, in and out, takes 2.5 to 6 s, and every one is as deep."""
    breath = life.poses[life.order, MOTIONS.index("breath")]
    full = np.flatnonzero((breath == breath.max()) & (np.roll(breath, 1) < breath.max()))
    assert breath.min() == 0
    assert np.diff(full).min() > 2.5 * FPS and np.diff(full).max() < 6 * FPS


def test_blinks_are_irregular_and_sometimes_double(life: IdleLife) -> None:
    """They are 1.6 to 6.6 s apart or doubled at once, never at the seam, and always run as lids do."""
    starts = blinks_of(life)
    closures = life.closures[life.order]
    gaps = np.diff(starts)
    single = gaps[gaps > FPS]
    assert all(closures[start : start + len(BLINK)].tolist() == pytest.approx(BLINK) for start in starts)
    assert len(starts) * len(BLINK) == np.count_nonzero(closures)
    assert single.min() >= 1.6 * FPS and single.max() <= 6.6 * FPS
    assert single.std() > 0.5 * FPS
    assert closures[[0, -1]].tolist() == [0, 0]


def test_some_blinks_are_double() -> None:
    """Over a few avatars there are double blinks, and they are the exception."""
    gaps = np.concatenate([np.diff(blinks_of(idle_life(seed))) for seed in range(8)])
    assert 0 < (gaps < FPS).mean() < 0.25


def test_avatars_idle_each_in_its_own_way() -> None:
    """Another seed gives another order; the same one gives the same, so a preparation can be repeated."""
    one, again, other = idle_life(0), idle_life(0), idle_life(1)
    assert np.array_equal(one.order, again.order) and np.array_equal(one.poses, again.poses)
    assert one.order[:500].tolist() != other.order[:500].tolist()


def test_neighbouring_frames_have_neighbouring_poses(life: IdleLife) -> None:
    """Boxes are smoothed over frames as they are kept, so these must not jump between far poses."""
    jumps = np.abs(np.diff(life.poses, axis=0)).max(axis=0)
    assert (jumps < 0.35 * np.ptp(life.poses, axis=0)).all()


def test_eyes_jump_and_stay(life: IdleLife) -> None:
    """Between jumps of the eyes lie 0.35 to 4 s; the loop begins and ends looking ahead, and a jump is no turn."""
    gazes = life.gazes[life.order]
    jumps = np.flatnonzero((gazes != np.roll(gazes, 1, axis=0)).any(axis=1))
    stays = np.diff(jumps) / FPS
    assert stays.min() >= 0.35 and stays.max() <= 4
    assert 0.5 < stays.mean() < 2
    assert not gazes[[0, -1]].any() and np.abs(gazes).max() <= 1
    assert np.ptp(gazes[:, 0]) > 1.5 * np.ptp(gazes[:, 1]) > 0


def test_most_blinks_cover_a_jump_of_the_eyes(life: IdleLife) -> None:
    """Where a blink comes while the head is on its way, the eyes jump within it."""
    gazes = life.gazes[life.order]
    starts = [
        start for start in blinks_of(life) if (life.poses[life.order[start]] != life.poses[life.order[start + 1]]).any()
    ]
    assert starts
    assert all((gazes[start : start + len(BLINK)] != gazes[start]).any() for start in starts)
