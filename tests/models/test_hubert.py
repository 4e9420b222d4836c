"""HuBERT against its published formulas, and the files that it comes in.

Measured besides, in an environment with transformers 5.23: a random HubertModel of 3 layers agrees to 2e-5, in both
spellings of weight norm and in both kinds of file, and Wav2Vec2FeatureExtractor's normalisation to 5e-7.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_ultralight import LARGE_HUBERT, TINY_HUBERT, ctc_state, random_hubert, write_config, write_hubert_weights
from torch import Tensor
from torch.nn import functional

from models.errors import WeightsDamaged, WeightsMissing, WrongArchitecture
from models.hubert import Hubert, encode, load_hubert, normalised
from models.ultralight import AUDIO_SHAPE

pytestmark = pytest.mark.thorough

SMALL = dataclasses.replace(
    TINY_HUBERT,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=40,
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4,
)
PUBLISHED_PARAMETERS = 315_438_720
"of HubertModel; its weight norm has 128 lengths and a masked_spec_embed of 1024 which we do without"

POSITIONS = "hubert.encoder.pos_conv_embed.conv"


def by_formula(state: Mapping[str, Tensor], heads: int, speech: Tensor) -> Tensor:
    """HubertModel with stable layer norm, in plain functions, from the tensors as its file names them."""

    def weights(name: str) -> tuple[Tensor, Tensor]:
        return state[f"hubert.{name}.weight"], state[f"hubert.{name}.bias"]

    def linear(name: str, x: Tensor) -> Tensor:
        weight, bias = weights(name)
        return x @ weight.T + bias

    def norm(name: str, x: Tensor) -> Tensor:
        scale, shift = weights(name)
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * scale + shift

    def gelu(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))

    def attention(name: str, x: Tensor) -> Tensor:
        size = x.shape[2] // heads
        parts = []
        query, key, value = (linear(f"{name}.{kind}_proj", x).split(size, dim=2) for kind in "qkv")
        for q, k, v in zip(query, key, value, strict=True):
            parts.append((q @ k.transpose(1, 2) / size**0.5).softmax(-1) @ v)
        return linear(f"{name}.out_proj", torch.cat(parts, dim=2))

    x = speech[:, None]
    for i, stride in enumerate((5, 2, 2, 2, 2, 2, 2)):
        name = f"feature_extractor.conv_layers.{i}"
        x = functional.conv1d(x, *weights(f"{name}.conv"), stride=stride).transpose(1, 2)
        x = gelu(norm(f"{name}.layer_norm", x)).transpose(1, 2)
    x = linear("feature_projection.projection", norm("feature_projection.layer_norm", x.transpose(1, 2)))
    direction, length = state[f"{POSITIONS}.weight_v"], state[f"{POSITIONS}.weight_g"]
    weight = direction * length / direction.square().sum((0, 1), keepdim=True).sqrt()
    around = functional.conv1d(
        x.transpose(1, 2),
        weight,
        state[f"{POSITIONS}.bias"],
        padding=weight.shape[2] // 2,
        groups=weight.shape[0] // weight.shape[1],
    )
    x = x + gelu(around[:, :, :-1]).transpose(1, 2)
    n_layers = len({name.split(".")[3] for name in state if name.startswith("hubert.encoder.layers.")})
    for i in range(n_layers):
        name = f"encoder.layers.{i}"
        x = x + attention(f"{name}.attention", norm(f"{name}.layer_norm", x))
        hidden = gelu(linear(f"{name}.feed_forward.intermediate_dense", norm(f"{name}.final_layer_norm", x)))
        x = x + linear(f"{name}.feed_forward.output_dense", hidden)
    return norm("encoder.layer_norm", x)


def small_state(seed: int = 0) -> dict[str, Tensor]:
    """Weights far from their initial values, so that each of them tells."""
    generator = torch.Generator().manual_seed(seed)
    state = ctc_state(random_hubert(SMALL, seed))
    return {name: value + 0.2 * torch.randn(value.shape, generator=generator) for name, value in state.items()}


def speech(n: int, samples: int, seed: int = 0) -> Tensor:
    return torch.randn((n, samples), generator=torch.Generator().manual_seed(seed)) * 0.1 + 0.03


def write(state: Mapping[str, Tensor], folder: Path) -> Path:
    write_config(SMALL, folder)
    torch.save(dict(state), folder / "pytorch_model.bin")
    return folder


def test_a_network_hears_what_the_published_formulas_hear(tmp_path: Path) -> None:
    """The same weights give the same vectors to 1e-4 in a plain transcription."""
    state, waveform = small_state(), speech(2, 8000)
    states = encode(load_hubert(write(state, tmp_path)), waveform)
    assert states.shape == (2, 24, SMALL.hidden_size)
    expected = by_formula(state, SMALL.num_attention_heads, normalised(waveform))
    torch.testing.assert_close(states, expected, atol=1e-4, rtol=0)


def test_files_of_all_forms_are_the_same_network(tmp_path: Path) -> None:
    """Either spelling of weight norm, HubertForCTC or HubertModel, .bin or .safetensors: it does not matter."""
    state, waveform = small_state(), speech(1, 3000)
    respelled = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for name, value in state.items()
    }
    bare = {name.removeprefix("hubert."): value for name, value in respelled.items() if "lm_head" not in name}
    expected = encode(load_hubert(write(state, tmp_path / "old")), waveform)
    assert torch.equal(encode(load_hubert(write(respelled, tmp_path / "new")), waveform), expected)
    assert torch.equal(encode(load_hubert(write(bare, tmp_path / "bare")), waveform), expected)
    write_config(SMALL, tmp_path / "safe")
    save_file(state, tmp_path / "safe" / "model.safetensors")
    assert torch.equal(encode(load_hubert(tmp_path / "safe"), waveform), expected)


@pytest.mark.parametrize(("samples", "steps"), [(400, 1), (719, 1), (720, 2), (16_000, 49), (16_080, 50)])
def test_a_step_every_20_ms(samples: int, steps: int) -> None:
    """A step is made of 400 samples and starts 320 after the one before."""
    assert encode(random_hubert(SMALL), speech(1, samples)).shape == (1, steps, SMALL.hidden_size)


def test_a_batch_is_its_clips_one_by_one() -> None:
    """No clip of a batch depends on another."""
    network, waveforms = random_hubert(SMALL), speech(3, 4000)
    alone = torch.cat([encode(network, waveform[None]) for waveform in waveforms])
    torch.testing.assert_close(encode(network, waveforms), alone, atol=1e-5, rtol=0)


def test_loudness_and_offset_do_not_matter() -> None:
    """Speech is states at mean 0 and variance 1, whatever it was recorded at; silence stays finite."""
    waveform = speech(1, 4000)
    normal = normalised(waveform)
    assert normal.mean().abs() < 1e-5
    assert (normal.square().mean() - 1).abs() < 1e-4
    torch.testing.assert_close(normalised(waveform * 3 + 0.5), normal, atol=1e-3, rtol=0)
    assert torch.isfinite(normalised(torch.zeros(1, 4000))).all()


def test_the_large_network_has_the_published_size() -> None:
    """At full size there are as many parameters as in facebook/hubert-large-ls960-ft."""
    with torch.device("meta"):
        network = Hubert(LARGE_HUBERT)
    assert sum(value.numel() for value in network.parameters()) + 128 + 1024 == PUBLISHED_PARAMETERS


def test_tiny_weights_make_windows_of_ultralight(tmp_path: Path) -> None:
    """The random weights of the tests have the real file's format and vectors of 1024."""
    states = encode(load_hubert(write_hubert_weights(tmp_path)), speech(1, 5200))
    assert states.reshape(AUDIO_SHAPE).std() > 0.1


def test_tensors_may_not_be_missing_or_more(tmp_path: Path) -> None:
    """Only what is known not to belong to the encoder is passed over; any other difference is refused by name."""
    state = small_state()
    with pytest.raises(WrongArchitecture, match=r"adapter\.weight"):
        load_hubert(write({**state, "hubert.adapter.weight": torch.zeros(1)}, tmp_path))
    del state["hubert.encoder.layers.1.attention.k_proj.bias"]
    with pytest.raises(WrongArchitecture, match=r"encoder\.layers\.1\.attention\.k_proj\.bias"):
        load_hubert(write(state, tmp_path))
    with pytest.raises(WrongArchitecture, match="weight norm"):
        load_hubert(write({name: value for name, value in state.items() if "weight_g" not in name}, tmp_path))


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("feat_extract_norm", "group"),
        ("do_stable_layer_norm", False),
        ("model_type", "wav2vec2"),
        ("conv_stride", [5, 2, 2, 2, 2, 2, 1]),
        ("num_attention_heads", 7),
        ("num_attention_heads", 0),
        ("num_conv_pos_embedding_groups", 5),
        ("num_hidden_layers", 10**9),
        ("num_hidden_layers", -1),
        ("hidden_size", -24),
        ("hidden_size", 10**30),
        ("intermediate_size", 0),
        ("conv_dim", []),
        ("conv_dim", [8] * 6),
        ("conv_kernel", [10, 3, 3]),
        ("conv_kernel", [10, 3, 3, 3, 3, 2, 3]),
        ("layer_norm_eps", float("nan")),
    ],
)
def test_other_forms_of_hubert_are_refused(entry: str, value: object, tmp_path: Path) -> None:
    """A configuration that HuBERT-large does not have is refused, and the error names the one that is needed."""
    config = write(small_state(), tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {entry: value}))
    with pytest.raises(WrongArchitecture, match="hubert-large-ls960-ft"):
        load_hubert(tmp_path)


def test_folders_without_their_files_are_refused(tmp_path: Path) -> None:
    """What is missing or no configuration is named."""
    with pytest.raises(WeightsMissing, match=r"config\.json"):
        load_hubert(tmp_path)
    write_config(SMALL, tmp_path)
    with pytest.raises(WeightsMissing, match=r"pytorch_model\.bin"):
        load_hubert(tmp_path)
    no_number = json.dumps(json.loads((tmp_path / "config.json").read_text()) | {"hidden_size": float("inf")})
    for text in ("{", "[]", '{"model_type": "hubert"}', "[" * 100_000, no_number):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises((WeightsDamaged, WrongArchitecture), match=r"config\.json"):
            load_hubert(tmp_path)
