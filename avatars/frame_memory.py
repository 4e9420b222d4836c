"""Memory for decoded frames that is used again once nobody holds the frame.

A spoken picture begins with a decoded frame, 25 times a second per session. Fresh memory of that size comes from the
system, which clears it page by page at first touch. That takes a third of the time of the decoding itself.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from models.arrays import ImageArray

__all__ = ["FrameMemory"]

_Block = npt.NDArray[np.uint8]

_MAX_FREE = 3
"""Free blocks that are kept for the next frames. While somebody speaks, about as many frames are let go as are taken,
so a few blocks serve many sessions."""
_MAX_BLOCK_BYTES = 8 << 20
"Larger blocks are not kept: three of them would be too much memory for an avatar that nobody looks at."


class FrameMemory:
    """Memory for the frames of one avatar. Thread-safe, because each step on a deque is atomic."""

    def __init__(self) -> None:
        # When it is full, the block that has been free for longest goes back to the system.
        self._free: deque[_Block] = deque(maxlen=_MAX_FREE)

    def frame(self, height: int, width: int) -> ImageArray:
        """Return an array uint8 (height, width, 3) with arbitrary contents.

        Its memory is used again only when neither the array nor any view of it is referenced.
        """
        size = height * width * 3
        try:
            block = self._free.pop()
        except IndexError:
            block = np.empty(size, np.uint8)
        if block.size != size:  # the frames have changed in size, so no free block fits any more
            block = np.empty(size, np.uint8)
        if size > _MAX_BLOCK_BYTES:
            return block.reshape(height, width, 3)
        return np.asarray(_Lent(block, self._free)).reshape(height, width, 3)


class _Lent:
    """Owns a block as long as some array shows it, and then gives the block back."""

    def __init__(self, block: _Block, free: deque[_Block]) -> None:
        self._block, self._free = block, free

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What makes numpy keep this object as the base of the array, and of every view of it."""
        return self._block.__array_interface__

    def __del__(self) -> None:
        self._free.append(self._block)
