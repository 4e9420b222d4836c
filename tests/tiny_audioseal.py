"""Files in the form and real size of AudioSeal's published weights, with random numbers in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.sound_seal import _Detector, _Generator

__all__ = ["published_state", "write_audioseal_weights"]

PUBLISHED = (
    (r"^(encoder|decoder)\.(\d+)\.", r"\1.model.\2."),
    (r"^bits\.", "msg_processor.msg_processor."),
)
DETECTORS = (
    (r"^encoder\.", "detector.0."),
    (r"^lengthen\.", "detector.0.reverse_convolution."),
    (r"^judge", "detector.1"),
)


def published_state(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Return random weights, small enough that nothing overflows, under the names of the published files."""
    numbers, state = np.random.default_rng(seed), {}
    is_detector = isinstance(network, _Detector)
    for ours, value in network.state_dict().items():
        name = ours
        if not re.match(r"bits|lengthen|judge", name) and ".lstm." not in name:
            is_back = isinstance(network.get_submodule(name.rpartition(".")[0]), nn.ConvTranspose1d)
            name = re.sub(r"\.(weight|bias)$", rf".{'convtr.convtr' if is_back else 'conv.conv'}.\1", name)
        for pattern, replacement in PUBLISHED:
            name = re.sub(pattern, replacement, name)
        for pattern, replacement in DETECTORS if is_detector else ():
            name = re.sub(pattern, replacement, name)
        scale = 1 / np.sqrt(max(1, np.prod(value.shape[1:])))
        state[name] = torch.from_numpy(scale * numbers.standard_normal(tuple(value.shape))).float()
    return state


def write_audioseal_weights(folder: Path) -> Path:
    """Write both files where `launch.py fetch` would put them. Return the weights folder."""
    (folder / "audioseal").mkdir(parents=True)
    for role, network in (("generator", _Generator()), ("detector", _Detector())):
        content = {"xp.cfg": {"nbits": 16}, "model": published_state(network)}
        torch.save(content, folder / "audioseal" / f"{role}_base.pth")
    return folder
