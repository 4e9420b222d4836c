from __future__ import annotations

import numpy as np
import pytest

from models.visemes import CLOSED, MOUTH_PARAMETERS, MOUTH_SHAPES, REST, VISEMES
from pipeline.features.coarticulation import N_COLUMNS, STEP_MS, Coarticulator, rest_steps
from pipeline.types import FloatArray

PRESS, JAW, ROUND = (MOUTH_PARAMETERS.index(name) for name in ("press", "jaw", "round"))


def steps_of(*visemes: tuple[str, int]) -> FloatArray:
    """10 ms steps of visemes that last so many milliseconds."""
    labels = np.concatenate([np.full(ms, VISEMES.index(name)) for name, ms in visemes])
    labels = np.pad(labels, (0, -len(labels) % STEP_MS), constant_values=REST).reshape(-1, STEP_MS)
    steps = np.ones((len(labels), N_COLUMNS), np.float32)
    steps[:, :-1] = (labels[:, :, None] == np.arange(len(VISEMES))).mean(axis=1)
    return steps


def pictures_of(steps: FloatArray) -> FloatArray:
    return Coarticulator(press_gain=1.5, fv_gain=1.5).push(np.concatenate([steps, rest_steps(12)]))


def test_a_long_vowel_reaches_its_shape() -> None:
    """In the middle of a long vowel the mouth has that vowel's shape and is fully active."""
    pictures = pictures_of(steps_of(("oh", 800)))
    np.testing.assert_allclose(pictures[10, :-1], MOUTH_SHAPES[VISEMES.index("oh")], atol=1e-3)
    assert pictures[10, -1] == 1


def test_rest_is_still() -> None:
    """In silence nothing moves, not even a little."""
    assert not pictures_of(rest_steps(80)).any()


@pytest.mark.parametrize("offset_ms", range(0, 40, 5))
@pytest.mark.parametrize("closure_ms", [40, 60, 90])
def test_a_closure_is_seen_wherever_it_falls(offset_ms: int, closure_ms: int) -> None:
    """Lips that meet for 40 ms are shut in at least one picture, and in no more than the closure lasts plus one."""
    pictures = pictures_of(steps_of(("aa", 400 + offset_ms), ("PP", closure_ms), ("aa", 400)))
    shut = pictures[:, PRESS] > 0.7
    assert 1 <= shut.sum() <= closure_ms // 40 + 1
    assert abs(np.flatnonzero(shut).mean() * 40 + 40 - (400 + offset_ms + closure_ms / 2)) <= 30


def test_a_shut_mouth_is_not_open() -> None:
    """Where the lips meet between two open vowels, the jaw has come up."""
    pictures = pictures_of(steps_of(("aa", 400), ("PP", 80), ("aa", 400)))
    shut = pictures[:, PRESS].argmax()
    assert pictures[shut, JAW] < 0.6 * pictures[5, JAW]


def test_rounding_spreads_to_neighbours() -> None:
    """An s before a rounded vowel is rounder than one before a spread vowel: the lips prepare."""
    before = {name: pictures_of(steps_of(("SS", 200), (name, 300)))[3, ROUND] for name in ("ou", "ih")}
    assert before["ou"] > before["ih"] + 0.2


def test_the_mouth_leads_the_sound() -> None:
    """The picture in whose middle a vowel begins is already half open: lips are seen 20 ms before they are heard."""
    pictures = pictures_of(steps_of(("PP", 420), ("aa", 400)))
    assert pictures[10, JAW] > 0.5 * pictures[15, JAW]


def test_gain_opens_wider() -> None:
    """The last column of a step scales the opening only."""
    steps = steps_of(("E", 800))
    louder = steps.copy()
    louder[:, -1] = 1.2
    a, b = pictures_of(steps)[10], pictures_of(louder)[10]
    assert b[JAW] == pytest.approx(1.2 * a[JAW], rel=1e-3)
    np.testing.assert_allclose(b[2:], a[2:], atol=1e-6)


def test_pieces_do_not_matter() -> None:
    """Steps pushed one by one give the same pictures as all at once."""
    rng = np.random.default_rng(0)
    steps = np.ones((200, N_COLUMNS), np.float32)
    steps[:, :-1] = rng.dirichlet(np.full(len(VISEMES), 0.1), 200)
    steps[40:44, :-1] = np.eye(len(VISEMES))[CLOSED]
    whole, stream = Coarticulator(2.0, 1.8), Coarticulator(2.0, 1.8)
    pieces = np.concatenate([stream.push(step[None]) for step in steps])
    np.testing.assert_allclose(pieces, whole.push(steps), atol=1e-6)


def test_rounded_lips_that_a_network_is_half_sure_of_are_seen() -> None:
    """A gain makes them rounder and narrower; lips that are spread stay as they are, and nothing leaves its range."""
    half_sure = 0.5 * steps_of(("ou", 400)) + 0.5 * steps_of(("nn", 400))
    half_sure[:, -1] = 1
    width = MOUTH_PARAMETERS.index("width")
    plain, gained = (
        Coarticulator(1.5, 1.5, gain).push(np.concatenate([half_sure, rest_steps(12)]))[5] for gain in (1.0, 1.7)
    )
    assert gained[ROUND] == pytest.approx(min(1.0, 1.7 * plain[ROUND]), abs=1e-5)
    assert gained[width] == pytest.approx(max(-1.0, 1.7 * plain[width]), abs=1e-5)
    spread = [Coarticulator(1.5, 1.5, gain).push(steps_of(("ih", 800)))[10] for gain in (1.0, 1.7)]
    np.testing.assert_array_equal(*spread)
