"""How the server process shares memory and open files with the system, the interpreter among its threads, and what its
child processes are given.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import sys
from pathlib import Path

__all__ = [
    "child_environment",
    "connections_that_fit",
    "give_pictures_back",
    "leave_settled_objects_alone",
    "let_the_loop_in",
]

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
PICTURE_BYTES = 256 * 1024
"""What is larger is a picture or a model's working memory: short-lived, of many sizes, from many threads."""
KEPT_BYTES = 4 * 1024 * 1024
SWITCH_S = 0.0005
FILES_BESIDE = 256
"""Open files that are no connection: databases, avatars, WebRTC's sockets, pipes."""
FILES_WANTED = 65536


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


def let_the_loop_in() -> None:
    """Have threads that compute hand the interpreter over sooner than after Python's 5 ms.

    The event loop asks for it anew after every system call: while a sentence is being synthesized, a handful of them
    came to 30 ms of late sound.
    """
    sys.setswitchinterval(SWITCH_S)


def child_environment() -> dict[str, str]:
    """Ours, with which a child finds our packages, whatever folder we were started in."""
    root = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def connections_that_fit(wanted: int) -> int:
    """Have the system let this process open more files; how many connections, up to `wanted`, that leaves room for."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < goal:
        with contextlib.suppress(ValueError, OSError):  # macOS admits less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
            soft = goal
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - FILES_BESIDE))
