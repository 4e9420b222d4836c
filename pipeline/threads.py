"""How many threads numpy and OpenCV may use: one, the thread that calls them."""

from __future__ import annotations

import cv2
from threadpoolctl import ThreadpoolController

__all__ = ["compute_in_calling_thread"]


def compute_in_calling_thread() -> None:
    """Have OpenCV and numpy's BLAS compute in the thread that calls them, in the whole process.

    The engine's pool of threads spreads sessions over the cores. Threads of the libraries would only contend with it:
    OpenBLAS waits for its own in a busy loop. On a slow machine one speaking viewer took 1.27 cores with them, and 0.41
    without.
    """
    cv2.setNumThreads(1)
    # This reaches the OpenBLAS that is loaded now, which is numpy's. torch chooses its threads in torch_device.py.
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)
