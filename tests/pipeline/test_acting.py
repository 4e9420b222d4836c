"""What a head does with the stresses of a voice: it moves with them, smoothly, and is back at the end."""

import numpy as np

from pipeline.acting import Acting, Expression
from pipeline.stress import AHEAD_PICTURES


def act(stresses: dict[int, float], pictures: int = 100, seed: int = 3, ends: bool = True) -> list[Expression]:
    acting = Acting(seed)
    return [
        acting.next(stresses.get(at, 0.0), min(AHEAD_PICTURES, pictures - 1 - at) if ends else AHEAD_PICTURES)
        for at in range(pictures)
    ]


def nods(shown: list[Expression]) -> np.ndarray:
    return np.array([one.nod for one in shown])


def test_a_head_nods_with_a_stress_and_comes_back() -> None:
    """The nod is deepest 0.08 to 0.24 s after the stress was told, and over within a second."""
    nod = nods(act({10: 1.0}))
    assert 12 <= int(np.argmax(nod)) <= 16
    assert 0.015 < nod.max() < 0.04
    assert np.abs(nod[:10]).max() == 0
    assert np.abs(nod[35:]).max() < 0.001


def test_nothing_moves_by_itself() -> None:
    """A voice without stress leaves the head to the loop."""
    assert all(one.is_still for one in act({}))


def test_motion_has_no_jerk_and_never_swings_past_its_place() -> None:
    """A nod takes four pictures down at least; what goes up by a step comes in steps of a third at most."""
    for seed in range(12):
        shown = act({10: 1.0, 40: 0.8, 60: 1.0}, seed=seed, ends=False)
        for values in (nods(shown), np.array([one.brow for one in shown])):
            assert values.min() >= 0
            assert np.abs(np.diff(values)).max() <= 0.4 * max(values.max(), 1e-9)
        turn = np.array([one.turn for one in shown])
        assert np.abs(np.diff(turn)).max() <= 0.12 * max(np.abs(turn).max(), 1e-9)


def test_all_is_back_with_the_last_picture_of_a_sentence() -> None:
    """Whatever was under way, for the next picture may be one of the loop; and the way back is a slope."""
    for at in range(80, 100):
        nod = nods(act({at: 1.0}))
        assert nod[-1] == 0
        assert np.abs(np.diff(nod)).max() < 0.016


def test_a_head_does_not_mark_every_stress() -> None:
    """Stresses that follow each other fast are one nod."""
    close = nods(act(dict.fromkeys(range(10, 20, 2), 1.0)))
    alone = nods(act({10: 1.0}))
    assert np.array_equal(close[:21], alone[:21])


def test_the_same_seed_acts_the_same_and_another_does_not() -> None:
    """Brows and turns are drawn by lot, and the lot is the session's."""
    stresses = dict.fromkeys(range(5, 95, 15), 0.9)
    assert act(stresses, seed=1) == act(stresses, seed=1)
    assert act(stresses, seed=1) != act(stresses, seed=2)


def test_brows_and_turns_belong_to_some_stresses_only() -> None:
    """Over many seeds about half of the strong ones raise the brows, and no weak one does."""
    strong = [max(one.brow for one in act({10: 1.0}, seed=seed)) > 0 for seed in range(200)]
    assert 80 < sum(strong) < 140
    assert not any(one.brow for seed in range(50) for one in act({10: 0.45}, seed=seed))
    turned = [max(one.turn for one in act({10: 1.0}, seed=seed)) for seed in range(200)]
    assert 30 < sum(turn > 0 for turn in turned) < 100, "to either side"
