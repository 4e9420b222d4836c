from __future__ import annotations

import asyncio

import numpy as np
import pytest
import soxr

from models.viseme_net import VisemeNetwork
from models.visemes import CLOSED, MOUTH_PARAMETERS, TimedSound, visemes_of
from pipeline.features.viseme import VisemeStream
from pipeline.registry import create
from pipeline.types import FEATURE_RATE_HZ, PICTURE_MS, AudioChunk, FloatArray, Phoneme

JAW, PRESS, ACTIVITY = MOUTH_PARAMETERS.index("jaw"), MOUTH_PARAMETERS.index("press"), len(MOUTH_PARAMETERS)
SENTENCES = (
    "Bob bought a pepper plant and put it by the open window.",
    "My mother made a map of the empty apartment.",
    "Please remember to bring your umbrella, it may be raining in Boston.",
    "The prime minister promised a better public transport system.",
    "I am happy to help you with the problem, but maybe not before September.",
    "A simple example can improve the whole chapter.",
)
"""Not in the training text; rich in p, b and m."""


def fresh_stream() -> VisemeStream:
    return VisemeStream(VisemeNetwork.load())


def pictures(samples: FloatArray, phonemes: tuple[Phoneme, ...] | None) -> FloatArray:
    extractor = fresh_stream()
    windows = extractor.push(AudioChunk(samples, FEATURE_RATE_HZ, phonemes=phonemes)) + extractor.flush()
    return np.stack([w.data for w in windows])


@pytest.fixture(scope="module")
def spoken() -> list[AudioChunk]:
    """The sentences in hibari's voice at 16 kHz, with the timing of their phonemes."""
    synthesizer = create("tts", "hibari")
    synthesizer.load()

    async def speak(sentence: str) -> AudioChunk:
        chunks = [chunk async for chunk in synthesizer.synthesize(sentence)]
        assert len(chunks) == 1
        return chunks[0]

    chunks = [asyncio.run(speak(sentence)) for sentence in SENTENCES]
    return [
        AudioChunk(soxr.resample(c.samples, c.sample_rate, FEATURE_RATE_HZ), FEATURE_RATE_HZ, phonemes=c.phonemes)
        for c in chunks
    ]


def closures(chunk: AudioChunk) -> list[TimedSound]:
    return [
        TimedSound(p.ipa, round(p.start_s * 1000), round(p.end_s * 1000))
        for p in chunk.phonemes or ()
        if visemes_of(p.ipa) == (CLOSED,)
    ]


def seen(chunk: AudioChunk, table: FloatArray) -> list[bool]:
    """For each p b m: whether some picture within 20 ms of it has its lips shut."""
    at_ms = np.arange(len(table)) * PICTURE_MS + PICTURE_MS // 2
    shut = table[:, PRESS] > 0.6
    return [bool(shut[(at_ms >= c.start_ms - 20) & (at_ms <= c.end_ms + 20)].any()) for c in closures(chunk)]


def test_timed_closures_are_all_seen(spoken: list[AudioChunk]) -> None:
    """With phoneme timing every p, b and m shuts the lips in a picture, though some last 25 ms."""
    results = [hit for chunk in spoken for hit in seen(chunk, pictures(chunk.samples, chunk.phonemes))]
    assert len(results) > 40
    assert np.mean(results) >= 0.95


def test_closures_are_heard(spoken: list[AudioChunk]) -> None:
    """From the sound alone at least 0.8 of p, b and m shut the lips."""
    results = [hit for chunk in spoken for hit in seen(chunk, pictures(chunk.samples, None))]
    assert np.mean(results) >= 0.8


def test_open_mouths_are_not_shut(spoken: list[AudioChunk]) -> None:
    """In the middle of vowels away from p b m at most 1 picture in 20 is shut, by timing or by the sound."""
    for timed in (True, False):
        wrong = []
        for chunk in spoken:
            table = pictures(chunk.samples, chunk.phonemes if timed else None)
            near = [range(c.start_ms - 60, c.end_ms + 60) for c in closures(chunk)]
            for p in chunk.phonemes or ():
                middle_ms = round((p.start_s + p.end_s) * 500)
                if p.ipa in tuple("ɑæɛəɪiʌeaoɔu") and not any(middle_ms in r for r in near):
                    wrong.append(table[middle_ms // PICTURE_MS, PRESS] > 0.6)
        assert len(wrong) > 40
        assert np.mean(wrong) <= 0.05


def test_both_paths_open_the_mouth_together(spoken: list[AudioChunk]) -> None:
    """The jaw from the sound follows the jaw from timing: correlation at least 0.75, best without delay."""
    heard = np.concatenate([pictures(c.samples, None)[:, JAW] for c in spoken])
    timed = np.concatenate([pictures(c.samples, c.phonemes)[:, JAW] for c in spoken])
    by_lag = {lag: np.corrcoef(np.roll(heard, lag), timed)[0, 1] for lag in range(-3, 4)}
    assert by_lag[0] >= 0.75
    assert max(by_lag, key=by_lag.__getitem__) == 0


def music(seconds: float, notes_hz: tuple[float, ...], strikes_per_s: float) -> FloatArray:
    """A chord of seven overtones at 16 kHz, held, or struck again and again."""
    t = np.arange(round(seconds * FEATURE_RATE_HZ)) / FEATURE_RATE_HZ
    chord = sum(np.sin(2 * np.pi * hz * k * t) / k**1.5 for hz in notes_hz for k in range(1, 8))
    decay = np.exp(-3 * (t * strikes_per_s % 1.0)) if strikes_per_s else 1.0
    return (0.1 * chord * decay).astype(np.float32)


@pytest.mark.parametrize("notes_hz", [(261.6, 329.6, 392.0), (110.0, 165.0, 220.0, 277.0)])
@pytest.mark.parametrize("strikes_per_s", [0.0, 2.0])
def test_music_moves_the_mouth_less_than_speech(
    spoken: list[AudioChunk], notes_hz: tuple[float, ...], strikes_per_s: float
) -> None:
    """Chords, which are no words, open it less than half as far, and speech after them as far as ever."""
    speech = pictures(spoken[0].samples, None)[:, JAW]
    chords = music(3, notes_hz, strikes_per_s)
    opened = pictures(np.concatenate([chords, spoken[0].samples]), None)[:, JAW]
    after_s = 4  # what was music counts for a third of a second
    assert opened[25:70].mean() < 0.5 * speech.mean()
    settled = slice(after_s * 25, after_s * 25 + 25)
    assert opened[settled].mean() > 0.9 * speech[settled.start - 75 : settled.stop - 75].mean()


def test_a_pause_is_no_music(spoken: list[AudioChunk]) -> None:
    """After a second of silence the first word opens the mouth as far as without."""
    chunk, second = spoken[1], np.zeros(FEATURE_RATE_HZ, np.float32)
    extractor = VisemeNetwork.load().stream()
    changes = [extractor.push(samples).change for samples in (chunk.samples, second, chunk.samples)]
    assert np.concatenate(changes)[25:].min() > 0.145


@pytest.mark.parametrize("timed", [True, False])
def test_a_long_pause_is_rest(spoken: list[AudioChunk], timed: bool) -> None:
    """In a pause of a second the mouth is the photo's own: activity 0; before and after it is 1."""
    chunk, second = spoken[0], FEATURE_RATE_HZ
    samples = np.concatenate([chunk.samples, np.zeros(second, np.float32), chunk.samples])
    phonemes = None
    if timed:
        shift_s = (len(chunk.samples) + second) / FEATURE_RATE_HZ
        later = (Phoneme(p.ipa, p.start_s + shift_s, p.end_s + shift_s) for p in chunk.phonemes or ())
        phonemes = (*(chunk.phonemes or ()), *later)
    activity = pictures(samples, phonemes)[:, ACTIVITY]
    end = len(chunk.samples) // 640
    assert not activity[end + 6 : end + 19].any()
    assert (activity[10 : end - 15] > 0.5).mean() > 0.95
    assert activity[end + 25 : -15].max() == 1


def test_the_first_chunk_decides() -> None:
    """A sentence that began with timing keeps to it: a later chunk without any says nothing new."""
    extractor = fresh_stream()
    first = AudioChunk(np.zeros(6400, np.float32), FEATURE_RATE_HZ, phonemes=(Phoneme("a", 0.0, 0.3),))
    rest = AudioChunk(np.zeros(6400, np.float32), FEATURE_RATE_HZ, final=True)
    windows = extractor.push(first) + extractor.push(rest) + extractor.flush()
    assert windows[3].data[JAW] > 0.8
    assert windows[-1].data[ACTIVITY] == 0


def test_sounds_may_be_told_ahead() -> None:
    """All timing on the first chunk gives the same as timing spread over the chunks."""
    sounds = tuple(Phoneme(ipa, 0.1 * i, 0.1 * (i + 1)) for i, ipa in enumerate("pamibus"))
    silence = np.zeros(640, np.float32)
    ahead, along = fresh_stream(), fresh_stream()
    windows: list[list[FloatArray]] = [[], []]
    for i in range(18):
        start_s = i * 0.04
        own = tuple(
            Phoneme(p.ipa, p.start_s - start_s, p.end_s - start_s)
            for p in sounds
            if start_s <= p.start_s + 1e-9 < start_s + 0.04
        )
        windows[0] += [w.data for w in ahead.push(AudioChunk(silence, 16_000, phonemes=sounds if i == 0 else ()))]
        windows[1] += [w.data for w in along.push(AudioChunk(silence, 16_000, phonemes=own))]
    for part, extractor in zip(windows, (ahead, along), strict=True):
        part += [w.data for w in extractor.flush()]
    np.testing.assert_allclose(windows[0], windows[1], atol=1e-6)
