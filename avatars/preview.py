"""The pictures of an avatar for galleries: a poster, and a small moving preview."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import av
import cv2
import numpy as np

from avatars.bundle import GestureTrack, encode_jpeg
from avatars.colour import bt709_frame, tag_bt709
from avatars.media_limits import FPS, even_size
from models.arrays import ImageArray

__all__ = ["encode_gesture_preview", "encode_preview", "make_poster"]


POSTER_SIDE_PX = 512
PREVIEW_SIDE_PX = 320
PREVIEW_FRAMES = 33
"Shown forwards and then backwards: 2.6 s that can be repeated without a jump."


def make_poster(rgb: ImageArray) -> bytes:
    """Make a JPEG of at most 512 px on the long side."""
    return encode_jpeg(_small(rgb, POSTER_SIDE_PX), 88)


def encode_preview(frames: Iterable[ImageArray], path: Path) -> None:
    """Write a small H.264 MP4 that starts to play before it is fully loaded. Reads only the first frames.

    Raises OSError if the disk is full.
    """
    forth = [_small(rgb, PREVIEW_SIDE_PX) for rgb in islice(frames, PREVIEW_FRAMES)]
    _encode((*forth, *forth[-2:0:-1]), path, None)


def encode_gesture_preview(frames: Iterable[ImageArray], path: Path, track: GestureTrack | None) -> None:
    """Write a clip like encode_preview(), but with all frames once, and with the sound of `track`."""
    _encode((_small(rgb, PREVIEW_SIDE_PX) for rgb in frames), path, track)


def _encode(frames: Iterable[ImageArray], path: Path, track: GestureTrack | None) -> None:
    pictures = iter(frames)
    first = next(pictures)
    height, width = first.shape[:2]
    with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as output:
        stream = output.add_stream("libx264", rate=FPS, options={"crf": "26", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        tag_bt709(stream.codec_context)
        sound = None if track is None else output.add_stream("aac", rate=track.rate_hz, layout="mono")
        for rgb in chain((first,), pictures):
            output.mux(stream.encode(bt709_frame(rgb)))
        output.mux(stream.encode(None))
        if track is not None and sound is not None:
            for frame in _sound_frames(track):
                output.mux(sound.encode(frame))
            output.mux(sound.encode(None))


def _sound_frames(track: GestureTrack) -> Iterator[av.AudioFrame]:
    """Give the sound in pieces of a second."""
    for start in range(0, len(track.samples), track.rate_hz):
        piece = track.samples[start : start + track.rate_hz]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece[None]), format="s16", layout="mono")
        frame.sample_rate, frame.pts = track.rate_hz, start
        yield frame


def _small(rgb: ImageArray, side_px: int) -> ImageArray:
    size = even_size(rgb.shape[1], rgb.shape[0], side_px)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
