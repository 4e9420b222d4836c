"""Wav2Lip at its published size: random weights in the original formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_wav2lip import random_wav2lip, save_checkpoint

from models.wav2lip import Side, draw, load_wav2lip

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("side", [96, 256])
def test_a_full_size_checkpoint_draws_a_batch(side: Side, tmp_path: Path) -> None:
    """A file of the published size and format loads strictly and draws four faces on the CPU."""
    path = tmp_path / f"wav2lip{side}.pth"
    save_checkpoint(random_wav2lip(side, width=16).state_dict(), path, side)
    assert path.stat().st_size > 4 * {96: 36_298_035, 256: 53_605_683}[side]
    network = load_wav2lip(path, side)
    assert next(network.parameters()).dtype == torch.float32
    rng = np.random.default_rng(0)
    drawn = draw(
        network,
        rng.integers(0, 256, (4, side, side, 3), np.uint8),
        rng.uniform(-4, 4, (4, 80, 16)).astype(np.float32),
    )
    assert drawn.shape == (4, side, side, 3)
    assert drawn.std() > 5
