"""Pickles of others are read without running anything: numbers, texts, containers and plain arrays, or a refusal."""

from __future__ import annotations

import io
import os
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avatars.errors import BadImport
from avatars.importers.safe_pickle import read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
BY_COLUMNS = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))


class Wants:
    """Pickles as a call of what it is given."""

    def __init__(self, call, *arguments) -> None:
        self._call = call, arguments

    def __reduce__(self):
        return self._call


def build(target: bytes, state: bytes) -> bytes:
    """A pickle of the fourth protocol that sets the state of something: pushes `target`, `state`, then BUILD."""
    return b"\x80\x04" + target + state + b"b."


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lists_of_boxes_are_read(protocol) -> None:
    """Tuples and lists of Python numbers come as they were, whatever the protocol."""
    value = [(1, 2, 3, 4), [0.0, -1.5, 2**40, True], ("脸", b"bytes", None)]
    assert read_pickle(pickle.dumps(value, protocol), "coords.pkl") == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_numbers_and_arrays_are_read(protocol) -> None:
    """Scalars come as Python numbers, arrays whole: their type, shape, byte order and layout are kept."""
    arrays = [
        np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        BY_COLUMNS,
        np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        np.array([1.5, -2.0], ">f8"),
        np.zeros((0, 4), np.int32),
    ]
    scalars = (np.int64(-7), np.float32(0.5), np.bool_(True))
    read, numbers = read_pickle(pickle.dumps((arrays, scalars), protocol), "frames.pkl")
    assert numbers == (-7, 0.5, True) and [type(number) for number in numbers] == [int, float, bool]
    for one, other in zip(read, arrays, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert np.array_equal(one, other)


def test_arrays_of_old_numpy_are_read() -> None:
    """Numpy before 2 writes other module names."""
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    data = pickle.dumps([np.int64(3), np.arange(3)], 2).replace(new, old)
    assert old in data and new not in data
    number, array = read_pickle(data, "coords.pkl")
    assert number == 3 and array.tolist() == [0, 1, 2]


def test_an_array_that_is_met_twice_is_read_once() -> None:
    """References within a pickle stay references."""
    frame = np.arange(4)
    first, second = read_pickle(pickle.dumps([frame, frame]), "frames.pkl")
    assert first is second


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("call", "arguments", "name"),
    [
        (os.system, ("touch {}",), r"(posix|nt)\.system"),
        (eval, ("open({!r}, 'w')",), r"(builtins|__builtin__)\.eval"),
        (getattr, (1, "real"), r"\S+\.getattr"),
        (np.load, ("{}",), r"numpy\S*\.load"),
        (Fraction, (1, 2), r"fractions\.Fraction"),
        (bytearray, (10**9,), r"\S+\.bytearray"),
    ],
)
def test_whatever_else_is_named_is_refused_by_name(call, arguments, name: str, protocol, tmp_path: Path) -> None:
    """A pickle that wants a function is refused with that function's name, and nothing is called."""
    mark = tmp_path / "mark"
    filled = [one.format(str(mark)) if isinstance(one, str) else one for one in arguments]
    with pytest.raises(BadImport, match=rf"coords\.pkl asks for {name}, ") as caught:
        read_pickle(pickle.dumps([Wants(call, *filled)], protocol), "coords.pkl")
    assert not mark.exists() and "Nothing was run" in caught.value.hint


def test_objects_are_refused() -> None:
    """Instances, dicts, sets and arrays of Python objects are no data that an avatar needs."""
    with pytest.raises(BadImport, match=r"test_importers_pickle\.Odd"):
        read_pickle(pickle.dumps(Odd()), "coords.pkl")
    for keyed in ({1: 2}, {1: 2, 3: 4}, {1, 2}, frozenset({1})):
        with pytest.raises(BadImport, match="holds a dict or a set"):
            read_pickle(pickle.dumps([keyed], 4), "coords.pkl")
    for empty in ({}, set()):
        with pytest.raises(BadImport, match=f"holds a {type(empty).__name__}"):
            read_pickle(pickle.dumps([empty], 4), "coords.pkl")
    with pytest.raises(BadImport, match="array of 'O8'"):
        read_pickle(pickle.dumps(np.array([[], None], object)), "coords.pkl")
    with pytest.raises(BadImport, match="array of 'V3'"):
        read_pickle(pickle.dumps(np.zeros(2, "V3")), "coords.pkl")


class Odd:
    """No number."""


def test_functions_cannot_be_changed_by_a_pickle() -> None:
    """The state of what a name stands for is out of reach: numpy is the same for the next reader."""
    named = b"cnumpy\ndtype\n"
    for state in (b"}", b"N}\x86", b"N"):
        with pytest.raises(BadImport, match=r"change numpy\.dtype"):
            read_pickle(build(named, state), "coords.pkl")
    assert read_pickle(pickle.dumps(np.arange(2)), "coords.pkl").tolist() == [0, 1]


def test_an_array_has_just_its_bytes() -> None:
    """A shape larger than the data, a dtype made up by hand, or no dtype at all is refused, not believed."""
    whole = pickle.dumps(np.zeros((3, 3), np.uint8), 2)
    assert whole.count(b"K\x03K\x03\x86") == 1
    with pytest.raises(BadImport, match="does not have its bytes"):
        read_pickle(whole.replace(b"K\x03K\x03\x86", b"K\x03K\x7f\x86"), "frames.pkl")
    with pytest.raises(BadImport, match="records"):
        read_pickle(build(b"cnumpy\ndtype\n\x8c\x02u1\x85R", b"(K\x03\x8c\x01|NX\x01\x00\x00\x00aNK\x01t"), "x.pkl")
    with pytest.raises(BadImport, match="no type"):
        read_pickle(b"cnumpy._core.multiarray\nscalar\n(NU\x01atR.", "x.pkl")
    with pytest.raises(BadImport, match=r"calls numpy\.ndarray"):
        read_pickle(b"cnumpy\nndarray\n(I1\ntR.", "x.pkl")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle at all",
        pickle.dumps(list(range(1000)))[:-50],
        b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"x.",
        b"\x80\x04\x95" + (2**50).to_bytes(8, "little") + b"N.",
        b"Pid\n.",
        b"\x82\x01.",
        b"0.",
        b"\x80\x04]}b.",
        b"\x80\x04K\x01K\x02a.",
        b"\x80\x04NN\x86}b.",
        b"I" + b"1" * 5000 + b"\n.",
        b"I" + b"x" * 5000 + b"\n.",
    ],
    ids=[
        *("empty", "text", "cut off", "huge bytes", "huge frame", "outside object", "extension", "empty stack"),
        *("state of a list", "append to a number", "state of a tuple", "endless number", "endless nonsense"),
    ],
)
def test_damage_is_told_by_the_files_name(data) -> None:
    """Whatever is wrong with the bytes comes as one error that names the file."""
    with pytest.raises(BadImport, match=r"^coords\.pkl ") as caught:
        read_pickle(data, "coords.pkl")
    assert len(caught.value.message) < 300


def test_a_memo_of_many_gigabytes_is_refused_before_it_is_made() -> None:
    """Five bytes that store to place 4,000,000,000 would have the reader make room for all places before it."""
    with pytest.raises(BadImport, match="stores to place 4000000000"):
        read_pickle(b"\x80\x04Nr" + (4_000_000_000).to_bytes(4, "little") + b".", "coords.pkl")


def test_lists_in_themselves_are_refused() -> None:
    """A list that holds itself, and one nested ever deeper, end in a refusal and not in a recursion."""
    own: list[object] = []
    own.append(own)
    deep: list[object] = []
    for _ in range(40):
        deep = [deep]
    for value in (own, deep):
        with pytest.raises(BadImport, match="lists in lists"):
            read_pickle(pickle.dumps(value), "coords.pkl")


def test_a_list_that_doubles_at_each_level_takes_no_time() -> None:
    """Sixteen levels of ten references each are met once a level, not ten to the sixteenth times."""
    value: list[object] = [0]
    for _ in range(15):
        value = [value] * 10
    read = read_pickle(pickle.dumps(value), "coords.pkl")
    assert read[0] is read[9]


FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
"what numpy names to make an array of its bytes, type, shape and order"


def grown(levels: int = 12) -> list[object]:
    """A list of a few hundred bytes that would be endless if it were written out."""
    value: list[object] = []
    for _ in range(levels):
        value = [value] * 40
    return value


def test_what_refers_to_itself_over_and_over_is_never_written_out() -> None:
    """As a type, as a shape, or as a key of a dict: refused in no time."""
    endless = grown()
    with pytest.raises(BadImport, match=r"array of \[\[\["):
        read_pickle(pickle.dumps(Wants(np.dtype, endless)), "coords.pkl")
    with pytest.raises(BadImport, match=r"has the shape \[\[\["):
        read_pickle(pickle.dumps(Wants(FROM_BUFFER, b"", np.dtype("u1"), endless[:3], "C")), "coords.pkl")
    keys: tuple[object, ...] = ()
    for _ in range(12):
        keys = (keys,) * 40
    dumped = pickle.dumps(keys, 4)
    with pytest.raises(BadImport, match="holds a dict or a set"):
        read_pickle(b"\x80\x04}" + dumped[2:-1] + b"Ns.", "coords.pkl")


def test_shapes_are_not_multiplied_beyond_reason() -> None:
    """Numbers of a million digits, and thousands of axes, are no shape."""
    for shape in ((10**5000,), (1,) * 1000):
        with pytest.raises(BadImport, match=r"coords\.pkl is damaged: an array has"):
            read_pickle(pickle.dumps(Wants(FROM_BUFFER, b"", np.dtype("u1"), shape, "C")), "coords.pkl")


def test_our_own_pickler_would_have_run_it(tmp_path: Path) -> None:
    """The hostile pickle of these tests is a real one: the standard reader does run it."""
    mark = tmp_path / "mark"
    data = pickle.dumps(Wants(os.system, f"touch {mark}"))
    pickle.load(io.BytesIO(data))
    assert mark.exists()
