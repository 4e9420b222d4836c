"""Memory for decoded frames: when it is used again, and when it must not be."""

from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
import torch

from avatars.bundle import decode_jpeg, encode_jpeg
from avatars.frame_memory import FrameMemory
from models.arrays import ImageArray


def address(frame: ImageArray) -> int:
    return int(frame.__array_interface__["data"][0])


def test_memory_that_nobody_holds_is_used_again() -> None:
    memory = FrameMemory()
    frame = memory.frame(48, 64)
    assert frame.shape == (48, 64, 3)
    assert frame.dtype == np.uint8 and frame.flags.writeable
    first = address(frame)
    del frame
    assert address(memory.frame(48, 64)) == first


@pytest.mark.parametrize(
    "holding",
    [
        lambda frame: frame[8:16, 8:16],
        lambda frame: frame.reshape(-1)[5:],
        memoryview,
        torch.from_numpy,
        lambda frame: av.VideoFrame.from_numpy_buffer(frame.reshape(-1, 64), format="gray8"),
    ],
    ids=["part", "flat", "buffer", "tensor", "video frame"],
)
def test_memory_that_anything_shows_is_left_alone(holding: object) -> None:
    """Whoever keeps a part of a frame, in whatever form, keeps its pixels."""
    memory = FrameMemory()
    frame = memory.frame(48, 64)
    held = holding(frame)  # type: ignore[operator]
    first = address(frame)
    del frame
    assert address(memory.frame(48, 64)) != first
    del held
    # Two blocks are free now; the one that became free last is taken first.
    assert address(memory.frame(48, 64)) == first


def test_frames_of_another_size_get_memory_that_fits() -> None:
    memory = FrameMemory()
    memory.frame(48, 64)
    larger = memory.frame(96, 64)
    larger[:] = 7
    assert larger.shape == (96, 64, 3)


def test_few_blocks_are_kept_and_no_large_ones() -> None:
    memory = FrameMemory()
    several = [memory.frame(48, 64) for _ in range(8)]
    addresses = {address(frame) for frame in several}
    several.clear()
    again = [memory.frame(48, 64) for _ in range(3)]
    assert {address(frame) for frame in again} < addresses
    assert len(memory._free) == 0
    memory.frame(2160, 3840)
    assert len(memory._free) == 0, "a 4K frame's 25 MB go back to the system"


def test_pictures_decoded_in_many_threads_are_whole() -> None:
    """Each thread checks its frame after the others have decoded theirs into the same few blocks."""
    memory = FrameMemory()
    jpegs = [encode_jpeg(np.full((48, 64, 3), 10 * level, np.uint8)) for level in range(20)]

    def all_alike(turn: int) -> bool:
        level = turn % 20
        frame = decode_jpeg(jpegs[level], memory)
        other = decode_jpeg(jpegs[(level + 7) % 20], memory)
        return abs(int(frame.max()) - 10 * level) <= 1 and int(frame.min()) == int(frame.max()) and other is not frame

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(all_alike, range(2000)))
