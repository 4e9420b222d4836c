"""Chains of FFmpeg's filters, for frames of one format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from av.error import BlockingIOError as NothingYet
from av.error import EOFError as AtEnd
from av.filter import Graph
from av.video.frame import VideoFrame

__all__ = ["filter_row", "form_of", "output_frames"]

DEFAULT_TIME_BASE = Fraction(1, 25)


def form_of(frame: VideoFrame) -> tuple[object, ...]:
    """Return the properties that must stay the same in a chain: a frame with others needs a chain of its own."""
    tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    return frame.width, frame.height, frame.format.name, *(int(tag) for tag in tags)


def filter_row(frame: VideoFrame, filters: Sequence[tuple[str, str]]) -> Graph:
    """Chain filters (name, options) for frames like `frame`. Raises av.FFmpegError."""
    graph = Graph()
    base = frame.time_base or DEFAULT_TIME_BASE
    last = graph.add(
        "buffer",
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:pixel_aspect=1/1"
        f":time_base={base.numerator}/{base.denominator}"
        f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
    )
    for name, options in [*filters, ("buffersink", "")]:
        node = graph.add(name, options or None)
        last.link_to(node)
        last = node
    graph.configure()
    return graph


def output_frames(graph: Graph) -> Iterator[VideoFrame]:
    """Give the frames that a chain has ready."""
    while True:
        try:
            frame = graph.pull()
        except (NothingYet, AtEnd):
            return
        if isinstance(frame, VideoFrame):
            yield frame
