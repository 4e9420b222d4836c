"""Windows of HuBERT's states; what all extractors promise is in tests/contracts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_ultralight import TINY_HUBERT, ctc_state, random_hubert, write_config, write_hubert_weights

from models.hubert import encode, load_hubert
from pipeline.errors import BackendUnavailable
from pipeline.features import hubert
from pipeline.features.hubert import HubertExtractor
from pipeline.lipsync.torch_device import TorchDevice, open_device
from pipeline.types import FEATURE_RATE_HZ, AudioChunk


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_hubert_weights(folder / "hubert-large-ls960-ft")
    return folder


def test_a_window_is_eight_steps_before_and_eight_after(weights: Path) -> None:
    """Picture f sees steps 2f - 8 to 2f + 7, laid out as (16, 32, 32), zeros beyond the ends of the sentence."""
    samples = np.random.default_rng(0).normal(0, 0.1, 2 * 640).astype(np.float32)
    extractor = HubertExtractor(weights)
    extractor.load("cpu")
    stream = extractor.stream()
    windows = stream.push(AudioChunk(samples, FEATURE_RATE_HZ)) + stream.flush()
    # Two pictures are the first group: it hears all of the sentence, and half a second of silence.
    states = encode(load_hubert(weights / "hubert-large-ls960-ft"), np.pad(samples, (0, 25 * 320 + 80))[None])[
        0
    ].numpy()
    assert states.shape == (29, 1024)
    for f, window in enumerate(windows):
        steps = window.data.reshape(16, 1024)
        first = 8 - 2 * f
        assert not steps[:first].any()
        np.testing.assert_allclose(steps[first : first + 4], states[:4], atol=1e-5)
        assert not steps[first + 4 :].any()


def test_it_hears_in_single_precision_on_every_device(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lip-sync draws in, HuBERT overflows in half precision."""
    asked = []

    def open_and_note(backend: str, name: str, precision: str = "auto") -> TorchDevice:
        asked.append(precision)
        return open_device(backend, name, "fp32")

    monkeypatch.setattr(hubert, "open_device", open_and_note)
    HubertExtractor(weights).load("cpu")
    assert asked == ["fp32"]


def test_a_hubert_of_another_width_is_told_when_loading(tmp_path: Path) -> None:
    """HuBERT-xlarge is built alike, and its states are no windows of Ultralight's."""
    config = dataclasses.replace(TINY_HUBERT, hidden_size=1280)
    folder = tmp_path / "hubert-xlarge"
    write_config(config, folder)
    torch.save(ctc_state(random_hubert(config)), folder / "pytorch_model.bin")
    with pytest.raises(BackendUnavailable, match="1280 values a step, not 1024"):
        HubertExtractor(tmp_path).load("cpu")


def test_missing_weights_are_told_before_loading(tmp_path: Path) -> None:
    """Without its files the extractor is not made; the message names them and how to get them."""
    with pytest.raises(BackendUnavailable, match="hubert") as told:
        HubertExtractor(tmp_path)
    assert "launch.py fetch" in told.value.hint


def test_damaged_weights_are_told_when_loading(tmp_path: Path) -> None:
    """A file that is no weights file is named as the cause."""
    folder = write_hubert_weights(tmp_path / "hubert-large-ls960-ft")
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(BackendUnavailable, match=r"pytorch_model\.bin is empty"):
        HubertExtractor(tmp_path).load("cpu")
