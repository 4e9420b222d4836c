"""Where somebody begins and stops to speak, from the probability of speech in each window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ears.utterance import LONGEST_S, WINDOW_S, WINDOW_SAMPLES, Step, UtteranceFinder

WINDOW = np.zeros(WINDOW_SAMPLES, np.float32)
SILENCE_S = 1.2


def steps(finder: UtteranceFinder, probabilities: list[float]) -> list[Step]:
    return [finder.push(WINDOW, probability) for probability in probabilities]


def windows(seconds: float) -> int:
    return round(seconds / WINDOW_S)


def test_one_loud_window_is_a_click() -> None:
    """Speech begins with the second window in a row."""
    finder = UtteranceFinder(SILENCE_S)
    assert steps(finder, [0, 0.9, 0, 0.9, 0]) == [Step.NOTHING] * 5
    assert finder.utterance is None
    assert steps(finder, [0.9, 0.9]) == [Step.NOTHING, Step.BEGAN]


def test_an_utterance_has_the_sound_before_it_was_noticed() -> None:
    """0.3 s from before the first window with speech belong to it, and count as no speech."""
    finder = UtteranceFinder(SILENCE_S)
    for level in range(40):
        finder.push(np.full(WINDOW_SAMPLES, level, np.float32), 0.0)
    steps(finder, [0.9, 0.9])
    assert finder.utterance is not None
    assert finder.utterance.samples()[0] == 31
    assert finder.utterance.speech_s == pytest.approx(2 * WINDOW_S)


def test_a_pause_is_reported_once_and_a_long_one_is_the_end() -> None:
    """After 200 ms the pause is one, after the set time it is the end; in between nothing is reported."""
    finder = UtteranceFinder(SILENCE_S)
    steps(finder, [0.9] * 20)
    found = steps(finder, [0.0] * windows(SILENCE_S))
    assert found.index(Step.PAUSED) + 1 == windows(0.2)
    assert found.count(Step.PAUSED) == 1
    assert found[-1] is Step.SILENT
    assert found.count(Step.SILENT) == 1


def test_each_pause_is_reported() -> None:
    """Somebody who goes on and pauses again may be done then."""
    finder = UtteranceFinder(SILENCE_S)
    steps(finder, [0.9] * 10)
    found = steps(finder, [*[0.0] * 10, *[0.9] * 10, *[0.0] * 10])
    assert found.count(Step.PAUSED) == 2


def test_a_faint_syllable_is_no_pause() -> None:
    """Between the two limits a window is what the one before it was."""
    finder = UtteranceFinder(SILENCE_S)
    steps(finder, [0.9] * 5)
    assert set(steps(finder, [0.4] * 20)) == {Step.GOES_ON}
    assert finder.push(WINDOW, 0.3) is Step.NOTHING
    assert finder.push(WINDOW, 0.4) is Step.NOTHING


def test_a_held_key_is_one_utterance() -> None:
    """Neither silence nor pauses end it; what was said before the key counts."""
    finder = UtteranceFinder(SILENCE_S)
    finder.hold()
    assert set(steps(finder, [0.0] * windows(5))) == {Step.NOTHING}
    assert set(steps(finder, [0.9] * 10)) == {Step.GOES_ON}
    utterance = finder.take()
    assert utterance is not None
    assert utterance.duration_s == pytest.approx(5 + 10 * WINDOW_S, abs=WINDOW_S)
    assert utterance.speech_s == pytest.approx(10 * WINDOW_S)
    assert finder.take() is None


def test_a_long_utterance_is_cut_at_its_quietest_place() -> None:
    """The part before the dip goes to the recogniser, the rest goes on; no sample is lost or doubled."""
    finder = UtteranceFinder(SILENCE_S)
    count = 0
    step = Step.NOTHING
    while step is not Step.LONG:
        level = 0.01 if 24.0 < count * WINDOW_S < 24.3 else 0.5
        step = finder.push(np.full(WINDOW_SAMPLES, level, np.float32), 0.9)
        count += 1
    assert finder.utterance is not None
    assert finder.utterance.duration_s == pytest.approx(LONGEST_S, abs=WINDOW_S)
    before = finder.utterance.cut()
    assert len(before) / 16_000 == pytest.approx(24.15, abs=0.2)
    assert len(before) + len(finder.utterance.samples()) == count * WINDOW_SAMPLES
    assert finder.push(WINDOW, 0.9) is Step.GOES_ON


@given(st.lists(st.sampled_from([0.0, 0.4, 0.9]), max_size=400))
def test_no_sound_of_speech_is_lost(probabilities: list[float]) -> None:
    """Whatever comes, an utterance is a stretch without gaps that ends after the set silence, and holds all speech."""
    finder = UtteranceFinder(SILENCE_S)
    for number, probability in enumerate(probabilities):
        step = finder.push(np.full(WINDOW_SAMPLES, number, np.float32), probability)
        if step is Step.SILENT:
            utterance = finder.take()
            assert utterance is not None
            numbers = utterance.samples()[::WINDOW_SAMPLES].astype(int)
            assert list(numbers) == list(range(numbers[0], number + 1))
            assert all(probabilities[at] < 0.9 for at in numbers[-windows(SILENCE_S) :])
        elif finder.utterance is not None:
            assert finder.utterance.samples()[-1] == number
