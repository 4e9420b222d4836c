"""Reading pickles that others have made, without running anything that they ask for.

Other projects keep boxes and pictures as pickles, and a pickle may name any function to be called. This reader admits
the Python builtins that they use (None, bool, int, float, str, bytes, list, tuple) and numpy arrays and scalars of
plain numbers; whatever else a pickle names is refused by its name before anything has been called.

Not even numpy's own functions are handed out: `ndarray.__setstate__` trusts the dtype it is given, and a dtype whose
flags a pickle has written may turn numbers into pointers. The names stand for small makers of ours, which check what
they get and build the array from its bytes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import reprlib
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt

from avatars.errors import BadImport

__all__ = ["read_pickle", "shown"]

PLAIN_DTYPE: Final = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f[248])")
DEEPEST: Final = 16
"levels of lists in lists; other projects need three"
STORES: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
KEYS: Final = frozenset({"DICT", "SETITEM", "SETITEMS", "ADDITEMS", "FROZENSET"})
"what fills dicts and sets: tuples of tuples take for ever to become a key"
MAX_AXES: Final = 32
MAX_AXIS: Final = 2**40
DAMAGE: Final = (
    *(pickle.UnpicklingError, EOFError, ArithmeticError, LookupError, ValueError, TypeError),
    AttributeError,  # something is appended to what is no list, or the state of a list is set
)
REMEDY: Final = "Nothing was run. Take avatars only from people you trust, and ask for the folder as it was made."


def read_pickle(data: bytes, name: str) -> object:
    """The value in a pickle; arrays come as numpy arrays, numpy scalars as Python numbers. `name` is for messages.

    Raises BadImport: anything but numbers, texts, containers and plain arrays is in it, or it is damaged.
    """
    try:
        _check_steps(data, name)
        return _plain(_Reader(data, name).load(), name, 0, {})
    except BadImport:
        raise
    except MemoryError as error:
        raise BadImport(f"{name} needs more memory than there is.", REMEDY, cause="too_large") from error
    except DAMAGE as error:
        raise BadImport(f"{name} is damaged: {str(error)[:200]}.", "Copy the folder again.", cause="damaged") from error


def shown(value: object) -> str:
    """A value out of a pickle, for a message: short, however much it refers to."""
    try:
        return reprlib.repr(value)[:80]
    except ValueError:  # a number of thousands of digits is not written out
        return "a huge number"


def _check_steps(data: bytes, name: str) -> None:
    """The memo grows to the highest place that a pickle stores to: one of five bytes could ask for 64 GB."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
        if opcode.name in KEYS:
            raise BadImport(
                f"{name} holds a dict or a set, which is no number, text, list or array.", REMEDY, cause="unsafe"
            )
        if opcode.name in STORES and isinstance(argument, int) and argument > count:
            raise BadImport(
                f"{name} is no honest pickle: it stores to place {argument} at its {count}th step.",
                REMEDY,
                cause="unsafe",
            )


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(io.BytesIO(data))
        self._name = name

    def find_class(self, module: str, name: str) -> object:
        maker = MAKERS.get((module, name))
        if maker is None:
            asked = f"{module[:80]}.{name[:80]}"
            raise BadImport(
                f"{self._name} asks for {asked}, which is no number, text or array.", REMEDY, cause="unsafe"
            )
        return _Named(f"{module}.{name}", maker)

    def persistent_load(self, pid: object) -> NoReturn:
        raise BadImport(f"{self._name} asks for an object outside of it.", REMEDY, cause="unsafe")


class _Named:
    """What a pickle gets for a name. It can be called, and not be changed."""

    __slots__ = ("_make", "_name")

    def __init__(self, name: str, make: Callable[..., object]) -> None:
        self._name = name
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise ValueError(f"it tries to change {self._name}")


class _Dtype:
    """A dtype in the making: its code when it is named, its byte order when its state is set."""

    __slots__ = ("plain",)

    def __init__(self, code: object, *_align_and_copy: object) -> None:
        if not isinstance(code, str) or not PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"it holds an array of {shown(code)}, and only plain numbers are read")
        self.plain: np.dtype[np.generic] = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        _version, order, subtype, names, fields, *_sizes = _parts(state)
        if order not in ("<", ">", "=", "|") or subtype or names or fields:
            raise ValueError("it holds an array of records, and only plain numbers are read")
        self.plain = self.plain.newbyteorder(order)


class _Array:
    """An array in the making: empty when it is named, whole when its state is set."""

    __slots__ = ("whole",)

    def __init__(self, *_type_shape_and_code: object) -> None:
        self.whole: npt.NDArray[np.generic] | None = None

    def __setstate__(self, state: object) -> None:
        _version, shape, dtype, by_columns, raw = _parts(state)
        self.whole = _array(raw, dtype, shape, "F" if by_columns else "C")


def _array(raw: object, dtype: object, shape: object, order: object, axes: object = None) -> npt.NDArray[np.generic]:
    """Numbers from their bytes. Axes other than C's and Fortran's ("K") come with their order."""
    sides = _whole_numbers(shape)
    kind = _plain_dtype(dtype)
    if not isinstance(raw, bytes | bytearray) or math.prod(sides) * kind.itemsize != len(raw):
        raise ValueError(f"an array of shape {sides} and type {kind} does not have its bytes")
    numbers = np.frombuffer(raw, kind)
    if order == "K":
        return numbers.reshape(sides).transpose(_whole_numbers(axes))
    return numbers.reshape(sides, order="F" if order == "F" else "C")


def _scalar(dtype: object, raw: object) -> int | float | bool:
    value: int | float | bool = _array(raw, dtype, (), "C").item()
    return value


def _parts(state: object) -> tuple[object, ...]:
    """What numpy writes as the state of an array or a dtype."""
    if not isinstance(state, tuple):
        raise ValueError("the state of an array is no tuple")
    return state


def _plain_dtype(dtype: object) -> np.dtype[np.generic]:
    if not isinstance(dtype, _Dtype):
        raise ValueError("an array has no type")
    return dtype.plain


def _whole_numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, Sequence) or len(values) > MAX_AXES:
        raise ValueError("an array has no shape")
    if not all(type(value) is int and 0 <= value <= MAX_AXIS for value in values):
        raise ValueError(f"an array has the shape {shown(values)}")
    return tuple(values)


def _encode(text: object, encoding: object) -> bytes:
    """How the protocols before the third write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes are not written as bytes")
    return text.encode("latin1")


def _no_bytes(*arguments: object) -> bytes:
    """How the same protocols write that there are none."""
    if arguments:
        raise ValueError("bytes are not written as bytes")
    return b""


def _type_only(*_arguments: object) -> NoReturn:
    raise ValueError("it calls numpy.ndarray")


MULTIARRAY: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
NUMERIC: Final = ("numpy.core.numeric", "numpy._core.numeric")
"before and since numpy 2"
MAKERS: Final[dict[tuple[str, str], Callable[..., object]]] = {
    ("numpy", "ndarray"): _type_only,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    **{(module, "_reconstruct"): _Array for module in MULTIARRAY},
    **{(module, "scalar"): _scalar for module in MULTIARRAY},
    **{(module, "_frombuffer"): _array for module in NUMERIC},
}


def _plain(value: object, name: str, depth: int, done: dict[int, object]) -> object:
    """The value with whole arrays in place of those in the making. `done` keeps what was met before, by identity."""
    if value is None or isinstance(value, bool | int | float | str | bytes | np.ndarray):
        return value
    if id(value) in done:
        return done[id(value)]
    if depth > DEEPEST:
        raise BadImport(f"{name} has lists in lists, more than {DEEPEST} deep.", REMEDY, cause="unsafe")
    if isinstance(value, _Array) and value.whole is not None:
        return value.whole
    result: object
    if isinstance(value, list):
        result = [_plain(one, name, depth + 1, done) for one in value]
    elif isinstance(value, tuple):
        result = tuple(_plain(one, name, depth + 1, done) for one in value)
    else:
        raise BadImport(
            f"{name} holds a {type(value).__name__.strip('_')}, which is no number, text or array.",
            REMEDY,
            cause="unsafe",
        )
    done[id(value)] = result
    return result
