"""The process of a Push to the virtual camera: takes frames from its input, and shows their pictures there.

Its input and its answers are those of `pipeline/push_child.py`. A process of its own keeps pyvirtualcam, which is under
the GPL, apart from the portal. A camera has no sound; it is left out.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import BinaryIO, Protocol

from pipeline.push_child import FLAWED, LIVE, read_frame, tell, tell_trouble
from pipeline.types import FPS, ImageArray

__all__ = ["PictureSink", "serve"]


class PictureSink(Protocol):
    """What is needed here of pyvirtualcam.Camera."""

    def send(self, frame: ImageArray) -> None:
        """uint8 RGB (height, width, 3). Raises RuntimeError."""
        ...

    def close(self) -> None: ...


def open_camera(width: int, height: int) -> PictureSink:
    """Raises RuntimeError (no camera, or one that another program uses), ImportError."""
    from pyvirtualcam import Camera, PixelFormat

    camera: PictureSink = Camera(width, height, FPS, fmt=PixelFormat.RGB)
    return camera


def serve(frames: BinaryIO, answers: BinaryIO, open_sink: Callable[[int, int], PictureSink] = open_camera) -> int:
    """Returns the exit status."""
    order = json.loads(frames.readline())
    width, height = order["width"], order["height"]
    try:
        camera = open_sink(width, height)
        try:
            tell(answers, LIVE)
            while (frame := read_frame(frames, width, height)) is not None:
                camera.send(frame[2])
        finally:
            camera.close()
    except (RuntimeError, ImportError, OSError) as error:
        tell_trouble(answers, "camera", str(error))
        return FLAWED
    return 0


if __name__ == "__main__":
    os._exit(serve(sys.stdin.buffer, sys.stdout.buffer))
