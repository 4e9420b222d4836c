"""FrameCoding: what several viewers of one session are given, made once."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from transport_viewer import GatedExecutor

from avatars.errors import BundleError
from pipeline.transports import frame_coding
from pipeline.transports.frame_coding import SHARED_KEY_GAP, FrameCoding
from pipeline.transports.loops import LoopCache
from pipeline.types import SAMPLES_PER_PICTURE, ImageArray, MediaFrame

PIXELS = np.zeros((128, 96, 3), np.uint8)


class CountingEncoder:
    """Gives the number of the picture, with a K if it is a key frame."""

    codec = "H264"

    def __init__(self, _codec: str, _bitrate_bps: int | None) -> None:
        self.limit_bps: int | None = None
        self.encoded = 0

    def encode(self, rgb: ImageArray, key: bool = False) -> bytes:
        if rgb.shape != PIXELS.shape:
            raise BundleError("The frame is damaged.")
        self.encoded += 1
        return b"%d%s" % (self.encoded, b"K" if key else b"")

    def close(self) -> None: ...


@pytest.fixture
def coding(monkeypatch: pytest.MonkeyPatch) -> FrameCoding:
    monkeypatch.setattr(frame_coding, "video_encoder", CountingEncoder)
    return FrameCoding(LoopCache(GatedExecutor()), GatedExecutor(), key_gap=SHARED_KEY_GAP)


def frame(number: int, picture: Any = None) -> MediaFrame:
    return MediaFrame(
        PIXELS.copy() if picture is None else picture, np.full(SAMPLES_PER_PICTURE, 0.1, np.float32), number
    )


async def test_each_frame_is_encoded_once(coding: FrameCoding) -> None:
    """Whoever asks first; also when one is some pictures behind the other, and when both ask at the same time."""
    first, second = coding.pictures("H264"), coding.pictures("H264")
    ahead = [await first.encode(frame(number)) for number in range(4)]
    behind = [await second.encode(frame(number)) for number in range(4)]
    assert ahead == behind == [b"1K", b"2", b"3", b"4"]
    one, other = await asyncio.gather(first.encode(frame(4)), second.encode(frame(4)))
    assert one == other == b"5"
    assert coding.sound(frame(0)) is coding.sound(frame(0))
    coding.close()
    coding.close()


async def test_pictures_are_encoded_in_their_order(coding: FrameCoding) -> None:
    """One asks for a picture while the one before it is still being encoded for another."""
    stream = coding.pictures("H264")
    assert await asyncio.gather(*(stream.encode(frame(number)) for number in range(5))) == [
        b"1K",
        *(b"%d" % number for number in range(2, 6)),
    ]
    coding.close()


async def test_one_who_is_far_behind_gets_nothing_old(coding: FrameCoding) -> None:
    """The stream does not go back: such a viewer waits for the next key frame."""
    stream = coding.pictures("H264")
    for number in range(30):
        await stream.encode(frame(number))
    assert await stream.encode(frame(2)) is None
    coding.close()


async def test_key_frames_come_when_asked_for_but_not_too_often(coding: FrameCoding) -> None:
    """A wish within the gap is kept for its end, so that nobody waits for ever."""
    stream = coding.pictures("H264")
    keys: list[int] = []
    for number in range(3 * SHARED_KEY_GAP):
        if number in (1, 2, 3, SHARED_KEY_GAP + 5):
            stream.want_key_frame()
        if b"K" in (await stream.encode(frame(number)) or b""):
            keys.append(number)
    assert keys == [0, 1, 1 + SHARED_KEY_GAP, 1 + 2 * SHARED_KEY_GAP]
    coding.close()


async def test_a_damaged_picture_is_everybodys_error_and_the_stream_goes_on(coding: FrameCoding) -> None:
    """Each of those who asked for it."""
    stream = coding.pictures("H264")
    damaged = frame(0, np.zeros((2, 2, 3), np.uint8))
    for _ in range(2):
        with pytest.raises(BundleError):
            await stream.encode(damaged)
    assert await stream.encode(frame(1)) == b"1"
    coding.close()
