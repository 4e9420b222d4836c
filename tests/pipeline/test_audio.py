"""Levels, fades, framing, resampling and loudness."""

import sys
from types import ModuleType

import numpy as np
import pytest

from pipeline.audio import (
    SPEECH_DBFS,
    AudioFramer,
    LoudnessNormalizer,
    StreamResampler,
    dbfs,
    fade_in,
    fade_out,
    in_pieces,
    resample_file,
    speech_dbfs,
)
from pipeline.types import AudioChunk, FloatArray, Phoneme

RATE_HZ = 24_000


def tone(seconds: float, amplitude: float = 0.5, hz: float = 440.0, rate_hz: int = RATE_HZ) -> FloatArray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def pieces(samples: FloatArray, length: int) -> list[FloatArray]:
    return [samples[start : start + length] for start in range(0, len(samples), length)]


def test_dbfs() -> None:
    """A full-scale square wave is 0 dBFS, a sine 3 dB less, silence a finite floor."""
    assert dbfs(np.ones(100, np.float32)) == pytest.approx(0)
    assert dbfs(tone(1, 1.0)) == pytest.approx(-3.01, abs=0.01)
    assert dbfs(np.zeros(100, np.float32)) == dbfs(np.zeros(0, np.float32)) == -120


def test_fades() -> None:
    """A fade of 20 ms goes from or to silence and leaves the rest, and its argument, alone."""
    ones = np.ones(4800, np.float32)
    faded = fade_out(fade_in(ones, 48_000), 48_000)
    assert faded[0] == faded[-1] == 0
    assert faded[480] == pytest.approx(0.5)
    assert np.array_equal(faded[960:-960], ones[960:-960])
    assert ones.min() == 1
    assert np.all(np.diff(fade_out(ones[:100], 48_000)) < 0)
    assert len(fade_in(ones[:0], 48_000)) == 0


def test_framer_cuts_whole_pictures() -> None:
    """Pieces of any size become frames of 1920 samples; what is left waits for more."""
    samples = np.arange(5000, dtype=np.float32)
    framer = AudioFramer()
    frames = [frame for piece in pieces(samples, 700) for frame in framer.push(piece)]
    assert [len(frame) for frame in frames] == [1920, 1920]
    assert np.array_equal(np.concatenate(frames), samples[: 2 * 1920])
    (third,) = framer.push(np.zeros(1920, np.float32))
    assert np.array_equal(third[: 5000 - 2 * 1920], samples[2 * 1920 :])


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 48_000), (48_000, 16_000), (22_050, 48_000), (48_000, 48_000)])
def test_resampling_a_stream(from_hz: int, to_hz: int) -> None:
    """Resampled in pieces a stream is what it is in one, of the right length, and the resampler can be used again."""
    samples = tone(0.5, rate_hz=from_hz)
    resampler = StreamResampler(from_hz, to_hz)
    whole = np.concatenate([resampler.push(samples), resampler.flush()])
    streamed = np.concatenate([*(resampler.push(piece) for piece in pieces(samples, 480)), resampler.flush()])
    assert abs(len(whole) - to_hz / 2) <= 1
    assert np.allclose(whole, streamed, atol=1e-5)
    middle = slice(to_hz // 10, -to_hz // 10)
    assert np.allclose(whole[middle], tone(0.5, rate_hz=to_hz)[: len(whole)][middle], atol=2e-3)


def test_resampling_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole file is resampled by soxr where resampy is missing, and by resampy where it is installed."""
    samples = tone(0.5)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert np.allclose(
        resample_file(samples, RATE_HZ, 48_000)[5000:-5000], tone(0.5, rate_hz=48_000)[5000:-5000], atol=2e-3
    )
    resampy = ModuleType("resampy")
    resampy.resample = lambda samples, from_hz, to_hz: np.full(to_hz // from_hz, 0.25)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "resampy", resampy)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    assert resample_file(samples, RATE_HZ, 48_000).tolist() == [0.25, 0.25]
    assert resample_file(samples, RATE_HZ, RATE_HZ) is samples


@pytest.mark.parametrize("amplitude", [0.02, 0.1, 0.9])
def test_loudness_of_a_whole_sentence(amplitude: float) -> None:
    """A sentence in one piece comes out at the common level, its pauses not counted."""
    speech = np.concatenate([np.zeros(RATE_HZ, np.float32), tone(1, amplitude), np.zeros(RATE_HZ, np.float32)])
    levelled = LoudnessNormalizer().push(speech, RATE_HZ)
    assert len(levelled) == len(speech)
    assert speech_dbfs(levelled, RATE_HZ) == pytest.approx(SPEECH_DBFS, abs=0.5)


def test_loudness_of_a_stream() -> None:
    """Streamed, nothing is held back, and after half a second the gain stays as it is."""
    speech = tone(2, 0.05)
    normalizer = LoudnessNormalizer()
    levelled = [normalizer.push(piece, RATE_HZ) for piece in pieces(speech, 2400)]
    assert [len(piece) for piece in levelled] == [2400] * 20
    assert speech_dbfs(np.concatenate(levelled[10:]), RATE_HZ) == pytest.approx(SPEECH_DBFS, abs=0.5)
    after = normalizer.push(tone(0.1, 0.005), RATE_HZ)
    assert dbfs(after) == pytest.approx(dbfs(levelled[-1]) - 20, abs=0.5)


def test_loudness_does_not_jump() -> None:
    """When the gain changes between two pieces, it glides."""
    normalizer = LoudnessNormalizer()
    pair = np.concatenate(
        [
            normalizer.push(np.full(2400, 0.3, np.float32), RATE_HZ),
            normalizer.push(np.full(2400, 0.6, np.float32), RATE_HZ),
        ]
    )
    gain = pair / np.repeat([0.3, 0.6], 2400).astype(np.float32)
    assert abs(gain[0] - gain[-1]) > 0.05
    assert np.abs(np.diff(gain)).max() < 1e-3


def test_loudness_leaves_noise_alone() -> None:
    """What is too faint to be speech is not raised."""
    noise = tone(1, 0.0005)
    assert np.array_equal(LoudnessNormalizer().push(noise, RATE_HZ), noise)


def test_loudness_ceiling() -> None:
    """Peaks far above the speech are bent below -1 dBFS and keep their sign."""
    speech = tone(1, 0.05)
    speech[::997] = -1.0
    levelled = LoudnessNormalizer().push(speech, RATE_HZ)
    assert np.abs(levelled).max() <= 10 ** (-1 / 20)
    assert np.all(levelled[::997] < -0.5)


def test_pieces_of_a_chunk_are_the_chunk() -> None:
    """Nothing is lost or moved; only the last piece ends the sentence."""
    samples = np.arange(1000, dtype=np.float32) / np.float32(1000)
    chunk = AudioChunk(samples, 16_000, start_sample=7, phonemes=(Phoneme("a", 0.0, 0.05),), final=True)
    pieces = list(in_pieces(chunk, 0.02))
    assert [len(piece.samples) for piece in pieces] == [320, 320, 320, 40]
    np.testing.assert_array_equal(np.concatenate([piece.samples for piece in pieces]), samples)
    assert [piece.start_sample for piece in pieces] == [7, 327, 647, 967]
    assert [piece.final for piece in pieces] == [False, False, False, True]
    assert [piece.phonemes is not None for piece in pieces] == [True, False, False, False]
    (empty,) = in_pieces(AudioChunk(samples[:0], 16_000, final=True), 0.02)
    assert empty.final
