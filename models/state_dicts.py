"""Reads weight files and builds networks from them, without running code from a file or copying weights in memory.

A file is mapped, not read, and its tensors become the parameters of a network that was built without memory for them.
So a network on the CPU needs the size of its file once, in pages that the system may drop and read again. One for a GPU
passes through memory layer by layer. Replace a weights file by renaming another over it; never write into it.
"""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.errors import WeightsDamaged, WeightsMissing, WrongArchitecture
from models.stand_ins import StandIn, is_harmless, load_without_classes, refused_name, weights_of

__all__ = ["load_network", "placed", "plausible_width", "read_checkpoint", "read_state_dict"]

Network = TypeVar("Network", bound=nn.Module)

_TORCHSCRIPT = "TorchScript archive"
"""Part of torch's message about such a file."""
_OLD_AND_WHOLE = "Only persistent_load of storage is allowed"
"""torch's message about a whole network in its format from before 1.6."""
_ZIP_MAGIC = b"PK\x03\x04"
_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys of a training checkpoint under which the weights may be: Wav2Lip's, openai-whisper's, and others'."""
_PARALLEL_PREFIX = "module."
"""Prefix that torch's DataParallel adds to all names."""
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
    SafetensorError,
)
"""Exceptions that torch and safetensors raise for bytes that are not weights."""
_WIDEST = 4
"""How much wider than the published network somebody's own may be. The cost grows with the square."""
_GET_AGAIN = "Get the file again."
_WEIGHTS_ALONE = "Get a file of weights alone, or have whoever made this one save its state_dict()."
_AS_PUBLISHED = "Get the weights as they were published, in single or half precision."
_FLOATS = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
"""Types that may be cast to another float type. Narrower numbers need scales that are not here."""


def read_checkpoint(path: Path) -> dict[str, object]:
    """Return the dict in a .pth/.pt/.bin/.safetensors file unchanged: the weights, and whatever was saved with them.

    For a network that was saved whole, it returns the weights. Objects of unknown classes are StandIns. Raises
    WeightsMissing, and WeightsDamaged for a truncated or empty file, one without a dict, or a pickle that would run
    code.
    """
    if not path.is_file():
        raise WeightsMissing(f"The weights file {path} is missing.", "Put it there, or get it with `launch.py fetch`.")
    try:
        with path.open("rb") as file:
            mappable = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC  # false for files written by torch before 1.6
    except OSError as error:
        raise WeightsMissing(f"The weights file {path} cannot be read: {error.strerror}.") from error
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content = load_without_classes(path, mmap=mappable)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    if isinstance(content, StandIn):
        return dict(weights_of(content, path))
    if not isinstance(content, dict):
        raise WeightsDamaged(f"{path} holds a {type(content).__name__}, not a dict of weights.", _GET_AGAIN)
    return content


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return name -> tensor of a .pth/.pt/.bin/.safetensors file, mapped if its format allows.

    A training checkpoint around the weights ("state_dict") and DataParallel's prefix "module." are removed. Raises
    WeightsMissing; WeightsDamaged (as `read_checkpoint`, or no weights in it); WrongArchitecture (tensors that are
    quantised, sparse, without values, or larger than the file).
    """
    content = read_checkpoint(path)
    for wrapper in _WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, StandIn):
            content = dict(weights_of(inner, path))
        elif isinstance(inner, dict):
            content = inner
    state = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not state:
        raise WeightsDamaged(f"There are no weights in {path}.", _GET_AGAIN)
    if all(name.startswith(_PARALLEL_PREFIX) for name in state):
        state = {name.removeprefix(_PARALLEL_PREFIX): value for name, value in state.items()}
    for name, value in state.items():
        if oddity := _unsupported_layout(value):
            raise WrongArchitecture(f"In {path} {name} {oddity}: no network here can use that.", _AS_PUBLISHED)
    return state


def _unsupported_layout(tensor: Tensor) -> str:
    """Return what makes a tensor other than plain numbers in memory; empty if nothing does."""
    if tensor.is_meta:
        return "has a shape but no values"
    if tensor.is_quantized:
        return "is quantised"
    if tensor.layout is not torch.strided or tensor.is_nested:
        return "is sparse or nested"
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        return "is larger than what the file holds of it"  # strides of 0: a small file could fill the memory
    return ""


def _damaged(path: Path, error: Exception) -> WeightsDamaged:
    refused = _refused_globals(path, error) if isinstance(error, pickle.UnpicklingError) else []
    if refused and all(map(is_harmless, refused)):
        return WeightsDamaged(
            f"{path} is refused: it holds objects of Python ({', '.join(refused)}), not only weights.", _WEIGHTS_ALONE
        )
    if refused:
        return WeightsDamaged(
            f"{path} is refused: it is not only weights but wants to call {', '.join(refused)}.",
            "Do not open it with other programs either; get the file from its publisher.",
        )
    if _OLD_AND_WHOLE in str(error):
        return WeightsDamaged(f"{path} is a whole network in the format of torch before 1.6.", _WEIGHTS_ALONE)
    if _TORCHSCRIPT in str(error):
        return WeightsDamaged(f"{path} is a whole network (TorchScript), not its weights.", _WEIGHTS_ALONE)
    if path.stat().st_size == 0:
        return WeightsDamaged(f"{path} is empty.", _GET_AGAIN)
    return WeightsDamaged(f"{path} is truncated or no weights file.", _GET_AGAIN)


def _refused_globals(path: Path, error: pickle.UnpicklingError) -> list[str]:
    """Return what a pickle wants to call: from torch's message, or else, for other protocols, from its opcodes."""
    if name := refused_name(error):
        return [name]
    names: list[str] = []
    strings: list[str] = []
    with path.open("rb") as file, contextlib.suppress(ValueError):  # raised at the first byte that is not an opcode
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name in ("GLOBAL", "INST"):
                names.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                names.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    return list(dict.fromkeys(names))[:3]


class _WithoutMemory(TorchFunctionMode):
    """Puts the results of torch.empty() on the meta device. Layers use it for weights, which a file will replace.

    Everything else is created normally, above all constants that a network computes itself and no file contains.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if func is torch.empty:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def load_network(build: Callable[[], Network], state: Mapping[str, Tensor], source: Path) -> Network:
    """Return the network from `build`, with the tensors of `state` as its weights; in evaluation mode, no gradients.

    Names must match exactly. The tensors are used directly, so the network has their dtype and shares their memory; see
    `placed`. source: the file they come from, for messages.
    Raises WrongArchitecture if names or shapes differ, or weights are not floats; then nothing is loaded.
    """
    with _WithoutMemory():
        network = build()
    _check_same(network.state_dict(), state, source)
    network.load_state_dict(dict(state), strict=True, assign=True)
    unmade = [name for name, value in _tensors(network) if value.is_meta]
    if unmade:
        raise RuntimeError(f"{type(network).__name__} neither loads its {unmade[0]} nor makes it with its values.")
    return network.eval().requires_grad_(False)


def plausible_width(width: int, published: int, source: Path) -> int:
    """Return the width. Raises WrongArchitecture if no network has it. Networks in tests are as narrow as 1."""
    if 1 <= width <= _WIDEST * published:
        return width
    raise WrongArchitecture(
        f"The network in {source} would be {width} channels wide; the published one has {published}.",
        "Check that the file has the right name and version.",
    )


def placed(
    network: Network, device: str | torch.device, dtype: torch.dtype | None = None, *, channels_last: bool = False
) -> Network:
    """Move a network to a device; optionally change its float type and its images' memory format.

    Raises torch.OutOfMemoryError.
    """
    # torch's own method: the one of diffusers' networks only adds a warning that does not apply here.
    network = nn.Module.to(network, device=device, dtype=dtype)
    # mypy knows no overload with just a memory format.
    return network.to(memory_format=torch.channels_last) if channels_last else network  # type: ignore[call-overload]


def _tensors(network: nn.Module) -> Iterable[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _check_same(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], source: Path) -> None:
    # Files from before torch 0.4.1 lack num_batches_tracked, which evaluation does not use.
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in wanted]
    misshapen = [
        f"{name} {_shape(given[name])} instead of {_shape(wanted[name])}"
        for name in wanted
        if name in given and wanted[name].shape != given[name].shape
    ]
    not_floats = [
        f"{name} {str(given[name].dtype).removeprefix('torch.')}"
        for name in wanted
        if name in given and wanted[name].is_floating_point() and given[name].dtype not in _FLOATS
    ]
    faults = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": misshapen,
        "no floats": not_floats,
    }
    if any(faults.values()):
        told = "; ".join(f"{kind}: {_first(names)}" for kind, names in faults.items() if names)
        raise WrongArchitecture(
            f"{source} holds other tensors than the network it was taken for ({told}).", _hint(given)
        )


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _first(names: list[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


_SIGNS = {
    "face_encoder_blocks.": "weights of Wav2Lip",
    "face_encoder.": "weights of a Wav2Lip discriminator",
    "cp.resnet.": "weights of the BiSeNet face parser",
    "audio_model.": "weights of an Ultralight avatar",
    "encoder.down_blocks.": "a Stable Diffusion VAE",
    "down_blocks.": "a diffusion UNet (MuseTalk's or Stable Diffusion's)",
    "decoder.token_embedding.": "openai-whisper weights",
    "model.encoder.embed_positions.": "Hugging Face whisper weights",
    "encoder.embed_positions.": "Hugging Face whisper weights",
    "hubert.": "HuBERT weights",
    "encoder.pos_conv_embed.": "HuBERT weights",
    "layer1.0.conv1.": "weights of a ResNet",
    "conv4_3_norm.": "weights of the S3FD face detector",
}
"""Prefixes of tensor names -> what the file is, for files that people often have in the same place."""


def _hint(given: Mapping[str, Tensor]) -> str:
    for sign, what in _SIGNS.items():
        if any(name.startswith(sign) for name in given):
            return f"The file looks like {what}: check that it has the right name and version."
    return "Check that the file has the right name and version."
