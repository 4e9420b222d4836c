"""Stable Diffusion 1's UNet and VAE, and BiSeNet, as formulas over a state dict, for comparison with our networks.

Sources: Ronneberger et al. 2015 and He et al. 2016 (blocks), Ho et al. 2020 (time, residual blocks), Vaswani et al.
2017 (attention), Shazeer 2020 (GEGLU), Rombach et al. 2022 (their combination), Yu et al. 2018 (BiSeNet).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import (
    batch_norm,
    conv2d,
    gelu,
    group_norm,
    interpolate,
    layer_norm,
    linear,
    max_pool2d,
    pad,
    relu,
    silu,
)


@dataclass(frozen=True)
class Weights:
    """The part of a state dict below a name."""

    state: Mapping[str, Tensor]
    name: str = ""

    def __truediv__(self, name: str | int) -> Weights:
        return Weights(self.state, f"{self.name}{name}.")

    def __contains__(self, name: str) -> bool:
        return any(key.startswith(f"{self.name}{name}.") for key in self.state)

    def count(self, name: str) -> int:
        start = f"{self.name}{name}."
        return len({key.removeprefix(start).split(".")[0] for key in self.state if key.startswith(start)})

    @property
    def weight(self) -> Tensor:
        return self.state[f"{self.name}weight"]

    @property
    def bias(self) -> Tensor | None:
        return self.state.get(f"{self.name}bias")

    def conv(self, x: Tensor, stride: int = 1, padding: int | None = None) -> Tensor:
        return conv2d(x, self.weight, self.bias, stride, self.weight.shape[2] // 2 if padding is None else padding)

    def linear(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def plain_unet(w: Weights, latents: Tensor, audio: Tensor, heads: int, groups: int) -> Tensor:
    """Compute one step at timestep 0, whose embedding is cosines of 0 and then sines of 0."""
    half = w.state["time_embedding.linear_1.weight"].shape[1] // 2
    angles = 0 * torch.exp(-math.log(10000) * torch.arange(half) / half)
    time = torch.cat([angles.cos(), angles.sin()])[None]
    time = (w / "time_embedding" / "linear_2").linear(silu((w / "time_embedding" / "linear_1").linear(time)))

    x = (w / "conv_in").conv(latents)
    skipped = [x]
    for i in range(w.count("down_blocks")):
        block = w / "down_blocks" / i
        for j in range(block.count("resnets")):
            x = _resnet(block / "resnets" / j, x, time, groups, 1e-5)
            if "attentions" in block:
                x = _transformer(block / "attentions" / j, x, audio, heads, groups)
            skipped.append(x)
        if "downsamplers" in block:
            x = (block / "downsamplers" / 0 / "conv").conv(x, stride=2)
            skipped.append(x)

    middle = w / "mid_block"
    x = _resnet(middle / "resnets" / 0, x, time, groups, 1e-5)
    x = _transformer(middle / "attentions" / 0, x, audio, heads, groups)
    x = _resnet(middle / "resnets" / 1, x, time, groups, 1e-5)

    for i in range(w.count("up_blocks")):
        block = w / "up_blocks" / i
        for j in range(block.count("resnets")):
            x = _resnet(block / "resnets" / j, torch.cat([x, skipped.pop()], 1), time, groups, 1e-5)
            if "attentions" in block:
                x = _transformer(block / "attentions" / j, x, audio, heads, groups)
        if "upsamplers" in block:
            x = (block / "upsamplers" / 0 / "conv").conv(_twice(x))
    assert not skipped
    return (w / "conv_out").conv(silu(_group_norm(w / "conv_norm_out", x, groups, 1e-5)))


def plain_encode(w: Weights, pictures: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Return the mean and the logarithm of the variance of the latents."""
    encoder = w / "encoder"
    x = (encoder / "conv_in").conv(pictures)
    for i in range(encoder.count("down_blocks")):
        block = encoder / "down_blocks" / i
        for j in range(block.count("resnets")):
            x = _resnet(block / "resnets" / j, x, None, groups, 1e-6)
        if "downsamplers" in block:
            x = (block / "downsamplers" / 0 / "conv").conv(pad(x, (0, 1, 0, 1)), stride=2, padding=0)
    x = _vae_ends(encoder, _vae_middle(encoder / "mid_block", x, groups), groups)
    mean, log_variance = (w / "quant_conv").conv(x).chunk(2, 1)
    return mean, log_variance


def plain_decode(w: Weights, latents: Tensor, groups: int) -> Tensor:
    decoder = w / "decoder"
    x = (decoder / "conv_in").conv((w / "post_quant_conv").conv(latents))
    x = _vae_middle(decoder / "mid_block", x, groups)
    for i in range(decoder.count("up_blocks")):
        block = decoder / "up_blocks" / i
        for j in range(block.count("resnets")):
            x = _resnet(block / "resnets" / j, x, None, groups, 1e-6)
        if "upsamplers" in block:
            x = (block / "upsamplers" / 0 / "conv").conv(_twice(x))
    return _vae_ends(decoder, x, groups)


def _vae_middle(w: Weights, x: Tensor, groups: int) -> Tensor:
    x = _resnet(w / "resnets" / 0, x, None, groups, 1e-6)
    attention = w / "attentions" / 0
    tokens = _tokens(_group_norm(attention / "group_norm", x, groups, 1e-6))
    x = x + _picture(_attention(attention, tokens, tokens, heads=1), x)
    return _resnet(w / "resnets" / 1, x, None, groups, 1e-6)


def _vae_ends(w: Weights, x: Tensor, groups: int) -> Tensor:
    return (w / "conv_out").conv(silu(_group_norm(w / "conv_norm_out", x, groups, 1e-6)))


def _twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _group_norm(w: Weights, x: Tensor, groups: int, eps: float) -> Tensor:
    return group_norm(x, groups, w.weight, w.bias, eps)


def _resnet(w: Weights, x: Tensor, time: Tensor | None, groups: int, eps: float) -> Tensor:
    hidden = (w / "conv1").conv(silu(_group_norm(w / "norm1", x, groups, eps)))
    if time is not None:
        hidden = hidden + (w / "time_emb_proj").linear(silu(time))[:, :, None, None]
    hidden = (w / "conv2").conv(silu(_group_norm(w / "norm2", hidden, groups, eps)))
    return hidden + ((w / "conv_shortcut").conv(x) if "conv_shortcut" in w else x)


def _transformer(w: Weights, x: Tensor, audio: Tensor, heads: int, groups: int) -> Tensor:
    tokens = _tokens((w / "proj_in").conv(_group_norm(w / "norm", x, groups, 1e-6)))
    block = w / "transformer_blocks" / 0
    normal = _layer_norm(block / "norm1", tokens)
    tokens = tokens + _attention(block / "attn1", normal, normal, heads)
    tokens = tokens + _attention(block / "attn2", _layer_norm(block / "norm2", tokens), audio, heads)
    values, gates = (block / "ff" / "net" / 0 / "proj").linear(_layer_norm(block / "norm3", tokens)).chunk(2, -1)
    tokens = tokens + (block / "ff" / "net" / 2).linear(values * gelu(gates))
    return x + (w / "proj_out").conv(_picture(tokens, x))


def _layer_norm(w: Weights, x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], w.weight, w.bias)


def _attention(w: Weights, x: Tensor, context: Tensor, heads: int) -> Tensor:
    def split(tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)

    query, key, value = (
        split((w / name).linear(of)) for name, of in (("to_q", x), ("to_k", context), ("to_v", context))
    )
    weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
    return (w / "to_out" / 0).linear((weights @ value).transpose(1, 2).flatten(2))


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _picture(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.transpose(1, 2).reshape(like.shape[0], -1, *like.shape[2:])


def plain_bisenet(w: Weights, x: Tensor) -> Tensor:
    """Return the scores of the main head, in the picture's size."""
    size = x.shape[2:]
    path, backbone = w / "cp", w / "cp" / "resnet"
    x = max_pool2d(relu(_batch_norm(backbone / "bn1", (backbone / "conv1").conv(x, stride=2))), 3, 2, 1)
    eighth = _layer(backbone / "layer2", _layer(backbone / "layer1", x, 1), 2)
    sixteenth = _layer(backbone / "layer3", eighth, 2)
    thirty_second = _layer(backbone / "layer4", sixteenth, 2)

    whole = _conv_bn_relu(path / "conv_avg", thirty_second.mean((2, 3), keepdim=True))
    coarse = _conv_bn_relu(path / "conv_head32", _twice(_refine(path / "arm32", thirty_second) + whole))
    fine = _conv_bn_relu(path / "conv_head16", _twice(_refine(path / "arm16", sixteenth) + coarse))

    fused = _conv_bn_relu(w / "ffm" / "convblk", torch.cat([eighth, fine], 1))
    weights = (w / "ffm" / "conv2").conv(relu((w / "ffm" / "conv1").conv(fused.mean((2, 3), keepdim=True))))
    fused = fused * weights.sigmoid() + fused
    scores = (w / "conv_out" / "conv_out").conv(_conv_bn_relu(w / "conv_out" / "conv", fused))
    return interpolate(scores, size, mode="bilinear", align_corners=True)


def _layer(w: Weights, x: Tensor, stride: int) -> Tensor:
    for i, step in enumerate((stride, 1)):
        block = w / i
        hidden = relu(_batch_norm(block / "bn1", (block / "conv1").conv(x, step)))
        hidden = _batch_norm(block / "bn2", (block / "conv2").conv(hidden))
        if "downsample" in block:
            x = _batch_norm(block / "downsample" / 1, (block / "downsample" / 0).conv(x, step))
        x = relu(x + hidden)
    return x


def _refine(w: Weights, x: Tensor) -> Tensor:
    features = _conv_bn_relu(w / "conv", x)
    weights = _batch_norm(w / "bn_atten", (w / "conv_atten").conv(features.mean((2, 3), keepdim=True)))
    return features * weights.sigmoid()


def _conv_bn_relu(w: Weights, x: Tensor) -> Tensor:
    return relu(_batch_norm(w / "bn", (w / "conv").conv(x)))


def _batch_norm(w: Weights, x: Tensor) -> Tensor:
    return batch_norm(x, w.state[f"{w.name}running_mean"], w.state[f"{w.name}running_var"], w.weight, w.bias)
