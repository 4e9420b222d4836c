"""Which real mouths are shown when."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pipeline.lipsync.mouth_choice import MouthChoice

HEAD_DEG = np.zeros(2)
OPENINGS_IOD = np.array([0.0, 0.05, 0.06, 0.15])


@pytest.fixture
def choice() -> MouthChoice:
    """Four mouths, of which the second and third are nearly the same."""
    return MouthChoice(
        opening_iod=OPENINGS_IOD,
        width_iod=np.full(4, 0.5),
        pose_deg=np.zeros((4, 2)),
        opening_spread_iod=0.05,
        width_spread_iod=0.05,
        change=MouthChoice.change_costs(OPENINGS_IOD[:, None], np.eye(4)),
    )


def course(openings: list[float]) -> np.ndarray:
    return np.array([(opening, 0.5) for opening in openings])


def test_the_mouth_that_fits_is_shown(choice: MouthChoice) -> None:
    """A mouth that stays as it is is drawn with the exemplar nearest to it, alone."""
    for opening, exemplar in ((0.0, 0), (0.05, 1), (0.15, 3)):
        assert choice.shares(course([opening] * 9), 4, HEAD_DEG) == [(exemplar, 1.0)]


def test_a_mouth_that_serves_is_held(choice: MouthChoice) -> None:
    """Small movements between two mouths show one of them throughout."""
    openings = [0.05, 0.06] * 8
    shown = {choice.shares(course(openings), now, HEAD_DEG)[0].exemplar for now in range(4, 12)}
    assert len(shown) == 1


def test_one_mouth_gives_way_to_another_over_some_pictures(choice: MouthChoice) -> None:
    """Its share falls from all to nothing in steps, but few pictures show two mouths at once: that is a blur."""
    openings = [0.0] * 10 + [0.15] * 10
    shares = [dict(choice.shares(course(openings), now, HEAD_DEG)).get(0, 0.0) for now in range(20)]
    assert shares[0] == 1 and shares[-1] == 0
    assert (np.diff(shares) <= 1e-9).all() and max(-np.diff(shares)) <= 0.5
    assert 2 <= sum(0 < share < 1 for share in shares) <= 3


def test_mouths_change_while_they_move(choice: MouthChoice) -> None:
    """Lips that open in three pictures change the mouth once, half-way: where they move fast nobody sees it."""
    openings = [0.0] * 8 + [0.01, 0.03, 0.11, 0.13] + [0.13] * 8
    shares = [dict(choice.shares(course(openings), now, HEAD_DEG)) for now in range(20)]
    assert set().union(*shares) == {0, 3}
    assert shares[8] == {0: 1.0} and shares[10] == pytest.approx({0: 0.5, 3: 0.5}) and shares[12] == {3: 1.0}


def test_a_change_is_no_jump_when_more_becomes_known(choice: MouthChoice) -> None:
    """Each picture sees a window of its own; what was shown meanwhile stays, and no mouth comes or goes at once."""
    rng = np.random.default_rng(3)
    said = np.convolve(rng.uniform(0, 0.2, 200), [0.25, 0.5, 0.25], "same").tolist()
    windows = [course(said[start : start + 19]) for start in range(180)]
    shown = [dict(choice.shares(window, 14, HEAD_DEG)) for window in windows]
    steps = [abs(one.get(k, 0.0) - other.get(k, 0.0)) for one, other in pairwise(shown) for k in range(4)]
    assert max(steps) < 0.9 and np.quantile(steps, 0.98) < 0.35


def test_shares_add_up(choice: MouthChoice) -> None:
    """Whatever is said, at most two mouths are mixed, the one that shows most first."""
    rng = np.random.default_rng(2)
    openings = rng.uniform(0, 0.18, 60).tolist()
    for now in range(60):
        shares = choice.shares(course(openings), now, HEAD_DEG)
        assert 1 <= len(shares) <= 2 and sum(share.weight for share in shares) == pytest.approx(1)
        assert shares[0].weight >= shares[-1].weight


def test_a_mouth_of_a_turned_head_is_not_for_a_straight_one(choice: MouthChoice) -> None:
    """Of two that open alike, the one whose head is turned as the frame's is shown."""
    choice.pose_deg[1] = (20.0, 0.0)
    assert choice.shares(course([0.05] * 5), 2, HEAD_DEG)[0].exemplar == 2
    assert choice.shares(course([0.05] * 5), 2, np.array([20.0, 0.0]))[0].exemplar == 1
