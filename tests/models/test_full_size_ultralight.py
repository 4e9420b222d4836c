"""Ultralight and HuBERT-large at their published sizes: random weights in the original formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_ultralight import LARGE_HUBERT, ctc_state, random_hubert, random_ultralight, write_config

from models.hubert import encode, load_hubert
from models.ultralight import AUDIO_SHAPE, draw, load_ultralight

pytestmark = pytest.mark.slow


def test_full_size_networks_hear_and_draw_a_batch(tmp_path: Path) -> None:
    """Files of the published sizes and formats load strictly; a second of speech becomes two pictures on the CPU."""
    write_config(LARGE_HUBERT, tmp_path)
    weights = tmp_path / "pytorch_model.bin"
    torch.save(ctc_state(random_hubert(LARGE_HUBERT)), weights, _use_new_zipfile_serialization=False)
    assert weights.stat().st_size > 1.26e9
    heard = encode(load_hubert(tmp_path), torch.randn(1, 16_000))
    assert heard.shape == (1, 49, 1024)
    torch.save(random_ultralight(width=32).state_dict(), tmp_path / "ultralight.pth")
    network = load_ultralight(tmp_path / "ultralight.pth")
    windows = torch.stack([heard[0, start : start + 16].reshape(AUDIO_SHAPE) for start in (0, 2)])
    crops = np.random.default_rng(0).integers(0, 256, (2, 168, 168, 3), np.uint8)
    drawn = draw(network, crops, windows)
    assert drawn.shape == crops.shape
    assert drawn[:, 4:164, 4:164].std() > 5
