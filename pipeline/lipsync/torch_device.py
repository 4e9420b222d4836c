"""What every neural lip-sync backend needs of torch: files found, a device and a float type chosen, errors translated.

torch is imported when a backend is loaded, never before: a start without neural backends needs none.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from models.errors import WeightsError
from models.memory import means_no_room
from models.weights import WeightsFolder
from pipeline.errors import BackendUnavailable, DeviceOutOfMemory, NetworkOverflow

if TYPE_CHECKING:
    import torch
    from torch import nn

    Network = TypeVar("Network", bound=nn.Module)

__all__ = [
    "Precision",
    "TorchDevice",
    "compile_whole",
    "drawing_told",
    "find_weights",
    "memory_told",
    "open_device",
    "weights_told",
]

logger = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "fp16", "bf16"]
"""auto: fp16 on a GPU, fp32 on the CPU, which has no fast half-precision convolutions."""
PACKAGES = ("torch", "safetensors")
OTHER_DEVICE = "Name another with --device: auto, cpu, cuda:0 or mps."
_COMPILATIONS = 64
"""Of one network: a few for its batch sizes, on each device; torch would stop at 8, and leave further devices slow."""


def find_weights(backend: str, weights: Path | None, packages: tuple[str, ...] = PACKAGES) -> dict[str, Path]:
    """Role -> file or folder (see WeightsFolder.find), cheaply: nothing is imported or opened.

    Raises BackendUnavailable: a package or a file is not there, or no folder was named.
    """
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        raise BackendUnavailable(
            backend,
            f"{' and '.join(absent)} not installed",
            f"`python launch.py fetch {backend}` installs what it needs.",
        )
    if weights is None:
        raise BackendUnavailable(backend, "no weights folder is named", "Name it: --weights DIR.")
    with weights_told(backend):
        return WeightsFolder(weights).find(backend)


@contextmanager
def weights_told(backend: str) -> Iterator[None]:
    """What is wrong with weights becomes BackendUnavailable; so does a network that does not fit into memory, or whose
    numbers overflow while it is tried.
    """
    try:
        with drawing_told():
            yield
    except (WeightsError, DeviceOutOfMemory, NetworkOverflow) as error:
        raise BackendUnavailable(backend, error.message.rstrip("."), error.hint) from error


@contextmanager
def memory_told() -> Iterator[None]:
    """A device that is full becomes DeviceOutOfMemory, and what torch keeps for later is given back to it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not means_no_room(error):
            raise
        traceback.clear_frames(error.__traceback__)  # what the network computed so far lies there
        _give_back_memory()
        raise DeviceOutOfMemory(
            "The device's memory is full.", "Close what else uses it, or name another device with --device."
        ) from error


@contextmanager
def drawing_told() -> Iterator[None]:
    """As memory_told; and numbers that overflow become NetworkOverflow, for they would be drawn as black."""
    try:
        with memory_told():
            yield
    except FloatingPointError as error:
        raise NetworkOverflow(
            f"What was drawn cannot be shown: {error}.", "Start with --precision fp32: half precision overflows."
        ) from error


def _give_back_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


@dataclass(frozen=True, slots=True)
class TorchDevice:
    """Where a backend's networks run, and in which float type."""

    device: torch.device
    dtype: torch.dtype

    def place(self, network: Network) -> Network:
        """The network there; on CUDA with its images' channels innermost, as convolutions like them there.

        Raises DeviceOutOfMemory.
        """
        from models.state_dicts import placed

        with memory_told():
            return placed(network, self.device, self.dtype, channels_last=self.device.type == "cuda")


def compile_whole(networks: Sequence[nn.Module], draw: Callable[[int], object], largest: int) -> None:
    """Compile a backend's networks, and all that is ever compiled of them now: not in the middle of somebody's turn.

    Which batch sizes share one compilation nobody can tell beforehand, so each is drawn once. Takes minutes; less for
    a further network of the same construction. One that cannot be compiled here draws as it is.

    draw     draws so many pictures of zeros with them, just as in turns, on the thread that turns are drawn on
    largest  batch
    """
    import torch._dynamo

    for network in networks:
        network.compile()
    try:
        with torch._dynamo.config.patch(recompile_limit=_COMPILATIONS), drawing_told():
            for size in range(1, largest + 1):
                draw(size)
    except DeviceOutOfMemory:
        logger.info("Batches of %d and more do not fit into memory, and were not compiled.", size)
    except (RuntimeError, OSError) as error:  # what torch raises for it is a RuntimeError
        for network in networks:
            network._compiled_call_impl = None  # what compile() sets; torch has no way back of its own
        logger.warning(
            "%s cannot be compiled and draws as it is: %s. Compiling needs a C++ compiler, and on a GPU Triton (on "
            "Windows: pip install triton-windows). Or start without --compile.",
            " and ".join(type(network).__name__ for network in networks),
            _first_line(getattr(error, "inner_exception", error)),  # of what compiles, in torch's own
        )


def open_device(backend: str, name: str, precision: Precision = "auto") -> TorchDevice:
    """The device torch knows by `name`, tried with one number. To be called on the thread that will use it.

    Raises BackendUnavailable: torch does not know it, it is absent, busy or full.
    """
    import torch

    try:
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise BackendUnavailable(backend, f"torch sees no GPU for {name}", f"{OTHER_DEVICE} See: launch.py doctor.")
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for a device
        raise BackendUnavailable(
            backend, f"the device {name} cannot be used: {_first_line(error)}", OTHER_DEVICE
        ) from error
    if device.type == "cpu":
        _leave_a_core()
    return TorchDevice(device, _float_type(device, precision))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _leave_a_core() -> None:
    """Let torch use all cores but one of those that this process may use, and never more than it was told to.

    Its threads spin while they wait for each other. Without a core of their own, composing, encoding and the event loop
    that carries everybody's sound would wait for them at each batch.
    """
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cores - 1)))


def _float_type(device: torch.device, precision: Precision) -> torch.dtype:
    import torch

    chosen = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    return chosen.get(precision, torch.float32 if device.type == "cpu" else torch.float16)
