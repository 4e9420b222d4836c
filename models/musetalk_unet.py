"""MuseTalk's UNet: latents of a masked and a whole face and the audio around a picture give latents of the new face.

The network is Stable Diffusion 1's UNet with 8 channels in and whisper in place of the text. It takes one step, at
timestep 0: MuseTalk inpaints in latent space and does not diffuse. Versions 1.0 and 1.5 differ in their weights alone.
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
"""Of a face; the UNet takes two faces at once."""
_AUDIO_CHANNELS = 384
"""The width of whisper-tiny."""


def load_musetalk_unet(weights: Path, config: Path) -> UNet2DConditionModel:
    """The network of `unet.pth` or `pytorch_model.bin`, of the sizes in `musetalk.json` (diffusers 0.6.0.dev0).

    Raises WeightsMissing, WeightsDamaged (either file), WrongArchitecture (the two do not belong together, or are not
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
    """(n, 8, 32, 32) latents, masked then whole face, and (n, 50, 384) audio -> (n, 4, 32, 32) latents of the new face.

    `audio` already has its positions added (models/positional_encoding.py). All in the network's dtype, on its device.
    Raises torch.OutOfMemoryError.
    """
    # A tensor made where it is used: diffusers would upload a number anew at each call.
    timestep = torch.zeros((), dtype=torch.int64, device=latents.device)
    (predicted,) = unet(latents, timestep, encoder_hidden_states=audio, return_dict=False)
    result: Tensor = predicted.contiguous()  # of a tensor this small; what follows is faster for it
    return result
