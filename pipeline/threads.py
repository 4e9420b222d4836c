"""numpy and OpenCV compute in the thread that calls them; long work gets a thread that yields to all others."""

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
    """Have OpenCV and numpy's BLAS compute in the thread that calls them, in the whole process.

    The engine's pool of threads spreads sessions over the cores. Threads of the libraries would only contend with it:
    OpenBLAS waits for its own in a busy loop. On a slow machine one speaking viewer took 1.27 cores with them, and 0.41
    without.
    """
    cv2.setNumThreads(1)
    # This reaches the OpenBLAS that is loaded now, which is numpy's. torch chooses its threads in torch_device.py.
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)


def background_thread(name: str) -> ThreadPoolExecutor:
    """A pool of one thread for long work that must not slow down drawing. Threads that it starts are like it.

    Niceness belongs to a thread on Linux. Elsewhere it would be that of the whole process, so it stays as it is.
    """
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_yield_to_others)


def _yield_to_others() -> None:
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)
