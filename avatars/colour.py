"""Colour management: converts pictures and clips to sRGB from whatever they are coded in, and tags what we write.

Photos carry an ICC profile, or tags that stand for one; LittleCMS converts them. Clips, and newer picture formats, name
their primaries, transfer curve and YUV matrix by the code points of ITU-T H.273. FFmpeg's scaler undoes the matrix, and
`light` does the rest. Everything that Vivavoce writes is coded and tagged as BT.709.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from av.codec.context import CodecContext
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from PIL import Image, ImageCms

from avatars.errors import BadMedia
from avatars.filtering import filter_row, form_of
from avatars.light import CURVES, D50, HDR_CURVES, PRIMARIES, LightMap, light_map, xyz_d50
from models.arrays import ImageArray

__all__ = [
    "CODE_POINTS_WITHIN",
    "FULL_RANGE",
    "LIMITED_RANGE",
    "UNSPECIFIED",
    "FrameColours",
    "FramePainter",
    "PhotoColours",
    "bt709_frame",
    "colours_of",
    "matrix_profile",
    "tag_bt709",
    "to_srgb",
]


# Code points of ITU-T H.273. FFmpeg uses the same numbers.
UNSPECIFIED: Final = 2
BT709: Final = 1
BT2020: Final = 9
BT601_MATRICES: Final = (5, 6)
MATRICES: Final = (1, 4, 5, 6, 7, 9)
"Matrices that FFmpeg's scaler can undo."
LIMITED_RANGE, FULL_RANGE = 1, 2
STRETCH: Final = ":".join(f"{one}imin={16 / 255}:{one}imax={235 / 255}" for one in "rgb")
"Options of the filter `colorlevels` that stretch limited range to full range."

ACCURATE: Final = "flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp"
"Without these flags, chroma is off by up to 3 levels."

SRGB_CHROMATICITIES: Final = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_CHROMATICITIES: Final = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ADOBE_GAMMA: Final = 563 / 256
EXIF_IFD, EXIF_COLOUR_SPACE, INTEROP_IFD, INTEROP_INDEX = 0x8769, 0xA001, 0xA005, 1
CODE_POINTS_WITHIN: Final = 65536
"Code points are searched for in this many bytes at the start of a picture."


@dataclass(frozen=True, slots=True)
class FrameColours:
    """How the numbers in a frame are to be read as colours; code points of ITU-T H.273."""

    primaries: int
    transfer: int
    matrix: int
    "0 if the frame is RGB or grey already"
    colour_range: int

    @classmethod
    def of(cls, frame: VideoFrame) -> FrameColours:
        """Return the colours that a frame names. Missing ones are what players assume: BT.709 for HD, BT.601 below.

        Raises BadMedia if FFmpeg cannot undo the coding.
        """
        transfer, primaries, matrix = int(frame.color_trc), int(frame.color_primaries), int(frame.colorspace)
        hdr = transfer in HDR_CURVES
        if primaries not in PRIMARIES:
            primaries = BT2020 if hdr else BT709
        if frame.format.is_rgb or len(frame.format.components) < 3:
            matrix = 0
        elif matrix in (0, UNSPECIFIED, 3):
            large = frame.height >= 720 or frame.width >= 1280
            matrix = BT2020 if hdr else BT709 if large else BT601_MATRICES[1]
        elif matrix not in MATRICES:
            raise BadMedia(
                "The colours of this clip are coded in a way that cannot be read.",
                "Export it as MP4 (H.264) without HDR or Dolby Vision.",
                cause="colours",
            )
        said = int(frame.color_range)
        full = said == FULL_RANGE or frame.format.name.startswith("yuvj") or (matrix == 0 and said != LIMITED_RANGE)
        full = full or frame.format.is_rgb
        return cls(primaries, transfer, matrix, FULL_RANGE if full else LIMITED_RANGE)

    def light_map(self, white: int) -> LightMap | None:
        """Return the map to sRGB from RGB in these colours, whose largest value is `white`; None if it is sRGB."""
        if self.primaries == BT709 and self.transfer not in CURVES:
            return None
        return light_map(self.primaries, self.transfer, white)


class FramePainter:
    """Paints FFmpeg's frames as uint8 RGB (h, w, 3) in sRGB. The frames' size and format may change midway."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._graph: Graph | None = None
        self._light: LightMap | None = None

    def paint(self, frame: VideoFrame, width: int, height: int) -> ImageArray:
        """Return the frame, scaled to width x height px. Raises BadMedia (see FrameColours.of), av.FFmpegError."""
        key = (*form_of(frame), width, height)
        if self._graph is None or key != self._key:
            colours = FrameColours.of(frame)
            self._light = colours.light_map(_white(frame, colours))
            self._graph, self._key = _painting_graph(frame, colours, width, height, deep=self._light is not None), key
        self._graph.push(frame)
        painted = self._graph.pull()
        assert isinstance(painted, VideoFrame)
        if self._light is None:
            return np.ascontiguousarray(painted.to_ndarray())
        return self._light.apply(np.asarray(painted.to_ndarray(), np.uint16))


def bt709_frame(rgb: ImageArray, pixel_format: str = "yuv420p") -> VideoFrame:
    """Encode uint8 RGB (h, w, 3) or RGBA (h, w, 4) of even size as YUV, coded and tagged as BT.709, limited range."""
    frame = VideoFrame.from_ndarray(rgb, format="rgb24" if rgb.shape[2] == 3 else "rgba")
    coded = _run_once(frame, f"w=iw:h=ih:{ACCURATE}:out_color_matrix=bt709:out_range=limited", pixel_format)
    coded.color_primaries = coded.color_trc = BT709
    return coded


def tag_bt709(context: VideoCodecContext | CodecContext) -> None:
    """Make an encoder tag its output as what bt709_frame() makes. Call this before the first frame."""
    assert isinstance(context, VideoCodecContext)
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE


@dataclass(frozen=True, slots=True)
class PhotoColours:
    """The colours that a photo names. If both fields are None, it is sRGB."""

    profile: bytes | None = None
    "ICC profile"
    coded: tuple[int, int] | None = None
    "primaries and transfer, code points of ITU-T H.273"


def colours_of(image: Image.Image, head: bytes) -> PhotoColours:
    """Return the colours that an opened picture names. head: the first bytes of its file.

    The order of precedence is that of image viewers: code points, ICC profile, PNG's gamma and primaries, EXIF.
    """
    coded = _code_points(image.format or "", head[:CODE_POINTS_WITHIN])
    if coded is not None and coded[0] not in PRIMARIES:
        coded = None
    profile = image.info.get("icc_profile")
    if profile and (coded is None or image.format == "AVIF"):  # in AVIF the code points describe the storage only
        return PhotoColours(profile=profile)
    if coded is not None:
        return PhotoColours(coded=coded)
    gamma = image.info.get("gamma")
    if image.format == "PNG" and gamma and "srgb" not in image.info:
        return PhotoColours(profile=matrix_profile(image.info.get("chromaticity") or SRGB_CHROMATICITIES, 1 / gamma))
    return PhotoColours(profile=matrix_profile(ADOBE_CHROMATICITIES, ADOBE_GAMMA) if _is_adobe(image) else None)


def to_srgb(image: Image.Image, colours: PhotoColours) -> Image.Image:
    """Convert a picture with 8 bits per channel to sRGB; the result is RGB, or RGBA if it has transparency.

    A profile that is damaged, or does not match the picture's mode, is ignored, as image viewers do.
    """
    transparent = image.has_transparency_data
    if image.mode not in ("L", "RGB", "RGBA", "CMYK") or (transparent and image.mode != "RGBA"):
        image = image.convert("RGBA" if transparent else "L" if image.mode == "1" else "RGB")
    if colours.profile:
        image = _by_profile(image, colours.profile)
    image = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
    return _by_code_points(image, *colours.coded) if colours.coded else image


def matrix_profile(chromaticities: tuple[float, ...], gamma: float) -> bytes:
    """Return an ICC profile (version 4) with three primaries and one gamma.

    chromaticities: x and y of white, red, green and blue, as in PNG's cHRM.
    """
    adapted = xyz_d50(chromaticities)
    curve = b"para" + bytes(8) + _fixed(gamma)
    tags = {
        b"wtpt": b"XYZ " + bytes(4) + b"".join(map(_fixed, D50)),
        **{
            name: b"XYZ " + bytes(4) + b"".join(map(_fixed, column))
            for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), adapted.T, strict=True)
        },
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value
    size = start + len(body)
    header = struct.pack(">I4x4s4s4s4s12x4s28x", size, b"\x04\0\0\0", b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return (header + b"".join(map(_fixed, D50))).ljust(128, b"\0") + table + body


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def _is_adobe(image: Image.Image) -> bool:
    """Whether EXIF names Adobe RGB. Cameras write no profile for it, only colour space 2, or the mark R03 (DCF)."""
    exif = Image.Image.getexif(image)  # PngImageFile.getexif() would decode all pixels
    try:
        if exif.get_ifd(EXIF_IFD).get(EXIF_COLOUR_SPACE) == 2:
            return True
        return str(exif.get_ifd(INTEROP_IFD).get(INTEROP_INDEX, "")).startswith("R03")
    except (KeyError, ValueError, TypeError, SyntaxError, OSError, struct.error):  # Pillow, for missing or damaged EXIF
        return False


def _code_points(kind: str, head: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer from the cICP of a PNG or the `colr nclx` of an AVIF; None if there are none."""
    if kind == "PNG":
        at, form = head.find(b"\0\0\0\x04cICP"), ">BB"
    elif kind == "AVIF":
        at, form = head.find(b"colrnclx"), ">HH"
    else:
        return None
    if at < 0:
        return None
    try:
        primaries, transfer = struct.unpack_from(form, head, at + 8)
    except struct.error:
        return None
    return primaries, transfer


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        if space != {"L": "GRAY", "CMYK": "CMYK"}.get(image.mode, "RGB"):
            return image
        output = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=output)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted


def _by_code_points(image: Image.Image, primaries: int, transfer: int) -> Image.Image:
    light = FrameColours(primaries, transfer, 0, FULL_RANGE).light_map(255)
    if light is None:
        return image
    mapped = Image.fromarray(light.apply(np.asarray(image.convert("RGB"))))
    if image.mode == "RGBA":
        mapped.putalpha(image.getchannel("A"))
    return mapped


def _run_once(frame: VideoFrame, scale: str, pixels: str) -> VideoFrame:
    graph = filter_row(frame, [("scale", scale), ("format", pixels)])
    graph.push(frame)
    result = graph.pull()
    assert isinstance(result, VideoFrame)
    return result


def _white(frame: VideoFrame, colours: FrameColours) -> int:
    """Return the value of white in the scaler's 16-bit output.

    The scaler appends zero bits to each value, so white is less than 65535. In limited range it is as low as if the
    frame had 8 bits. This matters: half a percent of light is 7 levels of the dark channel in a strong green of HLG.
    """
    if _is_stretched(colours):
        return 65535
    bits = frame.format.components[0].bits if colours.colour_range == FULL_RANGE else 8
    return int(65536 - 2 ** (16 - bits))


def _is_stretched(colours: FrameColours) -> bool:
    """Whether the range must be stretched by us: the scaler takes any RGB or grey frame for full range."""
    return colours.matrix == 0 and colours.colour_range == LIMITED_RANGE


def _painting_graph(frame: VideoFrame, colours: FrameColours, width: int, height: int, *, deep: bool) -> Graph:
    decoded = f"in_color_matrix={colours.matrix}:" if colours.matrix else ""
    levels = "full" if colours.colour_range == FULL_RANGE else "limited"
    scale = f"w={width}:h={height}:{ACCURATE}:{decoded}in_range={levels}:out_range=full"
    stretch = [("colorlevels", STRETCH)] if _is_stretched(colours) else []
    # Planar, because on the way from 10-bit 4:2:0 to packed rgb48 the scaler ignores the matrix.
    return filter_row(frame, [("scale", scale), ("format", "gbrp16le" if deep else "rgb24"), *stretch])
