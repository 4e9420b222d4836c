"""MuseTalk's weights folder in small: real names, layouts, formats and architecture; few channels, random weights.

`musetalk15_unet_config` and `vae_config` are the published files, byte for byte, except for the sizes a test asks for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

from models.bisenet import BiSeNet

UNET_FILES = {"15": "musetalkV15/unet.pth", "10": "musetalk/pytorch_model.bin"}
TINY_UNET = {
    "block_out_channels": [8, 16, 16, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 1,
}
TINY_VAE = {
    "block_out_channels": [2, 2, 4, 8],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "mid_block_add_attention": False,
}


def write_musetalk_weights(folder: Path, version: Literal["15", "10"] = "15", seed: int = 0) -> Path:
    """Write the UNet of a version and the VAE, without whisper, in the layout of MuseTalk and LiveTalking."""
    unet = folder / UNET_FILES[version]
    unet.parent.mkdir(parents=True, exist_ok=True)
    config = unet_config(**TINY_UNET)
    write_config(config, unet.with_name("musetalk.json"))
    torch.save(dict(random_unet(config, seed).state_dict()), unet)

    vae = folder / "sd-vae-ft-mse"
    vae.mkdir(exist_ok=True)
    config = vae_config(**TINY_VAE)
    write_config(config, vae / "config.json")
    state = old_attention_names(random_network(lambda: AutoencoderKL(**config), seed + 1).state_dict())
    save_file(state, vae / "diffusion_pytorch_model.safetensors")
    return folder


def write_bisenet_weights(folder: Path, seed: int = 0, width: int = 4) -> Path:
    """Write a face parser a sixteenth as wide as the published one; return its file."""
    path = folder / "face-parse-bisent" / "79999_iter.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    network = random_network(lambda: BiSeNet(width), seed)
    # The published file has the format from before torch 1.6.
    torch.save(dict(network.state_dict()), path, _use_new_zipfile_serialization=False)
    return path


def unet_config(**sizes: Any) -> dict[str, Any]:
    return {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": "0.6.0.dev0",
        "act_fn": "silu",
        "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280],
        "center_input_sample": False,
        "cross_attention_dim": 384,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 8,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 32,
        "out_channels": 4,
        "sample_size": 64,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        **sizes,
    }


def vae_config(**sizes: Any) -> dict[str, Any]:
    return {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": "0.4.2",
        "act_fn": "silu",
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": 256,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        **sizes,
    }


def write_config(config: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def random_unet(config: Mapping[str, Any], seed: int) -> UNet2DConditionModel:
    """Return a network whose output varies as much as real latents, so that pictures move with the audio."""
    unet: UNet2DConditionModel = random_network(lambda: UNet2DConditionModel(**config), seed)
    with torch.no_grad():
        unet.conv_out.weight.mul_(5)
    return unet


def random_network(build: Callable[[], nn.Module], seed: int) -> Any:
    """Return a network with its own initialisation, but random norms. torch's random state is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
                    module.weight.uniform_(0.7, 1.3)
                    module.bias.normal_(0, 0.1)
                if (
                    isinstance(module, nn.BatchNorm2d)
                    and module.running_mean is not None
                    and module.running_var is not None
                ):
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def old_attention_names(state: Mapping[str, Tensor], convolutions: bool = False) -> dict[str, Tensor]:
    """Rename a VAE's weights as in diffusers before 0.15; convolutions: 1x1 convolutions, as in Stable Diffusion."""
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    old = {}
    for name, value in state.items():
        new = next((part for part in names if part in name), None)
        if new is None:
            old[name] = value
        else:
            as_matrix = value.ndim == 1 or not convolutions
            old[name.replace(new, names[new])] = value if as_matrix else value[:, :, None, None].clone()
    return old
