"""Clips, read with PyAV: chooses the video stream, and gives its pictures upright, undamaged and at the right times.

Clips are streamed, so few pictures are in memory at a time. The container is always named: FFmpeg never guesses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, TypeVar

import av
import numpy as np
from av.codec.context import CodecContext
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avatars.colour import FramePainter
from avatars.cut_off import matroska_share
from avatars.errors import BadMedia
from avatars.filtering import filter_row, form_of, output_frames
from avatars.media_limits import FPS, MAX_CLIP_PIXELS, MAX_CLIP_S, USED_CLIP_S, MediaInfo, check_size, even_size
from avatars.signatures import READABLE
from models.arrays import ImageArray

__all__ = ["footage_frames", "probe_footage"]

Matrix = tuple[int, int, int, int]
T = TypeVar("T")

WHOLE_CLIP: Final = 0.8
"A clip with less than this fraction of the length in its header has lost its end."
STILL_STREAMS: Final = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
MAX_FPS: Final = 240
"""Highest frame rate that phones and cameras record. Frames beyond it would all have to be decoded and then dropped: a
file of 8 MB kept the making of avatars busy for ten minutes."""
LAST_INTERLACED_HEIGHT: Final = 1088
"Height in px. There is no interlaced video above HD."


def probe_footage(path: Path, container: str) -> MediaInfo:
    """Read the header only. Raises BadMedia."""
    try:
        with _open(path, container) as source:
            stream = _moving_stream(source)
            duration_s = _duration_s(stream)
            if duration_s is None and source.duration:
                # The stream has no length of its own. The container's counts from 0, even if the clip starts later.
                duration_s = (source.duration - max(0, source.start_time or 0)) / av.time_base
            width, height = stream.width, stream.height
            fps = float(stream.average_rate) if stream.average_rate else None
    except (av.FFmpegError, ValueError) as error:
        raise BadMedia(
            f"The clip cannot be read: {_cause(error)}.",
            "It may have been cut off on its way: upload it again, or export it as MP4 (H.264).",
            cause="damaged",
        ) from error
    if not width or not height:
        raise _broken_off(0, "it has no picture that tells its size")
    check_size(width, height, MAX_CLIP_PIXELS)
    if duration_s is not None and duration_s > MAX_CLIP_S:
        raise BadMedia(
            f"The clip is {duration_s / 60:.0f} minutes long; at most {MAX_CLIP_S / 60:.0f} are taken.",
            f"Cut it: {USED_CLIP_S:.0f} seconds of a face are enough.",
            cause="too_long",
        )
    return MediaInfo("clip", container, width, height, duration_s, fps)


def footage_frames(path: Path, container: str, max_side: int, limit: int) -> Iterator[ImageArray]:
    """Give at most `limit` pictures of a clip; see avatars.media.clip_frames. Raises BadMedia."""
    probe_footage(path, container)
    count = 0
    try:
        with _open(path, container) as source:
            stream = _moving_stream(source)
            stream.thread_type = "AUTO"
            expected = min(limit, round((_duration_s(stream) or 0) * FPS))
            canvas = _Canvas(stream.sample_aspect_ratio, max_side)
            step_s = 1 / float(stream.average_rate or FPS)
            decoded = _decoded(source, stream, round(MAX_FPS * (limit / FPS + 1)))
            for frame in _at_25_fps(_timed(_deinterlaced(decoded), step_s)):
                check_size(frame.width, frame.height, MAX_CLIP_PIXELS)  # frames may differ from the header
                yield canvas.paint(frame)
                count += 1
                if count == limit:
                    return
    except (av.FFmpegError, ValueError) as error:
        raise _broken_off(count, _cause(error)) from error
    share = matroska_share(path) if container == "matroska" else 1.0  # its streams have no length of their own
    if count == 0 or count < WHOLE_CLIP * expected or share < WHOLE_CLIP:
        raise _broken_off(count, "the end is missing")


def _at_25_fps(timed: Iterator[tuple[float, T]]) -> Iterator[T]:
    """Give for every 40 ms the picture nearest in time.

    The last one is shown as long as the one before it, up to 1 s.
    """
    index = 0
    held: tuple[float, T] | None = None
    step = 1 / FPS
    for time, picture in timed:
        if held is not None:
            middle = (held[0] + time) / 2
            while index / FPS < middle - 1e-6:
                yield held[1]
                index += 1
            step = time - held[0]
        held = (time, picture)
    if held is not None:
        while index / FPS < held[0] + min(step, 1.0) / 2 or index == 0:
            yield held[1]
            index += 1


class _Canvas:
    """Makes all pictures as large as the first one, with square pixels, and upright.

    A picture of another shape is put between black bars instead of being stretched, so that the face tracking notices
    the cut.
    """

    def __init__(self, pixel_aspect: Fraction | None, max_side: int) -> None:
        aspect = float(pixel_aspect) if pixel_aspect else 1.0
        self._aspect = aspect if 0.1 < aspect < 10 else 1.0
        self._max_side = max_side
        self._size: tuple[int, int] | None = None
        self._matrix: Matrix | None = None
        self._painter = FramePainter()

    def paint(self, frame: VideoFrame) -> ImageArray:
        """Return a decoded frame as uint8 sRGB (height, width, 3) of the canvas' size, upright."""
        own_width, own_height = frame.width * self._aspect, frame.height
        if self._size is None:
            # Once only: PyAV makes a reference cycle of a frame whose side data are read, so its memory would stay.
            self._matrix = _display_matrix(frame)
        self._size = self._size or even_size(own_width, own_height, self._max_side)
        width, height = self._size
        scale = min(width / own_width, height / own_height)
        inner = _near(own_width * scale, width), _near(own_height * scale, height)
        rgb = self._painter.paint(frame, *inner)
        if inner != self._size:
            canvas = np.zeros((height, width, 3), np.uint8)
            x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
            canvas[y : y + inner[1], x : x + inner[0]] = rgb
            rgb = canvas
        return _upright(rgb, self._matrix)


def _display_matrix(frame: VideoFrame) -> Matrix | None:
    """Return a, b, c, d of the file's display matrix, if it has one: it shows (x, y) at (a x + c y, b x + d y)."""
    sides: Any = frame.side_data  # PyAV's type hints miss this kind of side data
    if "DISPLAYMATRIX" not in sides:
        return None
    a, b, _, c, d, *_ = np.frombuffer(bytes(sides["DISPLAYMATRIX"]), np.int32).tolist()
    return a, b, c, d


def _upright(rgb: ImageArray, matrix: Matrix | None) -> ImageArray:
    """Turn the picture by quarter turns, and mirror it, as the display matrix says."""
    if matrix is None:
        return np.ascontiguousarray(rgb)
    a, b, c, d = matrix
    across, down = a, d
    if abs(b) > abs(a):
        rgb, across, down = np.swapaxes(rgb, 0, 1), c, b
    return np.ascontiguousarray(rgb[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


def _near(length: float, whole: int) -> int:
    """Return `length` as an even number; `whole` if they differ by rounding only."""
    return whole if abs(length - whole) <= 2 else max(2, round(length / 2) * 2)


def _open(path: Path, container: str) -> InputContainer:
    only_this = {"protocol_whitelist": "file"}
    return av.open(f"file:{path}", format=container, options=only_this, metadata_errors="replace")


def _moving_stream(source: InputContainer) -> VideoStream:
    """Return the clip's video stream, leaving out covers and thumbnails.

    If there are several, one marked as default wins, then the largest; much shorter ones are only the last resort.

    Raises BadMedia.
    """
    if not source.streams:
        raise _broken_off(0, "nothing is in it")
    shown = [one for one in source.streams.video if not one.disposition & STILL_STREAMS]
    moving = [one for one in shown if one.frames != 1]
    if shown and not moving:
        raise BadMedia(
            "The clip has only one picture.", "Save that as JPEG, or upload a longer clip.", cause="one_picture"
        )
    if not moving:
        raise BadMedia("The file has no moving picture, only sound.", READABLE, cause="no_picture")
    contexts: list[tuple[VideoStream, CodecContext | None]] = [(one, one.codec_context) for one in moving]
    known = [stream for stream, context in contexts if context is not None]  # None: FFmpeg lacks this codec
    if not known:
        raise BadMedia("The clip is in an unknown coding.", "Export it as MP4 (H.264).", cause="unknown_coding")
    longest = max(_duration_s(one) or 0.0 for one in known)
    return max(
        known,
        key=lambda one: (
            (_duration_s(one) or longest) >= longest / 2,
            bool(one.disposition & Disposition.default),
            one.width * one.height,
        ),
    )


def _decoded(source: InputContainer, stream: VideoStream, most: int) -> Iterator[VideoFrame]:
    """Decode the pictures. Damaged ones are left out; the one before is then shown for longer.

    Raises BadMedia if there are more than `most`.
    """
    for count, packet in enumerate(source.demux(stream)):
        if count > most:
            raise BadMedia(
                f"The clip has more than {MAX_FPS} pictures per second.",
                "Export it with 25 to 60 pictures per second.",
                cause="too_many_pictures",
            )
        try:
            frames = packet.decode()
        except av.FFmpegError:  # decoders raise different subclasses for damaged data
            continue
        yield from (frame for frame in frames if isinstance(frame, VideoFrame) and not frame.is_corrupt)


def _deinterlaced(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Turn interlaced pictures into whole ones; pass others through.

    FFmpeg's idet detects interlacing, since the flag is often missing. Where nothing moves, the flag decides.
    """
    row: Graph | None = None
    form: tuple[object, ...] = ()
    for frame in frames:
        if row is None or form_of(frame) != form:
            if row is not None:
                row.push(None)
                yield from output_frames(row)
            form, row = form_of(frame), _deinterlacer(frame)
        if row is None:
            yield frame
        else:
            row.push(frame)
            yield from output_frames(row)
    if row is not None:
        row.push(None)
        yield from output_frames(row)


def _deinterlacer(frame: VideoFrame) -> Graph | None:
    """Return a deinterlacing filter, or None if pictures like this one are never interlaced."""
    if (
        frame.height > LAST_INTERLACED_HEIGHT
        or not frame.format.name.startswith("yuv")
        or frame.format.name.startswith("yuva")
    ):
        return None
    return filter_row(frame, [("idet", ""), ("bwdif", "mode=send_frame:deint=interlaced")])


def _timed(frames: Iterator[VideoFrame], step_s: float) -> Iterator[tuple[float, VideoFrame]]:
    """Give pictures with their times in seconds from the first one. Missing or unordered times are replaced."""
    start: float | None = None
    last = -step_s
    for frame in frames:
        time = last + step_s
        if frame.pts is not None and frame.time_base:
            at = float(frame.pts * frame.time_base)
            start = at - time if start is None else start
            time = at - start if at - start > last else time
        if time > MAX_CLIP_S:
            return
        yield time, frame
        last = time


def _duration_s(stream: VideoStream) -> float | None:
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None


def _cause(error: Exception) -> str:
    """Return FFmpeg's message without its error number and the path on our disk."""
    strerror = error.strerror if isinstance(error, av.FFmpegError) else None
    return (strerror or str(error)).rstrip(".").lower()


def _broken_off(count: int, cause: str) -> BadMedia:
    where = f"is damaged after {count / FPS:.1f} seconds" if count else "has no picture that can be decoded"
    return BadMedia(f"The clip {where}: {cause}.", "Upload it again, or export it as MP4 (H.264).", cause="damaged")
