"""Reads whole networks and training objects in a weights file without any of their classes.

People save a whole network (`torch.save(network)`), or keep arguments and scores beside the weights. Such a file names
classes of programs that are not installed here, and running its code is not an option. Each such class is replaced by
one that does nothing. What the file says about an object is kept as plain attributes, and weights are read from those.
"""

from __future__ import annotations

import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from models.errors import WeightsDamaged

__all__ = ["StandIn", "is_harmless", "load_without_classes", "refused_name", "weights_of"]

_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
"""Finds what a pickle wanted to call in torch's messages."""
_MAX_CLASSES = 256
"""Most classes in one file; a network has about a dozen."""
_MAX_WEIGHTS = 100_000
_DEEPEST = 64
"""Deepest nesting of layers; the deepest network here has seven."""
_DATA_OF_THE_STANDARD_LIBRARY = frozenset({"argparse", "collections", "copyreg", "datetime", "enum", "pathlib"})
_DATA_OF_TORCH = ("torch.nn.", "torch.optim.")
_BUILT_IN_DATA = frozenset(
    {"bool", "bytes", "dict", "float", "frozenset", "int", "list", "object", "range", "slice", "str", "tuple"}
)
_OF_PYTHON_2 = frozenset({"__builtin__", "commands"})
_BUILT_IN = "builtins."
_allowing = threading.Lock()
"""torch keeps one list of allowed names per process, so two readers would remove each other's."""


class StandIn:
    """Replaces an object of an unknown class. It accepts all arguments and ignores them."""

    dump_patches = False
    """torch reads this of a network whose source code was saved with it."""

    def __new__(cls, *_arguments: object, **_options: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_arguments: object, **_options: object) -> None:
        """Do nothing: the pickle chooses the arguments."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, Mapping):
            self.__dict__.update({name: value for name, value in state.items() if isinstance(name, str)})


def load_without_classes(path: Path, *, mmap: bool) -> object:
    """Load a file like torch.load(), with a StandIn for every object of a class that torch does not know.

    Nothing in the file is ever called. Raises pickle.UnpicklingError for names that no network has, such as os.system
    (`refused_name` returns the name), and whatever torch raises for bytes that are not weights.
    """
    allowed: dict[str, tuple[Callable[..., object], str]] = {}
    while True:
        with _allowing, torch.serialization.safe_globals(list(allowed.values())):
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
            except pickle.UnpicklingError as error:
                name = refused_name(error)
                known = name is None or name in allowed
                if name is None or known or not is_harmless(name) or len(allowed) == _MAX_CLASSES:
                    raise
        # torch needs a different class for each name.
        allowed[name] = (type("StandIn", (StandIn,), {}), name if "." in name else _BUILT_IN + name)


def refused_name(error: Exception) -> str | None:
    """Return the name that torch refused to load, found in its message. Built-in names come without their module."""
    refused = _REFUSED.search(str(error))
    return refused[1].strip(".").removeprefix(_BUILT_IN) if refused else None


def is_harmless(name: str) -> bool:
    """Whether a name belongs to classes that people save: their own, torch's layers, or plain data.

    A file that asks for anything else of Python or torch was made to do harm. A stand-in would be safe even then, but
    such a file should not be used at all.
    """
    package, dot, _ = name.partition(".")
    if not dot:
        return name in _BUILT_IN_DATA
    if package == "torch":
        return name.startswith(_DATA_OF_TORCH)
    return package in _DATA_OF_THE_STANDARD_LIBRARY or package not in (sys.stdlib_module_names | _OF_PYTHON_2)


def weights_of(network: StandIn, source: Path) -> dict[str, Tensor]:
    """Return name -> tensor for a network that was saved whole, with the names of its state_dict().

    Raises WeightsDamaged if it is not a network, or is nested endlessly.
    """
    state: dict[str, Tensor] = {}
    for name, value in _tensors(network, source):
        state[name] = value
        if len(state) > _MAX_WEIGHTS:
            raise _without_end(source)
    return state


def _tensors(network: StandIn, source: Path) -> Iterator[tuple[str, Tensor]]:
    waiting = [("", network)]
    seen = 0
    while waiting:
        prefix, layer = waiting.pop(0)
        seen += 1
        if seen > _MAX_WEIGHTS or prefix.count(".") > _DEEPEST:
            raise _without_end(source)
        passing = _part(layer, "_non_persistent_buffers_set")
        for name, value in (_part(layer, "_parameters") | _part(layer, "_buffers")).items():
            if isinstance(value, Tensor) and name not in passing:
                yield prefix + name, value.detach()
        below = _part(layer, "_modules").items()
        waiting += [(f"{prefix}{name}.", inner) for name, inner in below if isinstance(inner, StandIn)]


def _part(layer: StandIn, name: str) -> dict[str, object]:
    """Return one of the dicts of torch's layers. A set becomes a dict with its members as keys."""
    part = vars(layer).get(name)
    if isinstance(part, set):
        part = dict.fromkeys(part)
    return {key: value for key, value in part.items() if isinstance(key, str)} if isinstance(part, Mapping) else {}


def _without_end(source: Path) -> WeightsDamaged:
    return WeightsDamaged(f"The network in {source} has no end.", "Get the file again, from its publisher.")
