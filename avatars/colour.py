"""Colours as a colour-managed viewer shows them: whatever a picture or a clip is coded in ends as sRGB.

Photos carry an ICC profile, or words that stand for one; LittleCMS converts them. Clips, and the newer pictures, carry
numbers (the code points of ITU-T H.273) for primaries, transfer curve and YUV matrix; FFmpeg's scaler converts those,
and brings HLG and PQ down to the white of a usual screen: what is no brighter than 203 nits (the white of ITU-R
BT.2408) looks as meant, faces among it, and brighter lights are white.
What Vivavoce writes itself is coded and tagged as BT.709.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from av.codec.context import CodecContext
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from PIL import Image, ImageCms

from avatars.errors import BadMedia
from avatars.filtering import filter_row, form_of

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

ImageArray = npt.NDArray[np.uint8]
Chromaticity = tuple[float, float]

# Code points of ITU-T H.273; FFmpeg counts as it does.
UNSPECIFIED: Final = 2
BT709: Final = 1
BT2020: Final = 9
BT601_MATRICES: Final = (5, 6)
SRGB_TRANSFER: Final = 13
HDR_TRANSFERS: Final = (16, 18)
"PQ and HLG"
OTHER_CURVES: Final = (4, 5, 8, 17)
"gamma 2.2 and 2.8, linear light, digital cinema; viewers show every other curve as if it was sRGB's"
PRIMARIES: Final = (1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22)
MATRICES: Final = (1, 4, 5, 6, 7, 9)
"which FFmpeg's scaler can undo"
LIMITED_RANGE, FULL_RANGE = 1, 2

ACCURATE: Final = "flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp"
"without it chroma is off by up to 3 levels"

SRGB_CHROMATICITIES: Final = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_CHROMATICITIES: Final = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ADOBE_GAMMA: Final = 563 / 256
EXIF_IFD, EXIF_COLOUR_SPACE, INTEROP_IFD, INTEROP_INDEX = 0x8769, 0xA001, 0xA005, 1
CODE_POINTS_WITHIN: Final = 65536
"bytes at the beginning of a picture in which its code points are looked for"


@dataclass(frozen=True, slots=True)
class FrameColours:
    """How RGB is to be made of the numbers in a frame, as code points of ITU-T H.273."""

    primaries: int
    transfer: int
    matrix: int
    "0: the frame is RGB or grey already"
    colour_range: int

    @classmethod
    def of(cls, frame: VideoFrame) -> FrameColours:
        """What the frame says; where it does not, what viewers assume: BT.709 for HD, BT.601 for smaller pictures.

        Raises BadMedia: coded in a way that FFmpeg cannot undo.
        """
        transfer, primaries, matrix = int(frame.color_trc), int(frame.color_primaries), int(frame.colorspace)
        hdr = transfer in HDR_TRANSFERS
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
            )
        said = int(frame.color_range)
        full = said == FULL_RANGE or frame.format.name.startswith("yuvj") or (matrix == 0 and said != LIMITED_RANGE)
        full = full or frame.format.is_rgb
        return cls(primaries, transfer, matrix, FULL_RANGE if full else LIMITED_RANGE)

    def mapping(self) -> str:
        """Options for FFmpeg's scaler from RGB in these colours to sRGB; "" if it is that already."""
        curved = self.transfer in (*HDR_TRANSFERS, *OTHER_CURVES)
        if self.primaries == BT709 and not curved:
            return ""
        transfer = self.transfer if curved else SRGB_TRANSFER
        return (
            f"in_primaries={self.primaries}:in_transfer={transfer}:out_primaries={BT709}:out_transfer={SRGB_TRANSFER}"
        )


class FramePainter:
    """Frames of FFmpeg -> uint8 RGB (h, w, 3) in sRGB. Frames may change their form in mid-course."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._graph: Graph | None = None

    def paint(self, frame: VideoFrame, width: int, height: int) -> ImageArray:
        """The frame stretched to that size. Raises BadMedia (see FrameColours.of), av.FFmpegError."""
        key = (*form_of(frame), width, height)
        if self._graph is None or key != self._key:
            self._graph, self._key = _painting_graph(frame, FrameColours.of(frame), width, height), key
        self._graph.push(frame)
        painted = self._graph.pull()
        assert isinstance(painted, VideoFrame)
        return np.ascontiguousarray(painted.to_ndarray())


def bt709_frame(rgb: ImageArray) -> VideoFrame:
    """uint8 RGB (h, w, 3) of even size -> yuv420p, coded and tagged as BT.709 in limited range."""
    frame = VideoFrame.from_ndarray(rgb, format="rgb24")
    coded = _run_once(frame, f"w=iw:h=ih:{ACCURATE}:out_color_matrix=bt709:out_range=limited", "yuv420p")
    coded.color_primaries = coded.color_trc = BT709
    return coded


def tag_bt709(context: VideoCodecContext | CodecContext) -> None:
    """Have an encoder say what bt709_frame() makes. Call it before the first frame."""
    assert isinstance(context, VideoCodecContext)
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE


@dataclass(frozen=True, slots=True)
class PhotoColours:
    """What a photo says of its colours. Neither: it is sRGB."""

    profile: bytes | None = None
    "ICC"
    coded: tuple[int, int] | None = None
    "primaries and transfer by ITU-T H.273"


def colours_of(image: Image.Image, head: bytes) -> PhotoColours:
    """What an opened picture says of its colours; `head` is how its file begins.

    In the order that viewers follow: code points, ICC profile, PNG's gamma and primaries, a camera's word.
    """
    coded = _code_points(image.format or "", head[:CODE_POINTS_WITHIN])
    if coded is not None and coded[0] not in PRIMARIES:
        coded = None
    profile = image.info.get("icc_profile")
    if profile and (coded is None or image.format == "AVIF"):  # PNG's code points win, AVIF's say only how it is stored
        return PhotoColours(profile=profile)
    if coded is not None:
        return PhotoColours(coded=coded)
    gamma = image.info.get("gamma")
    if image.format == "PNG" and gamma and "srgb" not in image.info:
        return PhotoColours(profile=matrix_profile(image.info.get("chromaticity") or SRGB_CHROMATICITIES, 1 / gamma))
    return PhotoColours(profile=matrix_profile(ADOBE_CHROMATICITIES, ADOBE_GAMMA) if _is_adobe(image) else None)


def to_srgb(image: Image.Image, colours: PhotoColours) -> Image.Image:
    """A picture of 8 bits a channel as RGB, or RGBA where it is transparent, in sRGB.

    A profile that is damaged, or of another kind of colours than the picture, is passed over, as viewers do.
    """
    transparent = image.has_transparency_data
    if image.mode not in ("L", "RGB", "RGBA", "CMYK") or (transparent and image.mode != "RGBA"):
        image = image.convert("RGBA" if transparent else "L" if image.mode == "1" else "RGB")
    if colours.profile:
        image = _by_profile(image, colours.profile)
    image = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
    return _by_code_points(image, *colours.coded) if colours.coded else image


def matrix_profile(chromaticities: tuple[float, ...], gamma: float) -> bytes:
    """An ICC profile (version 4) of three primaries and one gamma.

    `chromaticities`: x and y of white, red, green and blue, as PNG's cHRM has them.
    """
    xyz = [np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in _pairs(chromaticities)]
    white, primaries = xyz[0], np.stack(xyz[1:], axis=1)
    adapted = _to_d50(white) @ (primaries * np.linalg.solve(primaries, white))
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


D50: Final = (0.9642, 1.0, 0.8249)
BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _to_d50(white: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The matrix (3, 3) on XYZ that turns this white into D50, which ICC profiles are about."""
    gain = (BRADFORD @ np.array(D50)) / (BRADFORD @ white)
    return np.asarray(np.linalg.inv(BRADFORD) @ np.diag(gain) @ BRADFORD, np.float64)


def _pairs(numbers: tuple[float, ...]) -> list[Chromaticity]:
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def _is_adobe(image: Image.Image) -> bool:
    """Cameras have no profile for Adobe RGB: they write a number of their own, or the mark R03 (DCF)."""
    exif = Image.Image.getexif(image)  # PNG's own one would decode all pixels
    try:
        if exif.get_ifd(EXIF_IFD).get(EXIF_COLOUR_SPACE) == 2:
            return True
        return str(exif.get_ifd(INTEROP_IFD).get(INTEROP_INDEX, "")).startswith("R03")
    except (KeyError, ValueError, TypeError, SyntaxError, OSError, struct.error):  # Pillow, of one absent or damaged
        return False


def _code_points(kind: str, head: bytes) -> tuple[int, int] | None:
    """Primaries and transfer that a PNG (cICP) or an AVIF (colr nclx) names."""
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
    mapping = FrameColours(primaries, transfer, 0, FULL_RANGE).mapping()
    if not mapping:
        return image
    frame = VideoFrame.from_ndarray(np.asarray(image.convert("RGB")), format="rgb24")
    mapped = Image.fromarray(_run_once(frame, f"w=iw:h=ih:{mapping}", "rgb24").to_ndarray())
    if image.mode == "RGBA":
        mapped.putalpha(image.getchannel("A"))
    return mapped


def _run_once(frame: VideoFrame, scale: str, pixels: str) -> VideoFrame:
    graph = filter_row(frame, [("scale", scale), ("format", pixels)])
    graph.push(frame)
    result = graph.pull()
    assert isinstance(result, VideoFrame)
    return result


def _painting_graph(frame: VideoFrame, colours: FrameColours, width: int, height: int) -> Graph:
    decoded = f"in_color_matrix={colours.matrix}:" if colours.matrix else ""
    levels = "full" if colours.colour_range == FULL_RANGE else "limited"
    chain = [("scale", f"w={width}:h={height}:{ACCURATE}:{decoded}in_range={levels}:out_range=full")]
    mapping = colours.mapping()
    if mapping:  # after the scaling: it costs 60 ms a megapixel
        # Planes, because the scaler forgets the matrix on its way from 10 bits of 4:2:0 to packed rgb48.
        chain += [("format", "gbrp16le"), ("scale", f"w=iw:h=ih:{mapping}")]
    return filter_row(frame, [*chain, ("format", "rgb24")])
