"""The process of a Push to the virtual camera: takes frames from its input, and shows their pictures in the camera.

Its input and its answers are those of `pipeline/push_child.py`. It is a process of its own because pyvirtualcam is
under the GPL, and must stay apart from the portal. A camera has no sound, so the sound is dropped.
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
    """The part of pyvirtualcam.Camera that is used here."""

    def send(self, frame: ImageArray) -> None:
        """Show a picture: uint8 RGB (height, width, 3). Raises RuntimeError."""
        ...

    def close(self) -> None: ...


def open_camera(width: int, height: int) -> PictureSink:
    """Open the camera. Raises ImportError, and RuntimeError if there is none or another program uses it."""
    from pyvirtualcam import Camera, PixelFormat

    camera: PictureSink = Camera(width, height, FPS, fmt=PixelFormat.RGB)
    return camera


def serve(frames: BinaryIO, answers: BinaryIO, open_sink: Callable[[int, int], PictureSink] = open_camera) -> int:
    """Show pictures until the input ends. Returns the exit status."""
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
