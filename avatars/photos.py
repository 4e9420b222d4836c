"""Reads photos and animations with Pillow. Limits are checked before pixels are decoded."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from avatars.colour import CODE_POINTS_WITHIN, PhotoColours, colours_of, to_srgb
from avatars.errors import BadMedia
from avatars.media_limits import FPS, MAX_CLIP_PIXELS, MAX_PHOTO_PIXELS, MediaInfo, check_size, fit_within, too_large
from avatars.pieces import START_OF_SCAN
from avatars.signatures import READABLE, first_bytes, is_picture
from models.arrays import ImageArray

__all__ = ["animation_frames", "picture_alpha", "probe_picture", "read_picture"]


PHOTO_FORMATS: Final = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF")
MOVING_FORMATS: Final = ("GIF", "PNG", "WEBP", "AVIF")
"A JPEG may also hold several pictures, but they are not an animation."
ORIENTATION, ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
SHORTEST_MS, HURRIED_MS = 20, 100
"In ms. Browsers show a picture with a time below the first value for the second one."
MAX_SCANS: Final = 100
"Progressive pictures have about ten scans, and the previews in their headers a few more."
DAMAGE: Final = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    KeyError,
    TypeError,
    struct.error,
)
"Exceptions that Pillow raises for damaged files."


def probe_picture(path: Path) -> MediaInfo:
    """Read the header only. Raises BadMedia."""
    Image.init()  # without this, Pillow knows only its five commonest formats at first
    try:
        with _opened(path) as image:
            width, height = image.size
            kind = image.format or "?"
            moving = _is_moving(image)
            # Not image.getexif(): PNG's version would decode all pixels, and the size has not been checked yet.
            if Image.Image.getexif(image).get(ORIENTATION, 1) in ON_ITS_SIDE:
                width, height = height, width
    except Image.DecompressionBombError as error:
        raise too_large(MAX_PHOTO_PIXELS) from error
    except DAMAGE as error:
        if is_picture(first_bytes(path)):
            raise _damaged() from error
        raise BadMedia(
            "The file is neither a picture nor a clip that can be read.", READABLE, cause="unknown_type"
        ) from error
    check_size(width, height, MAX_CLIP_PIXELS if moving else MAX_PHOTO_PIXELS)
    if kind == "JPEG" and _has_too_many_scans(path):
        raise _slow_to_decode()
    return MediaInfo("clip" if moving else "photo", kind, width, height)


def _has_too_many_scans(path: Path) -> bool:
    """Whether it is a JPEG with too many passes: each one costs as much to decode as an ordinary picture."""
    scans, last = 0, b""
    with path.open("rb") as file:
        while piece := file.read(2**20):
            scans += (last + piece).count(START_OF_SCAN)
            last = piece[-1:]
    return scans > MAX_SCANS


def read_picture(path: Path, max_side: int | None) -> ImageArray:
    """Decode the first picture; see avatars.media.read_photo. Raises BadMedia."""
    probe_picture(path)
    try:
        with _opened(path) as image:
            colours = colours_of(image, first_bytes(path, CODE_POINTS_WITHIN))
            if max_side is not None:
                image.draft("RGB", (max_side, max_side))  # a JPEG is then decoded at a fraction of its size
            rgb = _flattened(ImageOps.exif_transpose(image), colours)
    except DAMAGE as error:
        raise _damaged() from error
    return fit_within(rgb, max_side or max(rgb.shape[:2]))


def picture_alpha(path: Path, max_side: int | None) -> ImageArray | None:
    """Return the opacity of each pixel of read_picture(); see avatars.media.read_alpha. Raises BadMedia."""
    try:
        with _opened(path) as image:
            if not image.has_transparency_data:
                return None
            alpha = np.array(ImageOps.exif_transpose(image).convert("RGBA").getchannel("A"), np.uint8)
    except DAMAGE as error:
        raise _damaged() from error
    return None if alpha.min() == 255 else fit_within(alpha, max_side or max(alpha.shape))


def animation_frames(path: Path, max_side: int) -> Iterator[ImageArray]:
    """Give the pictures of an animation at 25 a second, each repeated for as long as it is shown.

    Raises BadMedia if no picture can be decoded. After a damaged picture, the rest is dropped.
    """
    end_s = 0.0
    count = 0
    try:
        with _opened(path) as image:
            colours = colours_of(image, first_bytes(path, CODE_POINTS_WITHIN))
            for picture in ImageSequence.Iterator(image):
                picture.load()  # for WebP and AVIF, Pillow knows the duration only after decoding
                shown_ms = float(picture.info.get("duration") or 0)
                end_s += (shown_ms if shown_ms >= SHORTEST_MS else HURRIED_MS) / 1000
                rgb = fit_within(_flattened(picture, colours), max_side)
                while count == 0 or count / FPS < end_s - 1e-6:
                    yield rgb
                    count += 1
    except DAMAGE as error:
        if not count:
            raise _damaged() from error


def _slow_to_decode() -> BadMedia:
    return BadMedia(
        "The picture is coded in a way that takes minutes to decode.",
        "Save it again in any program.",
        cause="slow_to_decode",
    )


def _damaged() -> BadMedia:
    return BadMedia("The picture is damaged or cut off.", "Save it again, or upload another one.", cause="damaged")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below Pillow's
        with Image.open(path, formats=PHOTO_FORMATS) as image:
            yield image


def _is_moving(image: Image.Image) -> bool:
    return image.format in MOVING_FORMATS and bool(getattr(image, "is_animated", False))


def _flattened(image: Image.Image, colours: PhotoColours) -> ImageArray:
    """Convert any picture to 8-bit sRGB; transparent parts are laid on white."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        deep = np.asarray(image, np.float32)
        image = Image.fromarray(np.clip(deep / (257.0 if deep.max() > 255 else 1.0), 0, 255).astype(np.uint8))
    image = to_srgb(image, colours)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    return np.array(image, np.uint8)
