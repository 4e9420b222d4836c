"""Whisper's ears against openai-whisper itself: MuseTalk was trained on what its code hears."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="neural backends; pip install -e .[neural]")
pytest.importorskip("whisper", reason="pip install -e .[studio]")

import torch
from whisper.audio import N_SAMPLES, log_mel_spectrogram, mel_filters
from whisper.model import AudioEncoder

from models import whisper_mel
from models.mel_filters import mel_filters as our_filters
from models.whisper_encoder import WhisperEncoder, WhisperSizes
from pipeline.types import FloatArray

pytestmark = pytest.mark.thorough

WIDTH, HEADS, BLOCKS = 48, 3, 2


@pytest.fixture(scope="module")
def segment() -> FloatArray:
    """30 s of noise, a third of which is a thousandth as loud, and a tenth silent."""
    samples = np.random.default_rng(0).normal(0, 0.1, N_SAMPLES).astype(np.float32)
    samples[N_SAMPLES // 3 : 2 * N_SAMPLES // 3] *= 0.001
    samples[-N_SAMPLES // 10 :] = 0
    return samples


@pytest.fixture(scope="module")
def theirs() -> AudioEncoder:
    """Random, but for the positions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = AudioEncoder(80, 1500, WIDTH, HEADS, BLOCKS)
        for weight in encoder.parameters():
            weight.data += 0.1 * torch.randn(weight.shape)
    return encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def ours(theirs: AudioEncoder) -> WhisperEncoder:
    """With the same weights, under the same names."""
    encoder = WhisperEncoder(WhisperSizes(state=WIDTH, heads=HEADS, blocks=BLOCKS, inner=4 * WIDTH))
    encoder.load_state_dict(theirs.state_dict())
    return encoder.eval().requires_grad_(False)


def test_the_filter_bank_is_theirs() -> None:
    """The one that openai-whisper ships, made by librosa."""
    filters = our_filters(16_000, whisper_mel.COLUMN_SAMPLES, whisper_mel.BANDS, 0, 8000)
    np.testing.assert_allclose(filters, mel_filters("cpu", whisper_mel.BANDS).numpy(), atol=1e-7)


def test_the_spectrogram_is_theirs(segment: FloatArray) -> None:
    """Of a whole segment, to 1e-4: loud, quiet and silent."""
    mel = whisper_mel.log_mel_spectrogram(segment)
    np.testing.assert_allclose(mel, log_mel_spectrogram(segment).numpy(), atol=1e-4)


def test_the_states_are_theirs(segment: FloatArray, theirs: AudioEncoder, ours: WhisperEncoder) -> None:
    """Of a whole segment, to 1e-4: what each block makes of it, and the last state after the norm."""
    mel = log_mel_spectrogram(segment)[None]
    seen: list[torch.Tensor] = []
    for block in theirs.blocks:
        block.register_forward_hook(lambda _block, _given, made: seen.append(made))
    normed = theirs(mel)
    states = ours(mel, last_normed=False)
    assert states.shape == (1, 1500, BLOCKS + 1, WIDTH)
    torch.testing.assert_close(states[:, :, 1:], torch.stack(seen, dim=2), atol=1e-4, rtol=0)
    torch.testing.assert_close(ours(mel, last_normed=True)[:, :, -1], normed, atol=1e-4, rtol=0)
