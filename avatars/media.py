"""Reading uploads: photos by Pillow, clips by PyAV. Untrusted input: limits are checked before pixels are decoded.

A file is what its first bytes say, never its name. Clips are streamed: one picture is in memory at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageOps

from avatars.colour import CODE_POINTS_WITHIN, FramePainter, PhotoColours, colours_of, to_srgb
from avatars.errors import BadMedia

__all__ = [
    "FPS",
    "MAX_CLIP_S",
    "MAX_PHOTO_PIXELS",
    "MAX_SIDE_PX",
    "USED_CLIP_S",
    "MediaInfo",
    "clip_frames",
    "even_size",
    "fit_within",
    "probe",
    "read_photo",
]

ImageArray = npt.NDArray[np.uint8]

FPS: Final = 25
MAX_SIDE_PX: Final = 1280
"longer side of an avatar; larger uploads are scaled down"
MIN_SIDE_PX: Final = 64
MAX_PHOTO_PIXELS: Final = 64_000_000
MAX_CLIP_PIXELS: Final = 4096 * 2304
MAX_CLIP_S: Final = 300.0
"longer clips are refused"
USED_CLIP_S: Final = 30.0
"of a longer clip only this much, from its start, becomes the avatar"

WHOLE_CLIP: Final = 0.8
"a clip that gives less than this part of the length in its header has lost its end"

PHOTO_FORMATS: Final = ("JPEG", "PNG", "WEBP", "AVIF", "BMP")
READABLE: Final = "Use a JPEG, PNG or WebP picture, or an MP4, MOV or WebM clip."


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the header of an upload says."""

    kind: str
    "photo or clip"
    format: str
    "such as JPEG, mp4, matroska"
    width: int
    "px; a photo as shown (after its EXIF orientation), a clip as stored"
    height: int
    duration_s: float | None = None
    "None: a photo, or a clip whose header does not say"
    fps: float | None = None


def probe(path: Path) -> MediaInfo:
    """Look at the header only.

    Raises BadMedia: empty, of an unknown type, damaged, without a picture, or over a limit.
    """
    head = _first_bytes(path)
    if not head:
        raise BadMedia("The file is empty.", "Upload it again.")
    container = _container_of(head)
    return _probe_clip(path, container) if container else _probe_photo(path)


def read_photo(path: Path, max_side: int | None = MAX_SIDE_PX) -> ImageArray:
    """A photo as uint8 RGB (h, w, 3), upright, alpha laid on white, sides even, scaled down to `max_side` px.

    Raises BadMedia as probe() does, and for data that end too early.
    """
    _probe_photo(path)
    try:
        with Image.open(path, formats=PHOTO_FORMATS) as image:
            colours = colours_of(image, _first_bytes(path, CODE_POINTS_WITHIN))
            if max_side is not None:
                image.draft("RGB", (max_side, max_side))  # JPEG: decoded at a fraction of its size
            rgb = _flattened(ImageOps.exif_transpose(image), colours)
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError, MemoryError) as error:
        raise BadMedia(f"The picture is damaged: {error}.", "Save it again, or upload another one.") from error
    return fit_within(rgb, max_side or max(rgb.shape[:2]))


def clip_frames(path: Path, max_side: int = MAX_SIDE_PX, limit_s: float = USED_CLIP_S) -> Iterator[ImageArray]:
    """The pictures of a clip at 25 a second: uint8 RGB (h, w, 3), upright, square pixels, even sides within `max_side`.

    For each 40 ms the picture with the nearest timestamp is taken, so other and varying rates drop or repeat pictures.
    Stops after `limit_s`.
    Raises BadMedia as probe() does, and in mid-course where the clip is damaged or breaks off.
    """
    container = _container_of(_first_bytes(path))
    if not container:
        raise BadMedia("The file is not a clip.", READABLE)
    _probe_clip(path, container)
    limit = round(limit_s * FPS)
    count = 0
    try:
        with _open_clip(path, container) as source:
            stream = source.streams.video[0]
            stream.thread_type = "AUTO"
            expected = min(limit, round((_stream_duration_s(stream) or 0) * FPS))
            size: tuple[int, int] | None = None
            painter = FramePainter()
            for frame in _at_25_fps(_timed(source, stream)):
                _check_size(frame.width, frame.height, MAX_CLIP_PIXELS)  # not always what the header said
                size = size or _square_pixel_size(frame, stream.sample_aspect_ratio, max_side)
                yield _upright(painter.paint(frame, *size), frame.rotation)
                count += 1
                if count == limit:
                    return
    except (av.FFmpegError, ValueError) as error:
        raise _broken_off(count, _cause(error)) from error
    if count == 0 or count < WHOLE_CLIP * expected:
        raise _broken_off(count, "the end is missing")


def even_size(width: float, height: float, max_side: float) -> tuple[int, int]:
    """Width and height scaled down to fit `max_side`, both even and at least 2."""
    scale = min(1.0, max_side / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def fit_within(rgb: ImageArray, max_side: int) -> ImageArray:
    """Scale down to `max_side`, and to even sides (an odd last row or column is cut off)."""
    height, width = rgb.shape[:2]
    if max(height, width) <= max_side:
        return np.ascontiguousarray(rgb[: height // 2 * 2, : width // 2 * 2])
    return np.asarray(cv2.resize(rgb, even_size(width, height, max_side), interpolation=cv2.INTER_AREA), np.uint8)


def _first_bytes(path: Path, count: int = 64) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise BadMedia(f"The file cannot be read: {error}.", "Upload it again.") from error


def _container_of(head: bytes) -> str:
    """FFmpeg's name of the container, or "" for anything that is no clip.

    Naming it keeps FFmpeg from guessing, and so from playlist formats that would open other files and addresses.
    """
    brand = head[8:12]
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip") and brand not in (b"avif", b"avis"):
        if brand in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"):
            raise BadMedia("HEIC pictures cannot be read.", "Save the photo as JPEG (on an iPhone: Most Compatible).")
        return "mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and brand == b"AVI ":
        return "avi"
    return ""


def _probe_photo(path: Path) -> MediaInfo:
    Image.init()  # by itself Pillow knows only its five commonest formats at first
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below Pillow's
            with Image.open(path, formats=PHOTO_FORMATS) as image:
                width, height = image.size
                kind = image.format or "?"
                # PNG's own getexif() would decode all pixels to look behind them, and has not been measured yet.
                if Image.Image.getexif(image).get(0x0112, 1) in (5, 6, 7, 8):  # orientation: lies on its side
                    width, height = height, width
    except Image.DecompressionBombError as error:
        raise _too_large(MAX_PHOTO_PIXELS) from error
    except (OSError, ValueError, SyntaxError, RuntimeError) as error:
        raise BadMedia("The file is neither a picture nor a clip that can be read.", READABLE) from error
    _check_size(width, height, MAX_PHOTO_PIXELS)
    return MediaInfo("photo", kind, width, height)


def _probe_clip(path: Path, container: str) -> MediaInfo:
    try:
        with _open_clip(path, container) as source:
            if not source.streams.video or source.streams.video[0].disposition & Disposition.attached_pic:
                raise BadMedia("The file has no moving picture, only sound.", READABLE)
            stream = source.streams.video[0]
            codec: CodecContext | None = stream.codec_context  # None when FFmpeg does not know the codec
            if codec is None:
                raise BadMedia("The clip is in an unknown coding.", "Export it as MP4 (H.264).")
            duration_s = _stream_duration_s(stream)
            if duration_s is None and source.duration:
                duration_s = source.duration / av.time_base
            width, height = stream.width, stream.height
            fps = float(stream.average_rate) if stream.average_rate else None
    except (av.FFmpegError, ValueError) as error:
        raise BadMedia(
            f"The clip cannot be read: {_cause(error)}.",
            "It may have been cut off on its way: upload it again, or export it as MP4 (H.264).",
        ) from error
    _check_size(width, height, MAX_CLIP_PIXELS)
    if duration_s is not None and duration_s > MAX_CLIP_S:
        raise BadMedia(
            f"The clip is {duration_s / 60:.0f} minutes long; at most {MAX_CLIP_S / 60:.0f} are taken.",
            f"Cut it: {USED_CLIP_S:.0f} seconds of a face are enough.",
        )
    return MediaInfo("clip", container, width, height, duration_s, fps)


def _open_clip(path: Path, container: str) -> InputContainer:
    return av.open(f"file:{path}", format=container, metadata_errors="replace")


def _cause(error: Exception) -> str:
    """What FFmpeg says, without its number and the place of the file on our disk."""
    strerror = error.strerror if isinstance(error, av.FFmpegError) else None
    return (strerror or str(error)).rstrip(".").lower()


def _stream_duration_s(stream: VideoStream) -> float | None:
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None


def _broken_off(count: int, cause: str) -> BadMedia:
    where = f"is damaged after {count / FPS:.1f} seconds" if count else "has no picture that can be decoded"
    return BadMedia(f"The clip {where}: {cause}.", "Upload it again, or export it as MP4 (H.264).")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _too_large(max_pixels, width, height)
    if min(width, height) < MIN_SIDE_PX:
        raise BadMedia(
            f"The picture is only {width} x {height} px.", f"It needs at least {MIN_SIDE_PX} px on each side."
        )


def _too_large(max_pixels: int, width: int = 0, height: int = 0) -> BadMedia:
    size = f"{width * height / 1e6:.0f} megapixels ({width} x {height})" if width else "too many megapixels"
    return BadMedia(
        f"The picture has {size}; at most {max_pixels / 1e6:.0f} are taken.",
        f"Scale it down: avatars keep up to {MAX_SIDE_PX} px on the long side.",
    )


def _flattened(image: Image.Image, colours: PhotoColours) -> ImageArray:
    """Any picture as sRGB of 8 bits, what is transparent laid on white."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        deep = np.asarray(image, np.float32)
        image = Image.fromarray(np.clip(deep / (257.0 if deep.max() > 255 else 1.0), 0, 255).astype(np.uint8))
    image = to_srgb(image, colours)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    return np.array(image, np.uint8)


def _timed(source: InputContainer, stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
    """Decoded pictures with their times in seconds from the first one; missing or unordered times are made up."""
    step = 1 / float(stream.average_rate or FPS)
    start: float | None = None
    last = -step
    for frame in source.decode(stream):
        time = last + step
        if frame.pts is not None and frame.time_base:
            at = float(frame.pts * frame.time_base)
            start = at - time if start is None else start
            time = at - start if at - start > last else time
        if time > MAX_CLIP_S:
            return
        yield time, frame
        last = time


def _at_25_fps(timed: Iterator[tuple[float, VideoFrame]]) -> Iterator[VideoFrame]:
    """For every 40 ms the picture nearest in time; the last one is shown for as long as the one before it."""
    index = 0
    held: tuple[float, VideoFrame] | None = None
    step = 1 / FPS
    for time, frame in timed:
        if held is not None:
            middle = (held[0] + time) / 2
            while index / FPS < middle - 1e-6:
                yield held[1]
                index += 1
            step = time - held[0]
        held = (time, frame)
    if held is not None:
        while index / FPS < held[0] + min(step, 1.0) / 2 or index == 0:
            yield held[1]
            index += 1


def _square_pixel_size(frame: VideoFrame, pixel_aspect: Fraction | None, max_side: int) -> tuple[int, int]:
    aspect = float(pixel_aspect) if pixel_aspect else 1.0
    return even_size(frame.width * (aspect if 0.1 < aspect < 10 else 1.0), frame.height, max_side)


def _upright(rgb: ImageArray, rotation_deg: int) -> ImageArray:
    return np.ascontiguousarray(np.rot90(rgb, round(rotation_deg / 90) % 4))  # both count anticlockwise
