"""Tunes the server process: memory allocation, garbage collection, thread switching, open files, child processes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "child_environment",
    "connections_that_fit",
    "give_pictures_back",
    "leave_settled_objects_alone",
    "let_the_loop_in",
    "without_collections",
]

# Parameters of mallopt(), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
PICTURE_BYTES = 256 * 1024
"""Blocks above this size are pictures or a model's working memory: short-lived, of many sizes, from many threads."""
KEPT_BYTES = 4 * 1024 * 1024
"""Free memory at the top of the heap above this size goes back to the system."""
SWITCH_S = 0.0005
"""How often Python switches between threads that compute."""
RESERVED_FILES = 256
"""Open files that are not connections: databases, avatars, WebRTC's sockets, pipes."""
FILES_WANTED = 65536
"""Most open files that we ask the system for."""


def give_pictures_back() -> bool:
    """Make glibc return the memory of pictures to the system when they are freed.

    By default, glibc raises its mmap threshold with every large block that is freed, and keeps such blocks in an arena
    for each thread. Then five speaking sessions take twice the memory that they hold.

    Call before threads are started. Returns False if there is no glibc, or it refused.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    # Setting a threshold also stops glibc from adjusting it. With one arena, no thread keeps freed memory of its own.
    wanted = {M_MMAP_THRESHOLD: PICTURE_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_ARENA_MAX: 1}
    accepted = [libc.mallopt(parameter, value) == 1 for parameter, value in wanted.items()]
    return all(accepted)


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Collect no garbage within the block, and exclude all objects that exist at its end. For importing and building.

    That makes hundreds of thousands of objects, most of which stay. Walking them again and again took a sixth of the
    time in which the portal starts. leave_settled_objects_alone() collects the few that do not stay.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def leave_settled_objects_alone() -> None:
    """Exclude all objects that exist now from garbage collection. Call once everything is loaded.

    A full collection walks every object, most of them from imported modules, while the event loop stands still. That
    takes tens of milliseconds, and every viewer would hear it when somebody joins or leaves.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def let_the_loop_in() -> None:
    """Make threads that compute release the interpreter (the GIL) sooner than after Python's default of 5 ms.

    The event loop has to wait for the GIL after every system call. While a sentence was being synthesized, a handful of
    such waits made sound 30 ms late.
    """
    sys.setswitchinterval(SWITCH_S)


def child_environment() -> dict[str, str]:
    """Return our environment, extended so that a child process finds our packages from whatever folder."""
    root = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def connections_that_fit(wanted: int) -> int:
    """Raise this process's limit on open files. Return how many connections, up to `wanted`, it leaves room for."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < goal:
        with contextlib.suppress(ValueError, OSError):  # macOS allows less than its hard limit says
            resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
            soft = goal
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - RESERVED_FILES))
