"""Whole networks and training objects in a weights file, read without any of their classes.

People save a whole network (`torch.save(network)`), or keep arguments and scores beside the weights. Such a file names
classes of programs that are not here, and running them is out of the question. Each of them is given a class that does
nothing: what the file says of an object is kept as plain attributes, and the weights are read from those.
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
"""How torch's own messages name what a pickle wanted to call."""
_MOST_CLASSES = 256
"""Of one file. A network has a dozen."""
_MOST_WEIGHTS = 100_000
_DEEPEST = 64
"""Layers within layers; the deepest network here has seven."""
_DATA_OF_THE_STANDARD_LIBRARY = frozenset({"argparse", "collections", "copyreg", "datetime", "enum", "pathlib"})
_DATA_OF_TORCH = ("torch.nn.", "torch.optim.")
_BUILT_IN_DATA = frozenset(
    {"bool", "bytes", "dict", "float", "frozenset", "int", "list", "object", "range", "slice", "str", "tuple"}
)
_OF_PYTHON_2 = frozenset({"__builtin__", "commands"})
_BUILT_IN = "builtins."
_allowing = threading.Lock()
"""torch keeps one list of allowed names a process, and two readers would take each other's off it."""


class StandIn:
    """An object of a class that is not here: whatever it is made from is taken and nothing is done."""

    dump_patches = False
    """What torch asks of a network whose source code was saved with it."""

    def __new__(cls, *_arguments: object, **_options: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_arguments: object, **_options: object) -> None:
        """Nothing: a pickle chooses the arguments."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, Mapping):
            self.__dict__.update({name: value for name, value in state.items() if isinstance(name, str)})


def load_without_classes(path: Path, *, mmap: bool) -> object:
    """What torch.load() gives of a file, with a StandIn for every object of a class that torch does not know.

    Nothing of the file is ever called. Raises pickle.UnpicklingError for names that no network has, such as os.system
    (`refused_name` tells which), and whatever torch raises for bytes that are no weights.
    """
    allowed: dict[str, tuple[Callable[..., object], str]] = {}
    while True:
        with _allowing, torch.serialization.safe_globals(list(allowed.values())):
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
            except pickle.UnpicklingError as error:
                name = refused_name(error)
                known = name is None or name in allowed
                if name is None or known or not is_harmless(name) or len(allowed) == _MOST_CLASSES:
                    raise
        # torch wants another class for each name.
        allowed[name] = (type("StandIn", (StandIn,), {}), name if "." in name else _BUILT_IN + name)


def refused_name(error: Exception) -> str | None:
    """The class or function that torch would not load, by its message; built-in ones come without their module."""
    refused = _REFUSED.search(str(error))
    return refused[1].strip(".").removeprefix(_BUILT_IN) if refused else None


def is_harmless(name: str) -> bool:
    """Whether a name is of the classes that people save: their own, torch's layers, plain data.

    A file that asks for anything else of Python or of torch was made to do harm. A stand-in would be safe even so, but
    such a file is better not used at all.
    """
    package, dot, _ = name.partition(".")
    if not dot:
        return name in _BUILT_IN_DATA
    if package == "torch":
        return name.startswith(_DATA_OF_TORCH)
    return package in _DATA_OF_THE_STANDARD_LIBRARY or package not in (sys.stdlib_module_names | _OF_PYTHON_2)


def weights_of(network: StandIn, source: Path) -> dict[str, Tensor]:
    """Name -> tensor of a network that was saved whole, as its state_dict() would have named them.

    Raises WeightsDamaged: it is no network, or one without end.
    """
    state: dict[str, Tensor] = {}
    for name, value in _tensors(network, source):
        state[name] = value
        if len(state) > _MOST_WEIGHTS:
            raise _without_end(source)
    return state


def _tensors(network: StandIn, source: Path) -> Iterator[tuple[str, Tensor]]:
    waiting = [("", network)]
    seen = 0
    while waiting:
        prefix, layer = waiting.pop(0)
        seen += 1
        if seen > _MOST_WEIGHTS or prefix.count(".") > _DEEPEST:
            raise _without_end(source)
        passing = _part(layer, "_non_persistent_buffers_set")
        for name, value in (_part(layer, "_parameters") | _part(layer, "_buffers")).items():
            if isinstance(value, Tensor) and name not in passing:
                yield prefix + name, value.detach()
        below = _part(layer, "_modules").items()
        waiting += [(f"{prefix}{name}.", inner) for name, inner in below if isinstance(inner, StandIn)]


def _part(layer: StandIn, name: str) -> dict[str, object]:
    """One of the dicts that torch's layers keep; a set becomes a dict of its members."""
    part = vars(layer).get(name)
    if isinstance(part, set):
        part = dict.fromkeys(part)
    return {key: value for key, value in part.items() if isinstance(key, str)} if isinstance(part, Mapping) else {}


def _without_end(source: Path) -> WeightsDamaged:
    return WeightsDamaged(f"The network in {source} has no end.", "Get the file again, from its publisher.")
