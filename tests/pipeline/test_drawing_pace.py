"""Which pictures of speech are left out where drawing all of them takes too long."""

from __future__ import annotations

import pytest

from pipeline.drawing_pace import FEW_AHEAD, MANY_AHEAD, MAX_LEFT_OUT, DrawingPace


def pace_of(picture_s: float, batches: int = 4) -> DrawingPace:
    """A pace of batches of two pictures that took that long each."""
    pace = DrawingPace()
    for _ in range(batches):
        pace.note(2, 2 * picture_s)
    return pace


@pytest.mark.parametrize(
    ("picture_s", "left_out"),
    [(0.03, [0, 0, 0, 0, 0, 0]), (0.06, [1, 0, 1, 0, 1, 0]), (0.1, [1, 1, 0, 1, 1, 0]), (5.0, [1, 1, 0, 1, 1, 0])],
)
def test_as_many_are_left_out_as_drawing_one_takes(picture_s: float, left_out: list[int]) -> None:
    """None where drawing keeps up, and never more than two in a row."""
    pace = pace_of(picture_s)
    assert [pace.leaves_out(0) for _ in left_out] == [bool(wanted) for wanted in left_out]
    assert MAX_LEFT_OUT == 2


def test_none_is_left_out_while_enough_are_drawn_ahead() -> None:
    """It begins when few are left, and ends when the playout is nearly full; in between, all stays as it is."""
    pace = pace_of(0.06)
    assert not any(pace.leaves_out(FEW_AHEAD) for _ in range(4))
    assert pace.leaves_out(FEW_AHEAD - 1)
    assert sum(pace.leaves_out(MANY_AHEAD - 1) for _ in range(4)) == 2
    assert not any(pace.leaves_out(MANY_AHEAD) for _ in range(4))
    assert not any(pace.leaves_out(MANY_AHEAD - 1) for _ in range(4))


def test_a_few_slow_pictures_say_nothing() -> None:
    """At the beginning of a turn everything is new, and later ones count only as part of many."""
    assert not pace_of(1.0, batches=2).leaves_out(0)
    pace = pace_of(0.005, batches=7)
    pace.note(2, 0.3)
    assert not pace.leaves_out(0)
