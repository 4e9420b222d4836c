"""How the server process takes memory from the system."""

from __future__ import annotations

import ctypes
import gc
import platform

__all__ = ["give_pictures_back", "leave_settled_objects_alone"]

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
PICTURE_BYTES = 256 * 1024
"""What is larger is a picture or a model's working memory: short-lived, of many sizes, from many threads."""
KEPT_BYTES = 4 * 1024 * 1024


def give_pictures_back() -> bool:
    """Have glibc return pictures to the system when they are freed; False where there is no glibc.

    By itself it raises its threshold with every large piece it sees freed, keeps the pieces in an arena a thread, and
    five speaking sessions come to twice the memory that they hold. To be called before threads are started.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    wanted = {M_MMAP_THRESHOLD: PICTURE_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_ARENA_MAX: 1}
    accepted = [libc.mallopt(parameter, value) == 1 for parameter, value in wanted.items()]
    return all(accepted)


def leave_settled_objects_alone() -> None:
    """Take what is alive now out of the garbage collector's sight. To be called once all is loaded.

    A full collection walks every object, most of them of imported modules, with the event loop standing still: tens of
    milliseconds that every viewer would hear when somebody joins or leaves.
    """
    gc.collect()
    gc.freeze()
