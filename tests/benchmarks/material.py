"""What the benchmarks work on: the drawn presets, a photo, and clips made of it."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from avatars.library import AvatarLibrary, presets
from avatars.prepare import prepare_preset

__all__ = ["moving_clip", "photograph", "preset_library"]

CLIP_S = 10
FPS = 25


def preset_library(data_dir: Path) -> AvatarLibrary:
    """A library with the default avatar."""
    library = AvatarLibrary(data_dir / "avatars")
    if presets()[0].id not in library:
        prepare_preset(presets()[0], library)
    return library


def photograph(data_dir: Path) -> Path:
    """A real photo of a person (public domain, in scikit-image's wheel)."""
    import skimage.data

    path = data_dir / "astronaut.png"
    cv2.imwrite(str(path), cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR))
    return path


def moving_clip(data_dir: Path, width: int, height: int) -> Path:
    """Ten seconds of that person swaying, as MP4."""
    import skimage.data

    path = data_dir / f"clip-{width}x{height}.mp4"
    photo = skimage.data.astronaut()
    side = min(width, height)
    scale = side / photo.shape[0]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(CLIP_S * FPS):
            sway = 0.02 * side * np.sin(2 * np.pi * number / (4 * FPS))
            move = np.array([[scale, 0, (width - side) / 2 + sway], [0, scale, (height - side) / 2]], np.float64)
            swayed = cv2.warpAffine(photo, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
            picture = np.asarray(swayed, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    return path
