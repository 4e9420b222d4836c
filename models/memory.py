"""Recognises errors that mean that a device's memory is full. Standard library only."""

from __future__ import annotations

__all__ = ["means_no_room"]

_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "Invalid buffer size",
    "ALLOC_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "unable to find an engine to execute",
)
"""Signs in messages of RuntimeErrors. CUDA has its own subclass; MPS, the CPU and CUDA's libraries have none."""


def means_no_room(error: Exception) -> bool:
    """Whether the error means that a device's memory is full."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )
