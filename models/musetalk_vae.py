"""The autoencoder of MuseTalk: converts faces of 256 px to latents of 32 px and back (sd-vae-ft-mse).

Faces are RGB here. MuseTalk uses BGR, and swaps the channels at the same two places.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from models.finite import finite
from models.hugging_face import read_config, weights_file
from models.network_config import network_from_config
from models.state_dicts import load_network, read_state_dict

__all__ = ["decode_faces", "encode_faces", "face_to_tensor", "load_musetalk_vae"]

WEIGHT_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
"""The same weights in two formats; the first needs no unpickling."""

Faces = npt.NDArray[np.uint8]

_ATTENTION = re.compile(r"(.*mid_block\.attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)")
_TODAYS_NAME = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load_musetalk_vae(folder: Path) -> AutoencoderKL:
    """Load the autoencoder of an `sd-vae*` folder: config.json and its weights, from any version of diffusers.

    Raises WeightsMissing, WeightsDamaged, WrongArchitecture.
    """
    config = folder / "config.json"
    settings = read_config(config, in_channels=3, out_channels=3, latent_channels=4)
    weights = weights_file(folder, WEIGHT_FILES)
    state = {_todays_name(name): _as_linear(name, value) for name, value in read_state_dict(weights).items()}
    network: AutoencoderKL = load_network(lambda: network_from_config(AutoencoderKL, settings, config), state, weights)
    return network


def _todays_name(name: str) -> str:
    """Return the name since diffusers 0.15 of a weight of the middle attention; other names stay."""
    old = _ATTENTION.fullmatch(name)
    return f"{old[1]}.{_TODAYS_NAME[old[2]]}.{old[3]}" if old else name


def _as_linear(name: str, value: Tensor) -> Tensor:
    """Turn 1x1 convolutions into matrices: Stable Diffusion's own files have the former, diffusers has the latter."""
    return value[:, :, 0, 0] if _ATTENTION.fullmatch(name) and value.ndim == 4 else value


def face_to_tensor(rgb: Faces, half_mask: bool, device: str | torch.device = "cpu") -> Tensor:
    """Convert uint8 RGB (n, 256, 256, 3) to float32 (n, 3, 256, 256) in -1..1. half_mask: make the lower half black."""
    faces = torch.from_numpy(np.array(rgb)).to(device).permute(0, 3, 1, 2).contiguous().float() / 255
    if half_mask:
        faces[:, :, faces.shape[2] // 2 :] = 0
    return (faces - 0.5) / 0.5


@torch.inference_mode()
def encode_faces(vae: AutoencoderKL, rgb: Faces) -> Tensor:
    """Return (n, 8, 32, 32): scaled latents of the masked face, then of the whole face. rgb: uint8 (n, 256, 256, 3).

    The encoder gives a normal distribution. As in MuseTalk's training, its mode is used, so the same face always has
    the same latents. MuseTalk's inference samples from it instead, which adds noise that differs from frame to frame.
    Raises torch.OutOfMemoryError.
    """
    whole_and_masked = [face_to_tensor(rgb, half_mask, vae.device).to(vae.dtype) for half_mask in (True, False)]
    latents = vae.encode(torch.cat(whole_and_masked)).latent_dist.mode()
    return torch.cat((latents * vae.config["scaling_factor"]).chunk(2), dim=1)


@torch.inference_mode()
def decode_faces(vae: AutoencoderKL, latents: Tensor) -> Faces:
    """Return uint8 RGB (n, 256, 256, 3). latents: (n, 4, 32, 32), scaled, in the network's dtype, on its device.

    Raises torch.OutOfMemoryError, FloatingPointError (the result is not finite).
    """
    (pictures,) = vae.decode(latents / vae.config["scaling_factor"], return_dict=False)
    levels = (finite(pictures.float()) / 2 + 0.5).clamp(0, 1).mul(255).round()
    # Bytes leave the device: a quarter of the size of floats.
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
