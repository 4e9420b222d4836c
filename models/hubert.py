"""HuBERT-large (Hsu et al. 2021), the speech features of Ultralight.

It gives a vector every 20 ms, with the whole clip as context. Seven convolutions turn 16 kHz samples into 50 vectors a
second, and 24 transformer layers (pre-norm) relate them. Names and formulas are those of Hugging Face's `HubertModel`
in its "stable layer norm" form. Sizes come from the folder's config.json. Ultralight's avatars are trained with
`facebook/hubert-large-ls960-ft`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import WeightsDamaged, WrongArchitecture
from models.hugging_face import TRANSFORMERS_WEIGHTS, read_config, weights_file
from models.state_dicts import load_network, read_state_dict

__all__ = ["SAMPLES_PER_STEP", "Hubert", "HubertConfig", "encode", "load_hubert", "normalised"]

SAMPLES_PER_STEP = 320
_STEP_SAMPLES = 400
"""Samples that a step depends on."""
_LARGEST, _DEEPEST = 1 << 16, 100
"""Upper limits for sizes and for the number of layers; no HuBERT comes close."""
_NEEDED = "Ultralight needs facebook/hubert-large-ls960-ft."
_FORM = {
    "model_type": "hubert",
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
}
"""Values in the config.json of a HuBERT with the structure of the large one."""

_NOT_ENCODER = ("lm_head.", "masked_spec_embed")
"""Parts of the file that are not the encoder: the head for speech recognition, and the mask used in training."""
_POSITIONS = "encoder.pos_conv_embed.conv."
_LENGTH_NAMES = (f"{_POSITIONS}weight_g", f"{_POSITIONS}parametrizations.weight.original0")
_DIRECTION_NAMES = (f"{_POSITIONS}weight_v", f"{_POSITIONS}parametrizations.weight.original1")
"""Weight norm stores a weight as length and direction, under different names before and since torch 2.0."""


@dataclass(frozen=True, slots=True)
class HubertConfig:
    """The sizes in config.json that define the encoder."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    conv_dim: tuple[int, ...]
    "channels of each convolution on samples"
    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]
    conv_bias: bool
    num_conv_pos_embeddings: int
    "kernel, in steps, of the convolution that encodes positions"
    num_conv_pos_embedding_groups: int
    layer_norm_eps: float

    @classmethod
    def read(cls, path: Path) -> HubertConfig:
        """Read config.json. Raises WeightsMissing, WeightsDamaged, WrongArchitecture.

        WrongArchitecture: HuBERT in its other form (base), or sizes that do not fit each other or Ultralight.
        """
        entries = read_config(path, _NEEDED, **_FORM)
        try:
            config = cls(
                hidden_size=int(entries["hidden_size"]),
                num_hidden_layers=int(entries["num_hidden_layers"]),
                num_attention_heads=int(entries["num_attention_heads"]),
                intermediate_size=int(entries["intermediate_size"]),
                conv_dim=tuple(map(int, entries["conv_dim"])),
                conv_kernel=tuple(map(int, entries["conv_kernel"])),
                conv_stride=tuple(map(int, entries["conv_stride"])),
                conv_bias=bool(entries["conv_bias"]),
                num_conv_pos_embeddings=int(entries["num_conv_pos_embeddings"]),
                num_conv_pos_embedding_groups=int(entries["num_conv_pos_embedding_groups"]),
                layer_norm_eps=float(entries["layer_norm_eps"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise WeightsDamaged(f"{path} does not give HuBERT's sizes: {error}.", "Get the file again.") from error
        if fault := config._fault():
            raise WrongArchitecture(f"{path} describes no HuBERT that could be used: {fault}.", _NEEDED)
        return config

    def _fault(self) -> str:
        """Return a fault that the shapes of the weights would not reveal, or that prevents building; else empty."""
        sizes = (
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.intermediate_size,
            self.num_conv_pos_embeddings,
            self.num_conv_pos_embedding_groups,
            *self.conv_dim,
            *self.conv_kernel,
            *self.conv_stride,
        )
        if not all(1 <= size <= _LARGEST for size in sizes) or not 0 < self.layer_norm_eps < 1:
            return "a size is out of range"
        if max(self.num_hidden_layers, len(self.conv_dim)) > _DEEPEST:
            return "it has too many layers"
        if not len(self.conv_dim) == len(self.conv_kernel) == len(self.conv_stride) >= 1:
            return "its convolutions have channels, kernels and strides of different number"
        if self.hidden_size % self.num_attention_heads or self.hidden_size % self.num_conv_pos_embedding_groups:
            return f"{self.hidden_size} values cannot be shared out to its heads or groups"
        hop, span = 1, 1
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            span += (kernel - 1) * hop
            hop *= stride
        if (hop, span) != (SAMPLES_PER_STEP, _STEP_SAMPLES):
            return f"it has a step every {hop} samples, made of {span}"
        return ""


class _SampleConvolution(nn.Module):
    def __init__(self, config: HubertConfig, index: int) -> None:
        super().__init__()
        channels_in = config.conv_dim[index - 1] if index else 1
        channels, kernel, stride = config.conv_dim[index], config.conv_kernel[index], config.conv_stride[index]
        self.conv = nn.Conv1d(channels_in, channels, kernel, stride, bias=config.conv_bias)
        self.layer_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.layer_norm(self.conv(x).transpose(1, 2))
        return functional.gelu(normed.transpose(1, 2))


class _FeatureExtractor(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.conv_layers = nn.Sequential(*(_SampleConvolution(config, i) for i in range(len(config.conv_dim))))

    def forward(self, waveform: Tensor) -> Tensor:
        channels: Tensor = self.conv_layers(waveform[:, None])
        return channels.transpose(1, 2)


class _FeatureProjection(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.conv_dim[-1], eps=config.layer_norm_eps)
        self.projection = nn.Linear(config.conv_dim[-1], config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.projection(self.layer_norm(x))
        return y


class _Positions(nn.Module):
    """Encodes a step's position from its neighbours within 1.28 s on each side."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        kernel = config.num_conv_pos_embeddings
        groups = config.num_conv_pos_embedding_groups
        self.conv = nn.Conv1d(config.hidden_size, config.hidden_size, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        # An even kernel gives one step too many.
        around = self.conv(x.transpose(1, 2))[:, :, : x.shape[1]]
        return functional.gelu(around).transpose(1, 2)


class _Attention(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self._heads = config.num_attention_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(size, size) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self._by_head(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return y

    def _by_head(self, x: Tensor) -> Tensor:
        """(n, steps, size) -> (n, heads, steps, size / heads)."""
        return x.view(*x.shape[:2], self._heads, -1).transpose(1, 2)


class _FeedForward(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output_dense = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.output_dense(functional.gelu(self.intermediate_dense(x)))
        return y


class _Layer(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = _FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.layer_norm(x))
        y: Tensor = x + self.feed_forward(self.final_layer_norm(x))
        return y


class _Encoder(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.pos_conv_embed = _Positions(config)
        self.layers = nn.Sequential(*(_Layer(config) for _ in range(config.num_hidden_layers)))
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer_norm(self.layers(x + self.pos_conv_embed(x)))
        return y


class Hubert(nn.Module):
    """(n, samples) normalised 16 kHz speech -> (n, steps, hidden_size), a step every 20 ms.

    There are (samples - 80) // 320 steps, since a step depends on 400 samples, and the next one starts 320 later. The
    input needs at least 400 samples.
    """

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.hidden_size = config.hidden_size
        self.feature_extractor = _FeatureExtractor(config)
        self.feature_projection = _FeatureProjection(config)
        self.encoder = _Encoder(config)

    def forward(self, waveform: Tensor) -> Tensor:
        y: Tensor = self.encoder(self.feature_projection(self.feature_extractor(waveform)))
        return y


def load_hubert(folder: Path) -> Hubert:
    """Load the network of a Hugging Face folder, on the CPU and in the dtype of the file.

    Raises WeightsMissing, WeightsDamaged, WrongArchitecture.
    """
    config = HubertConfig.read(folder / "config.json")
    path = weights_file(folder, TRANSFORMERS_WEIGHTS)
    state = _encoder_weights(read_state_dict(path), path)
    return load_network(lambda: Hubert(config), state, path)


def _encoder_weights(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the encoder's weights of a HubertForCTC or HubertModel file, with weight norm applied."""
    own = {name.removeprefix("hubert."): value for name, value in state.items()}
    own = {name: value for name, value in own.items() if not name.startswith(_NOT_ENCODER)}
    length = next((own.pop(name) for name in _LENGTH_NAMES if name in own), None)
    direction = next((own.pop(name) for name in _DIRECTION_NAMES if name in own), None)
    if length is None or direction is None or direction.ndim != 3 or length.shape != (1, 1, direction.shape[2]):
        raise WrongArchitecture(
            f"{path} is no HuBERT: the weight norm of its positions is missing.",
            _NEEDED,
        )
    # Normalised per tap of the kernel (dim=2 in the original); in float32, because half precision would overflow.
    norm = direction.float().norm(dim=(0, 1), keepdim=True)
    own[f"{_POSITIONS}weight"] = (direction * (length.float() / norm)).to(direction.dtype)
    return own


def normalised(waveform: Tensor) -> Tensor:
    """Shift and scale speech (..., samples) to mean 0 and variance 1, like `Wav2Vec2FeatureExtractor`."""
    waveform = waveform.float()
    mean = waveform.mean(dim=-1, keepdim=True)
    return (waveform - mean) / torch.sqrt(waveform.var(dim=-1, keepdim=True, correction=0) + 1e-7)


@torch.inference_mode()
def encode(network: Hubert, waveform: Tensor | npt.NDArray[np.float32]) -> Tensor:
    """Encode (n, samples) raw 16 kHz speech. Returns (n, steps, hidden_size) float32 on the CPU; see `Hubert`.

    Raises torch.OutOfMemoryError.
    """
    weight = next(network.parameters())
    states: Tensor = network(normalised(torch.as_tensor(waveform, device=weight.device)).to(weight.dtype))
    return states.float().cpu()
