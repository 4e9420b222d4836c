"""Where a voice is stressed, heard in made speech: syllables of a harmonic tone."""

import numpy as np
import pytest

from pipeline.stress import AHEAD_PICTURES, Stress
from pipeline.types import PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE, FloatArray

SYLLABLE_PICTURES = 5


def speech(*syllables: tuple[float, float]) -> list[FloatArray]:
    """Pictures of a voice that says syllables of 0.2 s, each of a pitch (Hz) and a level (dBFS)."""
    times_s = np.arange(SYLLABLE_PICTURES * SAMPLES_PER_PICTURE) / PLAYOUT_RATE_HZ
    swell = np.sin(np.pi * np.arange(len(times_s)) / len(times_s)) ** 0.5
    said = []
    for pitch_hz, level_dbfs in syllables:
        voice = sum(np.sin(2 * np.pi * pitch_hz * n * times_s) / n for n in (1, 2, 3, 4)) * swell
        said.append(10 ** (level_dbfs / 20) * voice / np.sqrt(np.mean(voice**2)))
    return list(np.concatenate(said).astype(np.float32).reshape(-1, SAMPLES_PER_PICTURE))


def heard(pictures: list[FloatArray]) -> list[float]:
    stress = Stress()
    stress.hear(pictures)
    return [stress.at(index) for index in range(len(pictures))]


EVEN = (120.0, -22.0)


@pytest.mark.parametrize("stressed", [(120.0, -13.0), (165.0, -22.0)])
def test_a_louder_or_a_higher_syllable_is_stressed_and_told_before_it_is_there(stressed: tuple[float, float]) -> None:
    """One of ten, and it is told within the pictures from 0.12 s before it to its middle."""
    told = heard(speech(*[EVEN] * 6, stressed, *[EVEN] * 3))
    start = 6 * SYLLABLE_PICTURES
    strongest = int(np.argmax(told))
    assert start - 3 <= strongest <= start + SYLLABLE_PICTURES // 2
    assert told[strongest] > 0.5
    assert not any(told[SYLLABLE_PICTURES : start - 3]), "even syllables are none"


def test_a_voice_that_is_even_stresses_nothing() -> None:
    """Nor does silence, nor the noise of a microphone."""
    assert not any(heard(speech(*[EVEN] * 8))[SYLLABLE_PICTURES:])
    noise = np.random.default_rng(1).normal(0, 0.001, (40, SAMPLES_PER_PICTURE)).astype(np.float32)
    assert not any(heard(list(noise)))
    assert not any(heard([np.zeros(SAMPLES_PER_PICTURE, np.float32)] * 40))


def test_a_falling_voice_stresses_less_than_its_first_word_but_goes_on_stressing() -> None:
    """Stress is told against what was usual just before, so the end of a long sentence has some too."""
    falling = [(160 - 2.0 * n, -16 - 0.3 * n) for n in range(24)]
    stressed = [(pitch + 40, level + 6) if n % 6 == 5 else (pitch, level) for n, (pitch, level) in enumerate(falling)]
    told = np.array(heard(speech(*stressed))).reshape(24, SYLLABLE_PICTURES).sum(axis=1)
    assert all(told[n - 1] + told[n] > 0.4 for n in (5, 11, 17, 23))


def test_what_comes_later_matters_for_three_pictures_only() -> None:
    """Streamed in any pieces, the same stresses come out as of the whole sentence."""
    rng = np.random.default_rng(4)
    pictures = speech(*[(float(rng.uniform(90, 220)), float(rng.uniform(-30, -12))) for _ in range(20)])
    whole = heard(pictures)
    assert any(whole)
    streamed = Stress()
    told: list[float] = []
    for index in range(len(pictures)):
        streamed.hear(pictures[index : index + 1])
        if index >= AHEAD_PICTURES:
            told.append(streamed.at(index - AHEAD_PICTURES))
    assert told == whole[: len(told)]
