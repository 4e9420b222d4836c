"""MuseTalk's UNet: computes latents of a new face from those of a masked and a whole face and from the audio.

The network is Stable Diffusion 1's UNet with 8 input channels, and Whisper in place of the text. It runs once, at
timestep 0: MuseTalk inpaints in latent space and does not diffuse. Versions 1.0 and 1.5 differ only in their weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from models.hugging_face import read_config
from models.network_config import network_from_config
from models.state_dicts import load_network, read_state_dict

__all__ = ["load_musetalk_unet", "predict_latents"]

_LATENT_CHANNELS = 4
"""Channels of one face; the UNet takes two faces at once."""
_AUDIO_CHANNELS = 384
"""Width of whisper-tiny."""


def load_musetalk_unet(weights: Path, config: Path) -> UNet2DConditionModel:
    """Load `unet.pth` or `pytorch_model.bin`, with the sizes in `musetalk.json` (diffusers 0.6.0.dev0).

    Raises WeightsMissing, WeightsDamaged (either file), WrongArchitecture (the two do not match, or are not
    MuseTalk's).
    """
    settings = read_config(
        config,
        in_channels=2 * _LATENT_CHANNELS,
        out_channels=_LATENT_CHANNELS,
        cross_attention_dim=_AUDIO_CHANNELS,
    )
    state = read_state_dict(weights)
    network: UNet2DConditionModel = load_network(
        lambda: network_from_config(UNet2DConditionModel, settings, config), state, weights
    )
    return network


@torch.inference_mode()
def predict_latents(unet: UNet2DConditionModel, latents: Tensor, audio: Tensor) -> Tensor:
    """Return (n, 4, 32, 32): latents of the new face.

    latents: (n, 8, 32, 32), masked face, then whole face. audio: (n, 50, 384), with its positions already added
    (models/positional_encoding.py). All are in the network's dtype, on its device. Raises torch.OutOfMemoryError.
    """
    # Created on the device: diffusers would upload a plain number at each call.
    timestep = torch.zeros((), dtype=torch.int64, device=latents.device)
    (predicted,) = unet(latents, timestep, encoder_hidden_states=audio, return_dict=False)
    result: Tensor = predicted.contiguous()  # cheap for a tensor this small, and it makes the next steps faster
    return result
