"""Clips, by PyAV: which stream is the clip, its pictures upright, whole and at their times.

Clips are streamed: few pictures are in memory at a time. The container is always named, so that FFmpeg never guesses.
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
from avatars.filtering import filter_row, form_of, pulled
from avatars.media_limits import FPS, MAX_CLIP_PIXELS, MAX_CLIP_S, USED_CLIP_S, MediaInfo, check_size, even_size
from avatars.signatures import READABLE
from models.arrays import ImageArray

__all__ = ["footage_frames", "probe_footage"]

T = TypeVar("T")

WHOLE_CLIP: Final = 0.8
"a clip that gives less than this part of the length in its header has lost its end"
STILL_STREAMS: Final = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
MOST_FPS: Final = 240
"""Of the clips that phones and cameras make. Of more nothing is used, but all has to be decoded: a file of 8 MB held up
the making of avatars for ten minutes."""
LAST_INTERLACED_HEIGHT: Final = 1088
"px; there is no interlaced video above HD"


def probe_footage(path: Path, container: str) -> MediaInfo:
    """Look at the header only. Raises BadMedia."""
    try:
        with _open(path, container) as source:
            stream = _moving_stream(source)
            duration_s = _duration_s(stream)
            if duration_s is None and source.duration:
                # Of what has no length of its own, the container's is counted from 0, wherever the clip begins.
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
    """At most `limit` pictures of a clip, see avatars.media.clip_frames. Raises BadMedia."""
    probe_footage(path, container)
    count = 0
    try:
        with _open(path, container) as source:
            stream = _moving_stream(source)
            stream.thread_type = "AUTO"
            expected = min(limit, round((_duration_s(stream) or 0) * FPS))
            canvas = _Canvas(stream.sample_aspect_ratio, max_side)
            step_s = 1 / float(stream.average_rate or FPS)
            decoded = _decoded(source, stream, round(MOST_FPS * (limit / FPS + 1)))
            for frame in _at_25_fps(_timed(_deinterlaced(decoded), step_s)):
                check_size(frame.width, frame.height, MAX_CLIP_PIXELS)  # not always what the header said
                yield canvas.paint(frame)
                count += 1
                if count == limit:
                    return
    except (av.FFmpegError, ValueError) as error:
        raise _broken_off(count, _cause(error)) from error
    share = matroska_share(path) if container == "matroska" else 1.0  # its streams have no lengths of their own
    if count == 0 or count < WHOLE_CLIP * expected or share < WHOLE_CLIP:
        raise _broken_off(count, "the end is missing")


def _at_25_fps(timed: Iterator[tuple[float, T]]) -> Iterator[T]:
    """For every 40 ms the picture nearest in time; the last one is shown for as long as the one before it."""
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
    """Pictures of the size of the first one, square pixels, upright. One of another shape comes between black bars:
    it is not stretched, and whoever follows the face sees the cut.
    """

    def __init__(self, pixel_aspect: Fraction | None, max_side: int) -> None:
        aspect = float(pixel_aspect) if pixel_aspect else 1.0
        self._aspect = aspect if 0.1 < aspect < 10 else 1.0
        self._max_side = max_side
        self._size: tuple[int, int] | None = None
        self._painter = FramePainter()

    def paint(self, frame: VideoFrame) -> ImageArray:
        own_width, own_height = frame.width * self._aspect, frame.height
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
        return _upright(rgb, frame)


def _upright(rgb: ImageArray, frame: VideoFrame) -> ImageArray:
    """Turned and mirrored as the file's matrix says, by quarter turns."""
    sides: Any = frame.side_data  # its types know some kinds only
    if "DISPLAYMATRIX" not in sides:
        return np.ascontiguousarray(rgb)
    # A point (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d, *_ = np.frombuffer(bytes(sides["DISPLAYMATRIX"]), np.int32).tolist()
    across, down = a, d
    if abs(b) > abs(a):
        rgb, across, down = np.swapaxes(rgb, 0, 1), c, b
    return np.ascontiguousarray(rgb[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


def _near(length: float, whole: int) -> int:
    """An even length; the whole one where only rounding is between them."""
    return whole if abs(length - whole) <= 2 else max(2, round(length / 2) * 2)


def _open(path: Path, container: str) -> InputContainer:
    only_this = {"protocol_whitelist": "file"}
    return av.open(f"file:{path}", format=container, options=only_this, metadata_errors="replace")


def _moving_stream(source: InputContainer) -> VideoStream:
    """The clip among the streams: no cover and no thumbnails; of several the one marked as default, then the larger.

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
    known = [stream for stream, context in contexts if context is not None]  # None: FFmpeg does not know the codec
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
    """The pictures that can be decoded; damaged ones are left out, and the one before is shown for longer.

    Raises BadMedia: there are more than `most`.
    """
    for count, packet in enumerate(source.demux(stream)):
        if count > most:
            raise BadMedia(
                f"The clip has more than {MOST_FPS} pictures per second.",
                "Export it with 25 to 60 pictures per second.",
                cause="too_many_pictures",
            )
        try:
            frames = packet.decode()
        except av.FFmpegError:  # each decoder has errors of its own for what is damaged
            continue
        yield from (frame for frame in frames if isinstance(frame, VideoFrame) and not frame.is_corrupt)


def _deinterlaced(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Pictures of two half-pictures made whole; others pass as they are.

    FFmpeg looks whether they are (idet), since the flag is often missing; where nothing moves, the flag decides.
    """
    row: Graph | None = None
    form: tuple[object, ...] = ()
    for frame in frames:
        if row is None or form_of(frame) != form:
            if row is not None:
                row.push(None)
                yield from pulled(row)
            form, row = form_of(frame), _deinterlacer(frame)
        if row is None:
            yield frame
        else:
            row.push(frame)
            yield from pulled(row)
    if row is not None:
        row.push(None)
        yield from pulled(row)


def _deinterlacer(frame: VideoFrame) -> Graph | None:
    """None: nothing of this form is interlaced."""
    if (
        frame.height > LAST_INTERLACED_HEIGHT
        or not frame.format.name.startswith("yuv")
        or frame.format.name.startswith("yuva")
    ):
        return None
    return filter_row(frame, [("idet", ""), ("bwdif", "mode=send_frame:deint=interlaced")])


def _timed(frames: Iterator[VideoFrame], step_s: float) -> Iterator[tuple[float, VideoFrame]]:
    """Pictures with their times in seconds from the first one; missing or unordered times are made up."""
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
    """What FFmpeg says, without its number and the place of the file on our disk."""
    strerror = error.strerror if isinstance(error, av.FFmpegError) else None
    return (strerror or str(error)).rstrip(".").lower()


def _broken_off(count: int, cause: str) -> BadMedia:
    where = f"is damaged after {count / FPS:.1f} seconds" if count else "has no picture that can be decoded"
    return BadMedia(f"The clip {where}: {cause}.", "Upload it again, or export it as MP4 (H.264).", cause="damaged")
