"""Reading weight files and making networks of them."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.errors import WeightsDamaged, WeightsMissing, WrongArchitecture
from models.state_dicts import load_network, placed, read_state_dict


class Small(nn.Module):
    """A network with weights, statistics, and a constant that no file holds."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.register_buffer("halves", torch.arange(width) / 2, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        halves = self.get_buffer("halves")
        return self.norm(self.convolution(x)) * halves[:, None, None]


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return Small().state_dict()


def as_zip(content: Any, path: Path) -> None:
    torch.save(content, path)


def as_legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [as_zip, as_legacy])
def test_a_checkpoint_of_either_format_of_torch_gives_its_weights(
    save: Callable[[Any, Path], None], state: dict[str, Tensor], tmp_path: Path
) -> None:
    """What torch writes today and what it wrote before 1.6 is read alike."""
    save(state, tmp_path / "w.pth")
    read = read_state_dict(tmp_path / "w.pth")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_safetensors_give_the_same_weights(state: dict[str, Tensor], tmp_path: Path) -> None:
    """A .safetensors file is read by its own library."""
    save_file(state, tmp_path / "w.safetensors")
    read = read_state_dict(tmp_path / "w.safetensors")
    assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_a_training_checkpoint_is_unwrapped(key: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    """Wav2Lip's checkpoints keep the weights beside the optimizer's state, named as DataParallel names them."""
    optimizer = {"state": {0: {"step": 5, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4}]}
    content = {key: {f"module.{name}": value for name, value in state.items()}, "optimizer": optimizer, "epoch": 7}
    torch.save(content, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == state.keys()


def test_weights_in_a_zip_are_mapped_and_not_copied(state: dict[str, Tensor], tmp_path: Path) -> None:
    """Large files are mapped, and a network takes their tensors as they are."""
    torch.save(state, tmp_path / "w.pth")
    read = read_state_dict(tmp_path / "w.pth")
    network = load_network(Small, read, tmp_path / "w.pth")
    assert network.convolution.weight.data_ptr() == read["convolution.weight"].data_ptr()
    assert str(tmp_path / "w.pth") in Path("/proc/self/maps").read_text()


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    """Missing weights name the file and the command."""
    with pytest.raises(WeightsMissing, match=r"w\.pth is missing.*fetch"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("save", [as_zip, as_legacy])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_told_so(
    save: Callable[[Any, Path], None], share: float, state: dict[str, Tensor], tmp_path: Path
) -> None:
    """A download that broke off is damaged, whatever part of it is there."""
    path = tmp_path / "w.pth"
    save(state, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(WeightsDamaged, match="truncated or no weights file"):
        read_state_dict(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_empty_file_is_told_so(suffix: str, tmp_path: Path) -> None:
    """A file of no bytes is damaged."""
    path = tmp_path / f"w.{suffix}"
    path.touch()
    with pytest.raises(WeightsDamaged, match="empty"):
        read_state_dict(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        torch.randint(256, (4000,), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)).numpy().tobytes(),
        b"<!DOCTYPE html><html><title>Too many downloads</title></html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 3438375973\n",
    ],
    ids=["random bytes", "a web page", "a pointer of Git LFS"],
)
def test_what_is_no_weights_file_is_told_so(content: bytes, suffix: str, tmp_path: Path) -> None:
    """Bytes of any other kind are damaged weights, never another error."""
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsDamaged, match="truncated or no weights file"):
        read_state_dict(path)


def test_flipped_bytes_are_weights_or_damage_but_no_other_error(state: dict[str, Tensor], tmp_path: Path) -> None:
    """No damage to the head of a file gets through as an error of some library."""
    path = tmp_path / "w.pth"
    as_legacy(state, path)
    whole = path.read_bytes()
    places = torch.randint(len(whole) // 2, (150,), generator=torch.Generator().manual_seed(5)).tolist()
    damaged = 0
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            read_state_dict(path)
        except WeightsDamaged:
            damaged += 1
    assert damaged > len(places) // 4


class Hostile:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._marker}",)


def plain_pickle(protocol: int) -> Callable[[Any, Path], None]:
    def save(content: Any, path: Path) -> None:
        path.write_bytes(pickle.dumps(content, protocol))

    return save


@pytest.mark.parametrize(
    "save", [as_zip, as_legacy, *map(plain_pickle, range(6))], ids=["zip", "legacy", *(f"pickle {p}" for p in range(6))]
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_that_wants_to_run_code_is_refused_by_name(
    save: Callable[[Any, Path], None], state: dict[str, Tensor], tmp_path: Path
) -> None:
    """Code in a weights file is not run, and the error names what it would have called."""
    marker = tmp_path / "was_run"
    save({"weight": Hostile(marker)}, tmp_path / "w.pth")
    with pytest.raises(WeightsDamaged, match=r"refused.*(posix|nt)\.system"):
        read_state_dict(tmp_path / "w.pth")
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_torchscript_file_is_recognised(tmp_path: Path) -> None:
    """A whole network is not damaged: getting it again would bring the same."""
    torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)).save(tmp_path / "w.pth")
    with pytest.raises(WeightsDamaged, match=r"a whole network \(TorchScript\), not its weights") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "weights alone" in caught.value.hint


def of_another_program(network: nn.Module, module: str) -> nn.Module:
    """The same network as a program would save it whose classes are in `module`, which does not exist here."""
    theirs = type("Small", (nn.Module,), {"__module__": module, "__qualname__": "Small"})
    network.__class__ = theirs
    return network


def saved_as(module: str, content: Callable[[], Any], save: Callable[[Any, Path], None], path: Path) -> None:
    """Save what names classes of `module`; it is importable only meanwhile, as pickle asks."""
    names = [".".join(module.split(".")[:depth]) for depth in range(1, module.count(".") + 2)]
    made = {name: ModuleType(name) for name in names if name not in sys.modules}
    sys.modules.update(made)
    try:
        value = content()
        for part in (value, *(value.values() if isinstance(value, dict) else ())):
            if type(part).__module__ == module:
                setattr(sys.modules[module], type(part).__name__, type(part))
        save(value, path)
    finally:
        for name in made:
            del sys.modules[name]


WHOLE = ["models.wav2lip_v2", "avatars.wav2lip.models.wav2lip_v2", "wav2lip.models", "lipku.net", "__main__"]


@pytest.mark.parametrize("module", WHOLE)
def test_a_network_that_was_saved_whole_gives_its_weights(
    module: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    """Under whatever path its classes were, none of them is needed; what its state_dict() leaves out is left out."""
    network = Small()
    network.load_state_dict(state)
    saved_as(module, lambda: of_another_program(network, module), as_zip, tmp_path / "w.pth")
    read = read_state_dict(tmp_path / "w.pth")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize("module", WHOLE)
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_an_old_file_of_a_whole_network_is_refused_without_alarm(module: str, tmp_path: Path) -> None:
    """torch cannot read these without their classes: the error says what to ask for, and warns of nothing worse."""
    saved_as(module, lambda: of_another_program(Small(), module), as_legacy, tmp_path / "w.pth")
    with pytest.raises(WeightsDamaged, match=r"whole network in the format of torch before 1\.6") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "weights alone" in caught.value.hint and "Do not open" not in caught.value.hint


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_a_whole_network_in_a_checkpoint_gives_its_weights(wrapper: str, tmp_path: Path) -> None:
    """DataParallel's layer around it is taken off, as from the names of a state dict."""
    network = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    torch.save({wrapper: network, "epoch": 3}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == network.module.state_dict().keys()


@pytest.mark.parametrize("save", [as_zip, as_legacy])
@pytest.mark.parametrize(
    "beside",
    [
        lambda: Namespace(lr=1),
        lambda: np.float64(0.1),
        lambda: [PurePosixPath("a"), frozenset({1}), slice(3)],
        lambda: torch.optim.lr_scheduler.StepLR(torch.optim.SGD([nn.Parameter(torch.ones(1))]), 1),
    ],
    ids=["argparse", "numpy", "plain data", "torch.optim"],
)
def test_what_is_usually_saved_beside_weights_does_not_matter(
    beside: Callable[[], Any], save: Callable[[Any, Path], None], state: dict[str, Tensor], tmp_path: Path
) -> None:
    """Objects of training scripts are neither loaded nor in the way of the weights."""
    save({**state, "beside": beside()}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == state.keys()


@pytest.mark.parametrize("name", ["getattr", "eval", "shutil.rmtree", "torch.hub.load", "runpy.run_path"])
def test_a_whole_network_that_hides_a_call_is_refused(name: str, tmp_path: Path) -> None:
    """Code among the attributes of a network is told as code, and nothing of it is called."""
    network = of_another_program(Small(), "models.small")
    module, _, function = name.rpartition(".")
    network.extra = getattr(importlib.import_module(module or "builtins"), function)
    saved_as("models.small", lambda: network, as_zip, tmp_path / "w.pth")
    with pytest.raises(WeightsDamaged, match=f"refused.*wants to call {name}") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "Do not open" in caught.value.hint


def test_a_network_that_contains_itself_is_refused(tmp_path: Path) -> None:
    """A file may say anything of a network: one without end is damaged, and is not walked for ever."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    network._modules["again"] = network
    torch.save(network, tmp_path / "w.pth")
    with pytest.raises(WeightsDamaged, match="has no end"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "told"),
    [([torch.zeros(2)], "a list, not a dict"), ({"epoch": 3}, "no weights"), ({"state_dict": {}}, "no weights")],
)
def test_a_file_without_a_state_dict_is_told_so(content: Any, told: str, tmp_path: Path) -> None:
    """A list, or a dict without tensors, holds no weights."""
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsDamaged, match=told):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("save", [as_zip, as_legacy])
@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (lambda: torch.zeros(1).expand(1 << 17, 1 << 17), "larger than what the file holds"),
        (lambda: torch.empty(4, 3, 3, 3, device="meta"), "no values"),
        (lambda: torch.quantize_per_tensor(torch.ones(4, 3, 3, 3), 0.1, 0, torch.qint8), "quantised"),
        (lambda: torch.eye(4).to_sparse(), "sparse"),
    ],
    ids=["a stride of 0", "meta", "quantised", "sparse"],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_tensors_that_are_no_plain_numbers_are_refused(
    save: Callable[[Any, Path], None],
    tensor: Callable[[], Tensor],
    told: str,
    state: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    """What would fail in the middle of drawing, or fill the memory from a small file, is refused by name."""
    save({**state, "convolution.weight": tensor()}, tmp_path / "w.pth")
    with pytest.raises(WrongArchitecture, match=f"convolution.weight.*{told}") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "as they were published" in caught.value.hint


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_that_are_no_floats_are_refused(dtype: torch.dtype, state: dict[str, Tensor]) -> None:
    """Integers, complex numbers and eight bits of a float are no weights that could be cast."""
    state["norm.weight"] = state["norm.weight"].to(dtype)
    with pytest.raises(WrongArchitecture, match=r"no floats: norm\.weight (int8|bool|complex64|float8_e4m3fn)"):
        load_network(Small, state, Path("w.pth"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_any_usual_float_type_are_taken(dtype: torch.dtype, state: dict[str, Tensor]) -> None:
    """A network has the float type of its file; counters stay integers."""
    given = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    assert load_network(Small, given, Path("w.pth")).convolution.weight.dtype == dtype


def test_a_loaded_network_computes_what_the_original_did(tmp_path: Path) -> None:
    """Loading gives the same outputs, with the network's own constants made for real."""
    torch.manual_seed(1)
    original = Small().eval()
    network = load_network(Small, original.state_dict(), tmp_path)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(network(x), original(x))
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_building_takes_no_memory_for_weights() -> None:
    """A network far larger than this machine is built, and refused, without memory for its weights."""
    with pytest.raises(WrongArchitecture):
        load_network(lambda: nn.Linear(1 << 22, 1 << 22), {"weight": torch.zeros(1)}, Path("w.pth"))


def test_old_files_without_a_batch_count_load(state: dict[str, Tensor]) -> None:
    """Batch norms of torch before 0.4.1 count no batches; that is no missing tensor."""
    del state["norm.num_batches_tracked"]
    variance = load_network(Small, state, Path("w.pth")).norm.running_var
    assert variance is not None and torch.equal(variance, state["norm.running_var"])


def test_a_wrong_architecture_names_what_differs_and_what_the_file_is(state: dict[str, Tensor]) -> None:
    """Missing, unexpected and misshapen tensors are named, and the kind of file they come from is guessed."""
    del state["convolution.bias"]
    state["norm.bias"] = torch.zeros(5)
    state["face_encoder_blocks.0.0.conv_block.0.weight"] = torch.zeros(1)
    with pytest.raises(WrongArchitecture) as caught:
        load_network(Small, state, Path("musetalk/unet.pth"))
    assert "musetalk/unet.pth" in caught.value.message
    assert "missing: convolution.bias" in caught.value.message
    assert "unexpected: face_encoder_blocks" in caught.value.message
    assert "norm.bias 5 instead of 4" in caught.value.message
    assert "Wav2Lip" in caught.value.hint


def test_a_constant_computed_in_place_of_an_unmade_tensor_is_noticed() -> None:
    """A network whose constant cannot be made this way is an error of ours, not a wrong result."""

    class Unmade(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("ones", torch.empty(3).fill_(1), persistent=False)

    with pytest.raises(RuntimeError, match="ones"):
        load_network(Unmade, {}, Path("w.pth"))


def test_placing_casts_and_reorders(state: dict[str, Tensor]) -> None:
    """A network is moved to a device, a float type and a memory format together."""
    network = placed(load_network(Small, state, Path("w.pth")), "cpu", torch.bfloat16, channels_last=True)
    weight = network.convolution.weight
    assert weight.dtype == torch.bfloat16
    assert weight.is_contiguous(memory_format=torch.channels_last)
