"""Facts about an upload, limits for its size, and the sizes that pictures are scaled to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from avatars.errors import BadMedia
from models.arrays import ImageArray

__all__ = [
    "FPS",
    "MAX_CLIP_PIXELS",
    "MAX_CLIP_S",
    "MAX_PHOTO_PIXELS",
    "MAX_SIDE_PX",
    "MIN_SIDE_PX",
    "USED_CLIP_S",
    "MediaInfo",
    "check_size",
    "even_size",
    "fit_within",
    "too_large",
]


FPS: Final = 25
MAX_SIDE_PX: Final = 1280
"Limit for the longer side of an avatar; larger uploads are scaled down."
MIN_SIDE_PX: Final = 64
MAX_PHOTO_PIXELS: Final = 64_000_000
MAX_CLIP_PIXELS: Final = 4096 * 2304
MAX_CLIP_S: Final = 300.0
"Longer clips are refused."
USED_CLIP_S: Final = 30.0
"Only this much from the start of a longer clip becomes the avatar."


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """Facts from the header of an upload."""

    kind: str
    "photo or clip"
    format: str
    "such as JPEG, mp4, matroska"
    width: int
    "px; for a photo as shown (after its EXIF orientation), for a clip as stored"
    height: int
    duration_s: float | None = None
    "None for a photo, or if the clip's header does not give it"
    fps: float | None = None


def even_size(width: float, height: float, max_side: float) -> tuple[int, int]:
    """Return width and height scaled down to fit `max_side`, both even and at least 2."""
    scale = min(1.0, max_side / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def fit_within(rgb: ImageArray, max_side: int) -> ImageArray:
    """Scale a picture down to `max_side`, with even sides (an odd last row or column is cut off)."""
    height, width = rgb.shape[:2]
    if max(height, width) <= max_side:
        return np.ascontiguousarray(rgb[: height // 2 * 2, : width // 2 * 2])
    return np.asarray(cv2.resize(rgb, even_size(width, height, max_side), interpolation=cv2.INTER_AREA), np.uint8)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise BadMedia if a picture is over the limit, or too small."""
    if width * height > max_pixels:
        raise too_large(max_pixels, width, height)
    if min(width, height) < MIN_SIDE_PX:
        raise BadMedia(
            f"The picture is only {width} x {height} px.",
            f"It needs at least {MIN_SIDE_PX} px on each side.",
            cause="too_small",
        )


def too_large(max_pixels: int, width: int = 0, height: int = 0) -> BadMedia:
    """Return the error for a picture with too many pixels; width and height if they are known."""
    size = f"{width * height / 1e6:.0f} megapixels ({width} x {height})" if width else "too many megapixels"
    return BadMedia(
        f"The picture has {size}; at most {max_pixels / 1e6:.0f} are taken.",
        f"Scale it down: avatars keep up to {MAX_SIDE_PX} px on the long side.",
        cause="too_many_pixels",
    )
