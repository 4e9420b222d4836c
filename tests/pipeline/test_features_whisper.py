"""Windows of Whisper's states; what all extractors promise is in tests/contracts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_whisper import BESIDE_WHISPER, random_encoder, write_whisper_weights

from models.whisper_encoder import WhisperEncoder
from models.whisper_mel import log_mel_spectrogram
from pipeline.errors import BackendUnavailable
from pipeline.features.grouped import GroupedStream, ReceptiveField
from pipeline.features.whisper import Whisper10Extractor, Whisper15Extractor
from pipeline.types import FEATURE_RATE_HZ, AudioChunk, FeatureWindow, FloatArray

pytestmark = pytest.mark.thorough

Extractors = type[Whisper15Extractor] | type[Whisper10Extractor]
BOTH = pytest.mark.parametrize("kind", [Whisper15Extractor, Whisper10Extractor])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_whisper_weights(folder, "huggingface")
    for name in BESIDE_WHISPER:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture(scope="module")
def noise() -> FloatArray:
    return np.random.default_rng(0).normal(0, 0.1, 16_000 * 31).astype(np.float32)


class StepNumbers:
    """An ear whose states are the numbers of their steps, one more so that zeros are told from the first."""

    def states(self, samples: FloatArray, first_step: int) -> FloatArray:
        assert len(samples) % 320 == 240  # 200 before, 40 after
        return np.arange(first_step + 1, first_step + 1 + len(samples) // 320, dtype=np.float32)


def field(clamped: bool) -> ReceptiveField:
    return ReceptiveField(200, 40, 50, 25, 4, 6, clamped, (10,))


def windows_of(stream: GroupedStream, samples: FloatArray) -> list[FeatureWindow]:
    return stream.push(AudioChunk(samples, FEATURE_RATE_HZ)) + stream.flush()


def loaded(kind: Extractors, weights: Path) -> Whisper15Extractor | Whisper10Extractor:
    extractor = kind(weights)
    extractor.load("cpu")
    return extractor


def test_zero_edged_windows_are_musetalk_15s(noise: FloatArray) -> None:
    """Picture f sees steps 2f - 4 to 2f + 5, zeros beyond the 100 steps of 2 s (MuseTalk's get_whisper_chunk)."""
    windows = windows_of(GroupedStream(field(False), StepNumbers), noise[:32_000])
    assert len(windows) == 50
    expected = {
        0: [0, 0, 0, 0, 1, 2, 3, 4, 5, 6],
        1: [0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        10: [17, 18, 19, 20, 21, 22, 23, 24, 25, 26],
        49: [95, 96, 97, 98, 99, 100, 0, 0, 0, 0],
    }
    for picture, steps in expected.items():
        np.testing.assert_array_equal(windows[picture].data, steps)


def test_clamped_windows_are_musetalk_10s(noise: FloatArray) -> None:
    """Picture f sees steps 2f - 4 to 2f + 5 of 30 steps, the ends repeated (MuseTalk's get_sliced_feature)."""
    windows = windows_of(GroupedStream(field(True), StepNumbers), noise[: 30 * 320])
    expected = {
        0: [0, 0, 0, 0, 0, 1, 2, 3, 4, 5],
        1: [0, 0, 0, 1, 2, 3, 4, 5, 6, 7],
        2: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        5: [6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        12: [20, 21, 22, 23, 24, 25, 26, 27, 28, 29],
        14: [24, 25, 26, 27, 28, 29, 29, 29, 29, 29],
    }
    for picture, steps in expected.items():
        np.testing.assert_array_equal(windows[picture].data, np.array(steps) + 1)


def test_the_first_pictures_come_first(noise: FloatArray) -> None:
    """Groups of 2, 4, 8, 16, 16, ... pictures are given, each when it has been heard half a second ahead."""
    stream = GroupedStream(field(False), StepNumbers)
    given = [len(stream.push(AudioChunk(piece, FEATURE_RATE_HZ))) for piece in noise[: 640 * 60].reshape(60, 640)]
    # 12.5 pictures ahead, and a little of the 13th
    assert [(at, n) for at, n in enumerate(given, start=1) if n] == [(15, 2), (19, 4), (27, 8), (43, 16), (59, 16)]


def test_twice_real_time_is_fast_enough(noise: FloatArray) -> None:
    """Once the first picture is given, speech that comes at twice its pace has every picture when it is due."""
    stream = GroupedStream(field(False), StepNumbers)
    # Two pictures are heard while one is shown.
    given = [len(stream.push(AudioChunk(piece, FEATURE_RATE_HZ))) for piece in noise[: 1280 * 300].reshape(300, 1280)]
    first = next(at for at, n in enumerate(given) if n)
    there = np.cumsum(given)[first:]
    assert (there > np.arange(len(there))).all()


@BOTH
def test_states_are_those_of_the_whole_when_all_is_heard(kind: Extractors, weights: Path, noise: FloatArray) -> None:
    """The first group of a short sentence hears all of it: its steps are the encoder's own, at their true places."""
    samples = noise[: 2 * 640]
    windows = windows_of(loaded(kind, weights).stream(), samples)
    heard = np.pad(samples, (0, 25 * 320 + 40))
    mel = torch.from_numpy(log_mel_spectrogram(heard)[:, :58])
    states = random_encoder()(mel[None], last_normed=kind is Whisper15Extractor)[0].numpy()
    np.testing.assert_allclose(windows[1].data.reshape(10, 5, 384)[2:6], states[:4], atol=1e-3)
    beyond = windows[1].data.reshape(10, 5, 384)[6:]
    wanted = np.zeros((4, 5, 384)) if kind is Whisper15Extractor else states[[3, 3, 3, 3]]
    np.testing.assert_allclose(beyond, wanted, atol=1e-3)


def test_digital_silence_costs_nothing(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group whose context is silent is not encoded; its windows are zero."""
    extractor = loaded(Whisper15Extractor, weights)
    encoded: list[int] = []
    forward = WhisperEncoder.forward

    def counted(self: WhisperEncoder, mel: torch.Tensor, first_step: int = 0, *, last_normed: bool) -> torch.Tensor:
        encoded.append(first_step)
        return forward(self, mel, first_step, last_normed=last_normed)

    monkeypatch.setattr(WhisperEncoder, "forward", counted)
    samples = np.zeros(16_000 * 4, np.float32)
    assert not any(window.data.any() for window in windows_of(extractor.stream(), samples))
    assert encoded == []
    samples[16_000 * 2] = 0.5
    windows = windows_of(extractor.stream(), samples)
    assert len(encoded) == 3  # those of the pictures 30 to 45, 46 to 61 and 62 to 77 hear it
    assert windows[50].data.any()
    assert not windows[0].data.any()
    assert not windows[99].data.any()


def test_a_sentence_may_be_longer_than_a_segment(weights: Path, noise: FloatArray) -> None:
    """After 30 s the places begin again, and pictures around that border are given like all others."""
    windows = windows_of(loaded(Whisper15Extractor, weights).stream(), noise)
    assert len(windows) == 31 * 25
    around_border = np.stack([window.data for window in windows[740:760]])
    assert np.isfinite(around_border).all()
    assert around_border.any(axis=(1, 2)).all()


@BOTH
def test_missing_weights_are_told_before_loading(kind: Extractors, tmp_path: Path) -> None:
    """Without its files an extractor is not made; the message names them and how to get them."""
    with pytest.raises(BackendUnavailable, match="whisper") as told:
        kind(tmp_path)
    assert "launch.py fetch" in told.value.hint
