"""Reads pickles made by others, without running anything in them.

Other projects store boxes and pictures as pickles, and a pickle may name any function to be called. This reader allows
the Python builtins that they use (None, bool, int, float, str, bytes, list, tuple), and numpy arrays and scalars of
plain numbers. Any other name in a pickle is refused before anything has been called.

Even numpy's own functions are never passed to a pickle. `ndarray.__setstate__` trusts the dtype that it is given, and a
pickle can set a dtype's flags so that numbers are taken for pointers. So the names lead to small substitutes of ours,
which check their arguments and build the array from its bytes.
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
"Deepest nesting of lists; other projects need three levels."
STORES: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
KEYS: Final = frozenset({"DICT", "SETITEM", "SETITEMS", "ADDITEMS", "FROZENSET"})
"Opcodes that fill dicts and sets: hashing nested tuples as keys can take endless time."
MAX_AXES: Final = 32
MAX_AXIS: Final = 2**40
DAMAGE: Final = (
    *(pickle.UnpicklingError, EOFError, ArithmeticError, LookupError, ValueError, TypeError),
    AttributeError,  # for an append to an object that is no list, or a state set on a list
)
REMEDY: Final = "Nothing was run. Take avatars only from people you trust, and ask for the folder as it was made."


def read_pickle(data: bytes, name: str) -> object:
    """Return the value in a pickle; numpy scalars become Python numbers. `name` is used in messages.

    Raises BadImport if it is damaged, or holds anything but numbers, texts, containers and plain arrays.
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
    """Format a value from a pickle for a message: the result is short, however much the value refers to."""
    try:
        return reprlib.repr(value)[:80]
    except ValueError:  # Python refuses to format an integer with thousands of digits
        return "a huge number"


def _check_steps(data: bytes, name: str) -> None:
    """Check all opcodes before the pickle is loaded.

    The memo grows to the highest index that a pickle stores to, so a pickle of five bytes could allocate 64 GB.
    """
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
    """Stands for a name in a pickle. It can be called, but its state cannot be set."""

    __slots__ = ("_make", "_name")

    def __init__(self, name: str, make: Callable[..., object]) -> None:
        self._name = name
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise ValueError(f"it tries to change {self._name}")


class _Dtype:
    """A dtype being built: the name gives its type code, and setting its state gives the byte order."""

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
    """An array being built: empty after the call of its name, complete after its state is set."""

    __slots__ = ("whole",)

    def __init__(self, *_type_shape_and_code: object) -> None:
        self.whole: npt.NDArray[np.generic] | None = None

    def __setstate__(self, state: object) -> None:
        _version, shape, dtype, by_columns, raw = _parts(state)
        self.whole = _array(raw, dtype, shape, "F" if by_columns else "C")


def _array(raw: object, dtype: object, shape: object, order: object, axes: object = None) -> npt.NDArray[np.generic]:
    """Build an array from its bytes. For any memory order but C and Fortran ("K"), `axes` gives the order of axes."""
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
    """Return the state of an array or a dtype, which numpy writes as a tuple."""
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
    """Stands for codecs.encode: pickle protocols before 3 store bytes as latin-1 text."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes are not written as bytes")
    return text.encode("latin1")


def _no_bytes(*arguments: object) -> bytes:
    """Stands for bytes(): the same protocols store empty bytes as a call without arguments."""
    if arguments:
        raise ValueError("bytes are not written as bytes")
    return b""


def _type_only(*_arguments: object) -> NoReturn:
    raise ValueError("it calls numpy.ndarray")


MULTIARRAY: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
NUMERIC: Final = ("numpy.core.numeric", "numpy._core.numeric")
"Module names before and since numpy 2."
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
    """Replace arrays being built by finished ones, throughout the value. done: results so far, by id of their input."""
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
