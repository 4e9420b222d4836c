"""Whisper weights for tests: random, in the real formats, with tiny's width and depth, but narrow inner layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.whisper_encoder import WhisperEncoder, WhisperSizes

BESIDE_WHISPER = (
    "musetalkV15/unet.pth",
    "musetalkV15/musetalk.json",
    "musetalk/pytorch_model.bin",
    "musetalk/musetalk.json",
    "sd-vae/config.json",
    "sd-vae/diffusion_pytorch_model.bin",
)
"""The other files in a weights folder for MuseTalk 1.5 and 1.0."""
TINY_WHISPER = WhisperSizes(inner=16)
_HUGGING_FACE_NAMES = {
    "positional_embedding": "embed_positions.weight",
    "blocks.": "layers.",
    "attn.query.": "self_attn.q_proj.",
    "attn.key.": "self_attn.k_proj.",
    "attn.value.": "self_attn.v_proj.",
    "attn.out.": "self_attn.out_proj.",
    "attn_ln.": "self_attn_layer_norm.",
    "mlp.0.": "fc1.",
    "mlp.2.": "fc2.",
    "mlp_ln.": "final_layer_norm.",
    "ln_post.": "layer_norm.",
}


def random_encoder(sizes: WhisperSizes = TINY_WHISPER, seed: int = 0) -> WhisperEncoder:
    """Return an encoder with torch's initialisation, but with positions that differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = WhisperEncoder(sizes)
        encoder.positional_embedding.normal_(0, 0.3)
        torch.nn.init.normal_(encoder.ln_post.weight, 1, 0.3)
    return encoder.eval().requires_grad_(False)


def write_whisper_weights(
    folder: Path,
    form: Literal["openai", "huggingface"] = "openai",
    seed: int = 0,
    sizes: WhisperSizes = TINY_WHISPER,
    vocabulary: int = 51_865,
) -> Path:
    """Write `whisper/tiny.pt`, or `whisper/` with config.json and model.safetensors, in `folder`; return its path."""
    place = folder / "whisper"
    place.mkdir(parents=True, exist_ok=True)
    state = random_encoder(sizes, seed).state_dict()
    if form == "openai":
        return _write_openai(state, sizes, vocabulary, place / "tiny.pt")
    _write_huggingface(state, sizes, vocabulary, place)
    return place


def _write_openai(state: dict[str, Tensor], sizes: WhisperSizes, vocabulary: int, path: Path) -> Path:
    dims = {
        "n_mels": sizes.bands,
        "n_vocab": vocabulary,
        "n_audio_ctx": sizes.steps,
        "n_audio_state": sizes.state,
        "n_audio_head": sizes.heads,
        "n_audio_layer": sizes.blocks,
        "n_text_ctx": 448,
        "n_text_state": sizes.state,
        "n_text_head": sizes.heads,
        "n_text_layer": 4,
    }
    named = {f"encoder.{name}": value.half() for name, value in state.items()}
    decoder = {"decoder.positional_embedding": torch.zeros(1, sizes.state)}
    torch.save({"dims": dims, "model_state_dict": named | decoder}, path)
    return path


def _write_huggingface(state: dict[str, Tensor], sizes: WhisperSizes, vocabulary: int, folder: Path) -> None:
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "d_model": sizes.state,
        "encoder_attention_heads": sizes.heads,
        "encoder_ffn_dim": sizes.inner,
        "encoder_layers": sizes.blocks,
        "max_source_positions": sizes.steps,
        "num_mel_bins": sizes.bands,
        "vocab_size": vocabulary,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    named = {f"model.encoder.{_hugging_face_name(name)}": value for name, value in state.items()}
    decoder = {"model.decoder.embed_positions.weight": torch.zeros(1, sizes.state)}
    save_file(named | decoder, folder / "model.safetensors")


def _hugging_face_name(name: str) -> str:
    for ours, theirs in _HUGGING_FACE_NAMES.items():
        name = name.replace(ours, theirs)
    return name
