"""The avatar's own voice in the viewer's microphone: what it is compared with, and that it is taken out."""

import asyncio

import numpy as np
import pytest

from pipeline.clock import ManualClock
from pipeline.ears.canceller import WebRtcCanceller
from pipeline.ears.reference import REFERENCE_RATE_HZ, EchoReference
from pipeline.types import FPS, PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE, FloatArray, MediaFrame

PIECE = 320
PIECE_S = PIECE / REFERENCE_RATE_HZ
BLACK = np.zeros((2, 2, 3), np.uint8)


class Loudspeaker:
    """A playout that releases `sound`, and a microphone whose pieces of 20 ms arrive when they are due."""

    def __init__(self, sound: FloatArray) -> None:
        self.clock = ManualClock(100.0)
        self.delay_s = 0.0
        self.reference = EchoReference(self.clock, lambda: self.delay_s)
        self._sound = sound
        self._number = 0
        self._start_s = self.clock.now_s()

    async def play_until(self, time_s: float) -> None:
        """Release all frames that are due by then."""
        while self._number / FPS <= time_s + 1e-9:
            due_s = self._start_s + self._number / FPS
            await self.clock.advance(max(0.0, due_s - self.clock.now_s()))
            start = self._number * SAMPLES_PER_PICTURE
            audio = self._sound[start : start + SAMPLES_PER_PICTURE]
            audio = np.pad(audio, (0, SAMPLES_PER_PICTURE - len(audio)))
            self.reference.send(MediaFrame(BLACK, audio, self._number))
            self._number += 1
        await self.clock.advance(max(0.0, self._start_s + time_s - self.clock.now_s()))

    async def take(self, pieces: int, late_s: float = 0.0, start: int = 0) -> FloatArray:
        """What belongs to those pieces of the microphone, which arrive that late."""
        taken = []
        for index in range(start, start + pieces):
            await self.play_until((index + 1) * PIECE_S + late_s)
            taken.append(self.reference.take(PIECE, self.clock.now_s()))
        return np.concatenate(taken)


def a_tone(seconds: float, hz: float = 440.0) -> FloatArray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * PLAYOUT_RATE_HZ)) / PLAYOUT_RATE_HZ).astype(np.float32)


def the_time(seconds: float) -> FloatArray:
    """A sound that says at any moment how many seconds have passed."""
    return (np.arange(round(seconds * PLAYOUT_RATE_HZ)) / PLAYOUT_RATE_HZ).astype(np.float32)


def offset_of(taken: FloatArray, sound: FloatArray) -> float:
    """How many seconds `taken` is behind `sound`."""
    plain = sound[::3][: len(taken)]
    size = 2 * len(taken)
    correlation = np.fft.irfft(np.fft.rfft(taken, size) * np.conj(np.fft.rfft(plain, size)))
    best = int(np.argmax(correlation))
    return (best - size if best > size // 2 else best) / REFERENCE_RATE_HZ


@pytest.fixture
def noise() -> FloatArray:
    rng = np.random.default_rng(1)
    steps = np.repeat(rng.normal(0, 0.2, 8 * 4800), 10)  # below 5 kHz
    return steps.astype(np.float32)


async def test_a_reference_is_the_sound_that_is_released_now_at_16_khz(noise: FloatArray) -> None:
    """Without a known delay it comes first: no echo of it can be heard before."""
    speaker = Loudspeaker(noise)
    taken = await speaker.take(200)
    assert offset_of(taken, noise) == pytest.approx(0.0, abs=0.002)
    tone = await Loudspeaker(a_tone(2.0)).take(50)
    assert np.abs(tone[1600:]).max() == pytest.approx(1.0, abs=0.02)
    high = await Loudspeaker(a_tone(2.0, hz=12_000)).take(50)
    assert np.abs(high[1600:]).max() < 0.05


async def test_what_reaches_a_viewer_late_is_compared_with_later_sound(noise: FloatArray) -> None:
    """Half a second in the viewer's buffers: the reference is kept a tenth of a second ahead of it."""
    speaker = Loudspeaker(noise)
    speaker.delay_s = 0.5
    assert offset_of(await speaker.take(200), noise) == pytest.approx(0.4, abs=0.002)


async def test_pieces_that_arrive_in_bursts_do_not_tear_the_reference() -> None:
    """The network holds four pieces back and brings them at once: what they belong to is still one stream."""
    speaker = Loudspeaker(the_time(8.0))
    taken = [await speaker.take(20)]
    for burst in range(20, 180, 4):
        await speaker.play_until((burst + 4) * PIECE_S)
        taken += [speaker.reference.take(PIECE, speaker.clock.now_s()) for _ in range(4)]
    assert np.diff(np.concatenate(taken)[1600:]) == pytest.approx(1 / REFERENCE_RATE_HZ, rel=0.05)


async def test_a_gap_in_the_microphones_sound_moves_the_reference(noise: FloatArray) -> None:
    """After two lost seconds what arrives belongs to what is released then."""
    speaker = Loudspeaker(noise)
    await speaker.take(50)
    taken = await speaker.take(50, start=150)
    assert offset_of(taken, noise[3 * 150 * PIECE :]) == pytest.approx(0.0, abs=0.002)


async def test_sound_that_was_dropped_here_moves_the_reference_by_as_much(noise: FloatArray) -> None:
    """Too little for the reference to notice by itself, and enough for a canceller to lose the echo."""
    speaker = Loudspeaker(noise)
    await speaker.take(50)
    speaker.reference.skip(10 * PIECE)
    taken = await speaker.take(50, start=60)
    assert offset_of(taken, noise[3 * 60 * PIECE :]) == pytest.approx(0.0, abs=0.002)


async def test_a_microphone_that_is_switched_on_again_begins_anew(noise: FloatArray) -> None:
    """A third of a second later, say, when a key to talk is pressed again."""
    speaker = Loudspeaker(noise)
    await speaker.take(50)
    speaker.reference.restart()
    taken = await speaker.take(50, start=66)
    assert offset_of(taken, noise[3 * 66 * PIECE :]) == pytest.approx(0.0, abs=0.002)


async def test_clocks_that_run_apart_are_followed() -> None:
    """A microphone whose clock is 0.5 % slow (fifty times what is sold) is never out of step by more than 0.1 s."""
    speaker = Loudspeaker(the_time(20.0))
    off_s = []
    for index in range(900):
        now_s = (index + 1) * PIECE_S * 1.005
        await speaker.play_until(now_s)
        off_s.append(now_s - float(speaker.reference.take(PIECE, speaker.clock.now_s())[-1]))
    assert max(np.abs(off_s[10:])) < 0.1


async def test_silence_is_given_for_what_was_never_released() -> None:
    """Before the session's first sound, and where a microphone's clock is ahead."""
    reference = EchoReference(ManualClock(5.0), lambda: 0.0)
    assert not reference.take(PIECE, 5.0).any()
    await reference.aclose()


@pytest.mark.parametrize("delay_s", [0.04, 0.14, 0.4])
def test_the_avatars_own_voice_is_taken_out_and_the_viewers_is_kept(delay_s: float, noise: FloatArray) -> None:
    """An echo of -12 dB is gone after the first seconds; who speaks over it is still there."""
    pytest.importorskip("pywebrtc_audio")

    async def run() -> tuple[FloatArray, FloatArray, FloatArray]:
        syllables = noise * (np.sin(2 * np.pi * 2.0 * np.arange(len(noise)) / PLAYOUT_RATE_HZ) > -0.3)
        speaker = Loudspeaker(syllables)
        canceller = WebRtcCanceller(speaker.reference)
        echo = np.pad(0.25 * syllables[::3], (round(delay_s * REFERENCE_RATE_HZ), 0))
        rng = np.random.default_rng(2)
        viewer = np.zeros_like(echo)
        viewer[6 * 16_000 : 7 * 16_000] = (
            0.1
            * np.sin(2 * np.pi * 220 * np.arange(16_000) / 16_000)
            * (1 + np.sin(2 * np.pi * 3 * np.arange(16_000) / 16_000))
        )
        microphone = (echo + viewer + rng.normal(0, 1e-3, len(echo))).astype(np.float32)
        cleaned = []
        for index in range(int(7.5 / PIECE_S)):
            await speaker.play_until((index + 1) * PIECE_S)
            piece = microphone[index * PIECE : (index + 1) * PIECE]
            cleaned.append(canceller.cancel(piece[:100], speaker.clock.now_s()))
            cleaned.append(canceller.cancel(piece[100:], speaker.clock.now_s()))
        return np.concatenate(cleaned), echo, viewer

    cleaned, echo, viewer = asyncio.run(run())

    def level(samples: FloatArray, start_s: float, end_s: float) -> float:
        part = samples[round(start_s * REFERENCE_RATE_HZ) : round(end_s * REFERENCE_RATE_HZ)]
        return float(10 * np.log10(np.mean(np.square(part)) + 1e-12))

    assert level(cleaned, 4.0, 5.8) < level(echo, 4.0, 5.8) - 25
    assert level(cleaned, 6.2, 7.0) > level(viewer, 6.2, 7.0) - 10


async def test_while_the_avatar_is_silent_no_echo_is_looked_for(noise: FloatArray) -> None:
    """The canceller is the dearest part of listening: it runs from the avatar's sound until that has died away."""
    pytest.importorskip("pywebrtc_audio")
    sound = np.concatenate([np.zeros(PLAYOUT_RATE_HZ), noise[:PLAYOUT_RATE_HZ], np.zeros(6 * PLAYOUT_RATE_HZ)])
    speaker = Loudspeaker(sound.astype(np.float32))
    canceller = WebRtcCanceller(speaker.reference)
    canceller.cancel(np.zeros(PIECE, np.float32), speaker.clock.now_s())
    used = {"echo": 0, "noise": 0}

    class Counting:
        def __init__(self, name: str) -> None:
            self.name = name

        def process(self, heard: FloatArray, played: FloatArray) -> FloatArray:
            used[self.name] += 1
            return heard

    canceller._processors = Counting("echo"), Counting("noise")
    seen = []
    for index in range(1, 300):
        await speaker.play_until((index + 1) * PIECE_S)
        canceller.cancel(np.ones(PIECE, np.float32), speaker.clock.now_s())
        if (index + 1) % 50 == 0:
            seen.append((used["echo"], used["noise"]))
    assert [echo for echo, _ in seen] == pytest.approx([0, 50, 100, 150, 150, 150], abs=3)
