"""Whether an error says that the memory of a device is full. Standard library only."""

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
"""In messages of RuntimeErrors: CUDA's has a type of its own below it; MPS, the CPU and CUDA's libraries have none."""


def means_no_room(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )
