"""The frame mark: in what the encoder gets, and in no more than that."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from pipeline.clip_writer import MADE, RECORDED, ClipCoding, ClipWriter
from pipeline.coded_frames import Coding
from pipeline.types import SAMPLES_PER_PICTURE, ImageArray, MediaFrame


def lossless_frame(rgb: ImageArray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="bgr0")


def no_tag(_context: VideoCodecContext) -> None:
    """RGB has no matrix."""


LOSSLESS = ClipCoding(Coding(lossless_frame, no_tag, {}, codec="ffv1", pixel_format="bgr0"), container="matroska")


async def written(path: Path, coding: ClipCoding, *, frame_mark: bool) -> tuple[list[ImageArray], list[ImageArray]]:
    """Pictures as they went in, and as they came out."""
    random = np.random.default_rng(5)
    pictures = [random.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(4)]
    silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
    async with ClipWriter(path, 64, 48, coding=coding, frame_mark=frame_mark) as writer:
        for number, picture in enumerate(pictures):
            await writer.send(MediaFrame(picture, silence, number))
        await writer.finish()
    with av.open(str(path)) as file:
        return pictures, [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in file.decode(video=0)]


async def test_it_is_in_the_first_row_alone(tmp_path: Path) -> None:
    """Where nothing is lost: every value of the row is even; every other pixel, and the avatar's own, are as before."""
    given, marked = await written(tmp_path / "marked.mkv", LOSSLESS, frame_mark=True)
    for before, after in zip(given, marked, strict=True):
        assert (after[0] == before[0] & 0xFE).all() and (after[1:] == before[1:]).all()
        assert (before[0] & 1).any()
    given, plain = await written(tmp_path / "plain.mkv", LOSSLESS, frame_mark=False)
    assert all((after == before).all() for before, after in zip(given, plain, strict=True))


@pytest.mark.parametrize("coding", [MADE, RECORDED], ids=["made", "recorded"])
async def test_h264_does_not_keep_it(coding: ClipCoding, tmp_path: Path) -> None:
    """As docs/operating.md says: about as many values are even as by chance."""
    _given, marked = await written(tmp_path / "marked.mp4", coding, frame_mark=True)
    even = np.mean([(picture[0] & 1) == 0 for picture in marked])
    assert 0.4 < even < 0.6
