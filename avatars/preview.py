"""What galleries show of an avatar: a poster, and a small moving preview."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import encode_jpeg
from avatars.colour import bt709_frame, tag_bt709
from avatars.media_limits import FPS, even_size

__all__ = ["encode_preview", "make_poster"]

ImageArray = npt.NDArray[np.uint8]

POSTER_SIDE_PX = 512
PREVIEW_SIDE_PX = 320
PREVIEW_FRAMES = 33
"shown forward and back again: 2.6 s that can be repeated without a jump"


def make_poster(rgb: ImageArray) -> bytes:
    """JPEG of at most 512 px on the long side."""
    return encode_jpeg(_small(rgb, POSTER_SIDE_PX), 88)


def encode_preview(frames: Iterable[ImageArray], path: Path) -> None:
    """Write a small H.264 MP4 that begins to play before it is loaded whole. Reads only the first frames.

    Raises OSError (disk full).
    """
    forth = [_small(rgb, PREVIEW_SIDE_PX) for rgb in islice(frames, PREVIEW_FRAMES)]
    height, width = forth[0].shape[:2]
    with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as output:
        stream = output.add_stream("libx264", rate=FPS, options={"crf": "26", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        tag_bt709(stream.codec_context)
        for rgb in (*forth, *forth[-2:0:-1]):
            output.mux(stream.encode(bt709_frame(rgb)))
        output.mux(stream.encode(None))


def _small(rgb: ImageArray, side_px: int) -> ImageArray:
    size = even_size(rgb.shape[1], rgb.shape[0], side_px)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
