"""Ultralight and HuBERT weights for tests: random and narrow, but with the real construction and file formats."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tiny_wav2lip import random_network
from torch import Tensor

from models.hubert import Hubert, HubertConfig
from models.ultralight import AUDIO_SHAPE, INNER_PX, Ultralight

TINY_HUBERT = HubertConfig(
    hidden_size=1024,  # required by the shape of Ultralight's window
    num_hidden_layers=1,
    num_attention_heads=16,
    intermediate_size=8,
    conv_dim=(8,) * 7,
    conv_kernel=(10, 3, 3, 3, 3, 2, 2),
    conv_stride=(5, 2, 2, 2, 2, 2, 2),
    conv_bias=True,
    num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=256,
    layer_norm_eps=1e-5,
)
LARGE_HUBERT = HubertConfig(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    conv_dim=(512,) * 7,
    conv_kernel=(10, 3, 3, 3, 3, 2, 2),
    conv_stride=(5, 2, 2, 2, 2, 2, 2),
    conv_bias=True,
    num_conv_pos_embeddings=128,
    num_conv_pos_embedding_groups=16,
    layer_norm_eps=1e-5,
)
"""The sizes of facebook/hubert-large-ls960-ft."""


def random_ultralight(seed: int = 0, width: int = 1) -> Ultralight:
    shapes = (4, 6, INNER_PX, INNER_PX), (4, *AUDIO_SHAPE)
    return random_network(lambda: Ultralight(width), *shapes, seed=seed)


def write_ultralight_network(path: Path, seed: int = 0) -> Path:
    """Write the `ultralight.pth` of an avatar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(random_ultralight(seed).state_dict(), path)
    return path


def random_hubert(config: HubertConfig, seed: int = 0) -> Hubert:
    return random_network(lambda: Hubert(config), (1, 800), seed=seed)


def ctc_state(network: Hubert) -> dict[str, Tensor]:
    """Return the tensors with the names of HubertForCTC; the positions' weight norm as before torch 2.0."""
    state = {f"hubert.{name}": value for name, value in network.state_dict().items()}
    positions = "hubert.encoder.pos_conv_embed.conv.weight"
    direction = state.pop(positions)
    state[f"{positions}_g"] = direction.norm(dim=(0, 1), keepdim=True)
    state[f"{positions}_v"] = direction
    size = network.hidden_size
    unused = {"lm_head.weight": torch.zeros(32, size), "lm_head.bias": torch.zeros(32)}
    return state | unused | {"hubert.masked_spec_embed": torch.zeros(size)}


def write_config(config: HubertConfig, folder: Path) -> None:
    entries = {name: getattr(config, name) for name in HubertConfig.__slots__}
    form = {
        "architectures": ["HubertForCTC"],
        "model_type": "hubert",
        "do_stable_layer_norm": True,
        "feat_extract_norm": "layer",
        "feat_extract_activation": "gelu",
        "hidden_act": "gelu",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(entries | form, indent=2))


def write_hubert_weights(folder: Path, seed: int = 0) -> Path:
    """Write config.json and pytorch_model.bin in `folder`; the latter in torch's old format, as published."""
    write_config(TINY_HUBERT, folder)
    state = ctc_state(random_hubert(TINY_HUBERT, seed))
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    return folder
