"""Wav2Lip weights for tests: random and a sixteenth as wide, but with the real construction and file formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.wav2lip import MEL_BANDS, MEL_COLUMNS, Side, Wav2Lip

Network = TypeVar("Network", bound=nn.Module)


def random_network(build: Callable[[], Network], *inputs: tuple[int, ...], seed: int) -> Network:
    """Return a network with random weights. Its batch norms have seen noise of the shapes `inputs` once, so that
    signals neither vanish nor explode.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build()
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            norm.momentum = None  # average over everything seen
        with torch.no_grad():
            network.train()(*(torch.rand(shape) for shape in inputs))
    return network.eval().requires_grad_(False)


def random_wav2lip(side: Side, seed: int = 0, width: int = 1) -> Wav2Lip:
    faces, mels = (8, 6, side, side), (8, 1, MEL_BANDS, MEL_COLUMNS)
    return random_network(lambda: Wav2Lip(side, width), mels, faces, seed=seed)


def save_checkpoint(state: dict[str, Tensor], path: Path, side: Side) -> None:
    """Save in the published form: 96 in the format of torch 1.1 with DataParallel's names, 256 in today's format."""
    if side == 96:
        state = {f"module.{name}": value for name, value in state.items()}
    checkpoint = {"state_dict": state, "optimizer": None, "global_step": 1000, "global_epoch": 2}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=side != 96)


def write_wav2lip_weights(folder: Path, side: Side, seed: int = 0) -> Path:
    """Write `wav2lip96.pth` or `wav2lip256.pth` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"wav2lip{side}.pth"
    save_checkpoint(random_wav2lip(side, seed).state_dict(), path, side)
    return path
