"""The encoder of Whisper tiny (Radford et al. 2022), used by MuseTalk: five vectors of 384 every 20 ms.

Names and formulas are openai-whisper's. It reads weights in that format (tiny.pt) and in Hugging Face's. Unlike in the
original, speech need not fill a segment of 30 s; its position in the segment is given instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import WrongArchitecture
from models.hugging_face import TRANSFORMERS_WEIGHTS, read_config, weights_file
from models.state_dicts import load_network, read_checkpoint, read_state_dict

__all__ = ["STATES", "STATE_SIZE", "STEPS_PER_SEGMENT", "WhisperEncoder", "WhisperSizes", "load_whisper_encoder"]

STATE_SIZE = 384
STATES = 5
"""States per step: the input of the first block, and the output of each of the four blocks."""
STEPS_PER_SEGMENT = 1500
"""30 s: the number of positions that the encoder knows."""

_NOT_ENCODER = ("decoder.", "proj_out.")
"""Prefixes of the weights that write text, which are not needed."""
_OUR_NAMES = (
    (r"^embed_positions\.weight$", "positional_embedding"),
    (r"^layers\.", "blocks."),
    (r"\.self_attn\.q_proj\.", ".attn.query."),
    (r"\.self_attn\.k_proj\.", ".attn.key."),
    (r"\.self_attn\.v_proj\.", ".attn.value."),
    (r"\.self_attn\.out_proj\.", ".attn.out."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"^layer_norm\.", "ln_post."),
)
"""Hugging Face's names -> openai-whisper's."""
_ENGLISH_VOCABULARY = 51_864
"""Vocabulary of the .en models, one less than the multilingual models have. Otherwise tiny.en looks like tiny."""
_NEEDED = "MuseTalk needs Whisper tiny (multilingual): OpenAI's tiny.pt or Hugging Face's openai/whisper-tiny."


@dataclass(frozen=True, slots=True)
class WhisperSizes:
    """The sizes that define the encoder."""

    bands: int = 80
    steps: int = STEPS_PER_SEGMENT
    state: int = STATE_SIZE
    heads: int = 6
    blocks: int = STATES - 1
    inner: int = 4 * STATE_SIZE
    "width between the two layers after attention"


class _Attention(nn.Module):
    def __init__(self, sizes: WhisperSizes) -> None:
        super().__init__()
        self._heads = sizes.heads
        self.query = nn.Linear(sizes.state, sizes.state)
        self.key = nn.Linear(sizes.state, sizes.state, bias=False)
        self.value = nn.Linear(sizes.state, sizes.state)
        self.out = nn.Linear(sizes.state, sizes.state)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            project(x).unflatten(2, (self._heads, -1)).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y


class _Block(nn.Module):
    def __init__(self, sizes: WhisperSizes) -> None:
        super().__init__()
        self.attn = _Attention(sizes)
        self.attn_ln = nn.LayerNorm(sizes.state)
        self.mlp = nn.Sequential(nn.Linear(sizes.state, sizes.inner), nn.GELU(), nn.Linear(sizes.inner, sizes.state))
        self.mlp_ln = nn.LayerNorm(sizes.state)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_ln(x))
        y: Tensor = x + self.mlp(self.mlp_ln(x))
        return y


class WhisperEncoder(nn.Module):
    """Converts log-mel columns to the states of all depths."""

    positional_embedding: Tensor

    def __init__(self, sizes: WhisperSizes) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(sizes.bands, sizes.state, 3, padding=1)
        self.conv2 = nn.Conv1d(sizes.state, sizes.state, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.empty(sizes.steps, sizes.state))
        self.blocks = nn.ModuleList(_Block(sizes) for _ in range(sizes.blocks))
        self.ln_post = nn.LayerNorm(sizes.state)

    def forward(self, mel: Tensor, first_step: int = 0, *, last_normed: bool) -> Tensor:
        """(n, bands, 2 steps) -> (n, steps, blocks + 1, state).

        first_step    position of the first step in the 30 s segment of 1500 steps. Positions wrap around at the end,
                      which is closer to encoding whole segments there than any alternative that was tried
        last_normed   True: the last state is taken after the final norm, as in Hugging Face's `hidden_states`
                      (MuseTalk 1.5). False: before it, as in the embeddings of MuseTalk 1.0's own copy of
                      openai-whisper
        """
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        places = torch.arange(first_step, first_step + x.shape[1], device=x.device) % len(self.positional_embedding)
        x = x + self.positional_embedding[places]
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1]))
        if last_normed:
            states[-1] = self.ln_post(states[-1])
        return torch.stack(states, dim=2)


def load_whisper_encoder(path: Path) -> WhisperEncoder:
    """Load the encoder of tiny.pt, or of a folder in Hugging Face's layout, on the CPU and in the dtype of the file.

    Raises WeightsMissing, WeightsDamaged, WrongArchitecture (also for a Whisper of another size).
    """
    if path.is_dir():
        config, weights = path / "config.json", weights_file(path, TRANSFORMERS_WEIGHTS)
        heads = _heads(read_config(config), "encoder_attention_heads", "vocab_size", config)
        named = {name.removeprefix("model."): value for name, value in read_state_dict(weights).items()}
        state = {_our_name(name): value for name, value in _encoder_weights(named).items()}
    else:
        weights = path
        heads = _heads(read_checkpoint(path).get("dims"), "n_audio_head", "n_vocab", path)
        state = _encoder_weights(read_state_dict(path))
    sizes = _sizes(state, heads, weights)
    return load_network(lambda: WhisperEncoder(sizes), state, weights)


def _heads(dimensions: object, key: str, vocabulary_key: str, source: Path) -> int:
    """Return the number of heads, which the shapes do not reveal. Checks that the network is multilingual.

    Raises WrongArchitecture.
    """
    heads = dimensions.get(key) if isinstance(dimensions, Mapping) else None
    if not isinstance(dimensions, Mapping) or not isinstance(heads, int) or heads < 1:
        raise WrongArchitecture(f"{source} does not say how many heads Whisper's encoder has ({key}).", _NEEDED)
    if dimensions.get(vocabulary_key) == _ENGLISH_VOCABULARY:
        raise WrongArchitecture(f"{source} is of an English-only Whisper, such as tiny.en.", _NEEDED)
    return heads


def _encoder_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept = {name: value for name, value in state.items() if not name.startswith(_NOT_ENCODER)}
    return {name.removeprefix("encoder."): value for name, value in kept.items()}


def _our_name(name: str) -> str:
    for pattern, ours in _OUR_NAMES:
        name = re.sub(pattern, ours, name)
    return name


def _sizes(state: Mapping[str, Tensor], heads: int, source: Path) -> WhisperSizes:
    """Return the sizes. Raises WrongArchitecture if it is not Whisper, or not tiny."""
    try:
        sizes = WhisperSizes(
            bands=state["conv1.weight"].shape[1],
            steps=state["positional_embedding"].shape[0],
            state=state["conv1.weight"].shape[0],
            heads=heads,
            blocks=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
            inner=state["blocks.0.mlp.0.weight"].shape[0],
        )
    except LookupError as error:
        raise WrongArchitecture(f"{source} is no Whisper: {error.args[0]} is missing.", _NEEDED) from error
    tiny = sizes.bands == 80 and sizes.steps == STEPS_PER_SEGMENT and sizes.state == STATE_SIZE
    if not tiny or sizes.blocks != STATES - 1 or sizes.state % heads:
        raise WrongArchitecture(
            f"{source} is a Whisper of another size: {sizes.blocks} blocks, {sizes.state} wide, {heads} heads, "
            f"{sizes.bands} bands, {sizes.steps} steps.",
            _NEEDED,
        )
    return sizes
