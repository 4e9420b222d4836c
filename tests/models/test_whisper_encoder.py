"""The encoder of Whisper tiny: reading it in both forms, and what it makes of a piece of a segment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from tiny_whisper import TINY_WHISPER, random_encoder, write_whisper_weights
from torch import Tensor
from torch.nn import functional

from models.errors import WeightsDamaged, WeightsMissing, WrongArchitecture
from models.whisper_encoder import WhisperEncoder, WhisperSizes, load_whisper_encoder

pytestmark = pytest.mark.thorough


@pytest.fixture
def mel() -> Tensor:
    """A second and a half of noise."""
    return torch.randn(1, 80, 150, generator=torch.Generator().manual_seed(0))


def plainly(encoder: WhisperEncoder, mel: Tensor, first_step: int) -> list[Tensor]:
    """The states by the formulas of the paper, step by step, from the weights alone."""
    w = encoder.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]
        )

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(()))

    x = functional.gelu(functional.conv1d(mel, w["conv1.weight"], w["conv1.bias"], padding=1))
    x = functional.gelu(functional.conv1d(x, w["conv2.weight"], w["conv2.bias"], padding=1, stride=2))[0].T
    states = [x + torch.stack([w["positional_embedding"][(first_step + i) % 1500] for i in range(len(x))])]
    for i in range(4):
        x, block = states[-1], f"blocks.{i}"
        y = norm(x, f"{block}.attn_ln")
        query, key, value = (linear(y, f"{block}.attn.{part}") for part in ("query", "key", "value"))
        mixed = []
        for head in range(0, 384, 64):
            cut = slice(head, head + 64)
            mixed.append((query[:, cut] @ key[:, cut].T / 8).softmax(-1) @ value[:, cut])
        x = x + linear(torch.cat(mixed, -1), f"{block}.attn.out")
        inner = functional.gelu(linear(norm(x, f"{block}.mlp_ln"), f"{block}.mlp.0"))
        states.append(x + linear(inner, f"{block}.mlp.2"))
    return [*states, norm(states[-1], "ln_post")]


def test_states_follow_the_formulas(mel: Tensor) -> None:
    """Five states a step: the convolutions' with its place added, then each block's."""
    encoder = random_encoder()
    *states, normed = plainly(encoder, mel, 0)
    given = encoder(mel, last_normed=False)
    assert given.shape == (1, 75, 5, 384)
    torch.testing.assert_close(given[0], torch.stack(states, 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(encoder(mel, last_normed=True)[0, :, 4], normed, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("first_step", [30, 1425, 1470, 3000])
def test_a_piece_is_told_its_place(mel: Tensor, first_step: int) -> None:
    """first_step says which of the 1500 places the first step has; after the last comes the first again."""
    encoder = random_encoder()
    *states, _ = plainly(encoder, mel, first_step)
    given = encoder(mel, first_step, last_normed=False)[0]
    torch.testing.assert_close(given, torch.stack(states, 1), atol=1e-4, rtol=1e-4)


def test_both_forms_are_read(tmp_path: Path, mel: Tensor) -> None:
    """OpenAI's tiny.pt and a Hugging Face folder of the same weights give the same states."""
    openai = load_whisper_encoder(write_whisper_weights(tmp_path / "a", "openai")).float()
    hugging_face = load_whisper_encoder(write_whisper_weights(tmp_path / "b", "huggingface"))
    wanted = random_encoder()(mel, last_normed=True)
    torch.testing.assert_close(hugging_face(mel, last_normed=True), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(openai(mel, last_normed=True), wanted, atol=0.02, rtol=0.02)  # half precision


@pytest.mark.parametrize("form", ["openai", "huggingface"])
@pytest.mark.parametrize("sizes", [{"state": 512, "heads": 8}, {"blocks": 6}, {"bands": 128}, {"steps": 10}])
def test_another_whisper_is_refused(tmp_path: Path, form: str, sizes: dict[str, int]) -> None:
    """A Whisper of another size is told from tiny, by name."""
    written = write_whisper_weights(
        tmp_path, "openai" if form == "openai" else "huggingface", sizes=replace(TINY_WHISPER, **sizes)
    )
    with pytest.raises(WrongArchitecture, match="another size") as told:
        load_whisper_encoder(written)
    assert "tiny" in told.value.hint


@pytest.mark.parametrize("form", ["openai", "huggingface"])
def test_the_english_tiny_is_told_from_the_multilingual_one(
    tmp_path: Path, form: Literal["openai", "huggingface"]
) -> None:
    """tiny.en has every size of tiny, and other weights: it would draw, but other mouths."""
    with pytest.raises(WrongArchitecture, match="English-only") as told:
        load_whisper_encoder(write_whisper_weights(tmp_path, form, vocabulary=51_864))
    assert "multilingual" in told.value.hint


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """Weights that are no Whisper's, and such with a tensor more or less, are refused."""
    path = write_whisper_weights(tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["model_state_dict"]["encoder.blocks.0.more"] = torch.zeros(1)
    torch.save(checkpoint, path)
    with pytest.raises(WrongArchitecture, match=r"unexpected: blocks\.0\.more"):
        load_whisper_encoder(path)
    torch.save({"dims": checkpoint["dims"], "model_state_dict": {"face_encoder.0": torch.zeros(1)}}, path)
    with pytest.raises(WrongArchitecture, match="no Whisper"):
        load_whisper_encoder(path)
    torch.save({"face_encoder.0": torch.zeros(1)}, path)
    with pytest.raises(WrongArchitecture, match="heads"):
        load_whisper_encoder(path)


def test_a_folder_without_its_files_is_refused(tmp_path: Path) -> None:
    """config.json and the weights belong together."""
    folder = write_whisper_weights(tmp_path, "huggingface")
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsDamaged, match="no JSON"):
        load_whisper_encoder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsMissing, match=r"config\.json"):
        load_whisper_encoder(folder)


def test_sizes_are_those_of_tiny() -> None:
    """Without being told otherwise, an encoder is as large as the published one: 8.2 million weights."""
    encoder = WhisperEncoder(WhisperSizes())
    assert sum(value.numel() for value in encoder.state_dict().values()) == 8_208_384
