"""Threads for computing: numpy and OpenCV run in the calling thread, and long work in one that yields to all others."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
from threadpoolctl import ThreadpoolController

__all__ = ["background_thread", "compute_in_calling_thread"]

BACKGROUND_NICENESS = 10


def compute_in_calling_thread() -> None:
    """Make OpenCV and numpy's BLAS compute in the calling thread, for the whole process.

    The engine's thread pool already spreads sessions over the cores, and threads of these libraries would compete with
    it: OpenBLAS waits for its own in a busy loop. On a slow machine one speaking viewer took 1.27 cores with them, and
    0.41 without.
    """
    cv2.setNumThreads(1)
    # This affects the OpenBLAS that is loaded now, which is numpy's. torch's threads are set in torch_device.py.
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)


def background_thread(name: str) -> ThreadPoolExecutor:
    """Return a pool of one low-priority thread, for long work that must not slow down drawing.

    On Linux niceness belongs to a thread, and threads that it starts inherit it. Elsewhere it would apply to the whole
    process, so it is left as it is.
    """
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_yield_to_others)


def _yield_to_others() -> None:
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)
