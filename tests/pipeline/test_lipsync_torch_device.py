"""What backends need of torch: a device that is there, a float type that suits it, errors that name a remedy."""

import os
import weakref

import pytest

pytest.importorskip("torch", reason="neural backends; pip install -e .[neural]")

from pathlib import Path

import torch

from models import state_dicts
from pipeline.errors import BackendUnavailable, DeviceOutOfMemory, NetworkOverflow
from pipeline.lipsync.torch_device import (
    Precision,
    TorchDevice,
    drawing_told,
    find_weights,
    memory_told,
    open_device,
    weights_told,
)

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("auto", torch.float32), ("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)],
)
def test_the_cpu_computes_in_single_precision_unless_told(precision: Precision, dtype: torch.dtype) -> None:
    """auto is fp32 on the CPU; a choice is kept."""
    assert open_device("some", "cpu", precision).dtype == dtype


@pytest.mark.parametrize("name", ["cuda:99", "mps:9", "toaster"])
def test_a_device_that_is_absent_is_refused_with_the_others(name: str) -> None:
    """The error names the device, and the hint the devices to choose from."""
    with pytest.raises(BackendUnavailable, match=name) as caught:
        open_device("some", name)
    assert "--device" in caught.value.hint


def test_networks_are_placed_in_the_chosen_float_type() -> None:
    """Weights take the type; on the CPU, which gains nothing by it, images' channels do not come innermost."""
    network = open_device("some", "cpu", "bf16").place(torch.nn.Conv2d(4, 8, 3))
    assert network.weight.dtype == torch.bfloat16
    assert network.weight.is_contiguous()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("Invalid buffer size: 24.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        MemoryError(),
    ],
)
def test_a_full_device_is_told_in_our_words(error: Exception) -> None:
    """While drawing it is DeviceOutOfMemory, which halves the batch; while loading the backend is unavailable."""
    with pytest.raises(DeviceOutOfMemory, match="full"), memory_told():
        raise error
    with pytest.raises(BackendUnavailable, match="full"), weights_told("some"):
        raise error


def test_a_real_allocation_that_fails_is_recognised() -> None:
    """torch's own error for more memory than any machine has."""
    with pytest.raises(DeviceOutOfMemory), memory_told():
        torch.empty(1 << 60, dtype=torch.uint8)


def test_what_was_computed_is_given_back_before_the_error_is_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try, with half the pictures, finds the memory that this one took: no traceback holds on to it."""
    held = []

    def overfull() -> None:
        activations = torch.zeros(8)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    given_back = []
    for library, available in ((torch.cuda, torch.cuda), (torch.mps, torch.backends.mps)):
        monkeypatch.setattr(available, "is_available", lambda: True)
        monkeypatch.setattr(library, "empty_cache", lambda name=library.__name__: given_back.append((name, held[0]())))
    with pytest.raises(DeviceOutOfMemory), memory_told():
        overfull()
    assert given_back == [("torch.cuda", None), ("torch.mps", None)]


@pytest.mark.parametrize(
    ("present", "usable", "expected"), [(8, 8, 7), (4, 8, 4), (1, 8, 1), (8, 2, 1), (2, 2, 1), (1, 1, 1)]
)
def test_a_core_is_left_to_the_others(
    monkeypatch: pytest.MonkeyPatch, present: int, usable: int, expected: int
) -> None:
    """Of the cores that this process may use; whoever gave torch fewer threads (OMP_NUM_THREADS) is heeded."""
    chosen: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: present)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(usable)), raising=False)
    open_device("some", "cpu")
    assert chosen == [expected]


@pytest.mark.parametrize(("name", "last"), [("cpu", False), ("mps", False), ("cuda", True)])
def test_channels_are_innermost_on_cuda_only(monkeypatch: pytest.MonkeyPatch, name: str, last: bool) -> None:
    """Elsewhere convolutions do not gain by it, or are slower."""
    asked = []
    monkeypatch.setattr(state_dicts, "placed", lambda _network, *_where, channels_last: asked.append(channels_last))
    TorchDevice(torch.device(name), torch.float32).place(torch.nn.Conv2d(4, 8, 3))
    assert asked == [last]


def test_other_errors_are_left_alone() -> None:
    """A bug stays a bug."""
    with pytest.raises(RuntimeError, match="shapes"), memory_told():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_numbers_that_overflow_are_told_with_the_float_type_that_holds_them() -> None:
    """Nothing that is not finite is shown, and the remedy is named; other errors of drawing stay as they are."""
    with pytest.raises(NetworkOverflow, match="not finite") as caught, drawing_told():
        raise FloatingPointError("the network's output is not finite")
    assert "--precision fp32" in caught.value.hint
    with pytest.raises(DeviceOutOfMemory), drawing_told():
        raise MemoryError


def test_a_package_that_is_not_installed_is_named_with_the_remedy(tmp_path: Path) -> None:
    """Before anything is imported."""
    with pytest.raises(BackendUnavailable, match="no_such_package not installed") as caught:
        find_weights("wav2lip96", tmp_path, ("torch", "no_such_package"))
    assert "fetch wav2lip96" in caught.value.hint
