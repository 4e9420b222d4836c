"""PictureEncoder: what a viewer's decoder is given, at the joints and after losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from transport_viewer import GatedExecutor

from avatars.bundle import AvatarBundle
from avatars.errors import BundleError
from pipeline.transports.bitrate import BitrateLimit
from pipeline.transports.loops import LoopCache, LoopCoding
from pipeline.transports.pictures import PictureEncoder
from pipeline.types import ImageArray, LoopPosition

PIXELS = np.zeros((128, 96, 3), np.uint8)


class RecordingEncoder:
    """A live encoder that gives b"K" for key frames and b"p" for others."""

    codec = "H264"

    def __init__(self) -> None:
        self.limit_bps: int | None = None
        self.limits: list[int | None] = []

    def encode(self, rgb: ImageArray, key: bool = False) -> bytes:
        assert rgb.shape == PIXELS.shape
        self.limits.append(self.limit_bps)
        return b"K" if key else b"p"

    def close(self) -> None: ...


async def test_every_joint_is_a_key_frame(make_bundle: Callable[..., AvatarBundle]) -> None:
    """Live from the start, loop from its key on, live key when speech comes, loop again at its next key."""
    bundle = make_bundle(frames=30)
    loops = LoopCache(GatedExecutor())
    loop = await loops.wait(bundle, LoopCoding.of("H264"))
    assert loop is not None
    pictures = PictureEncoder(loops, GatedExecutor(), RecordingEncoder(), BitrateLimit())
    idle = [LoopPosition(bundle, index) for index in range(58)]
    shown: list[ImageArray | LoopPosition] = [*idle[23:27], PIXELS, PIXELS.copy(), *idle[48:52]]
    given = [await pictures.encode(picture) for picture in shown]
    assert given == [b"K", b"p", *loop.pictures[25:27], b"K", b"p", b"p", b"p", *loop.pictures[50:52]]
    assert (pictures.replayed, pictures.key_frames) == (4, 4)
    await loops.aclose()


async def test_a_picture_that_cannot_be_decoded_is_an_error_and_the_next_a_key(
    make_bundle: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged frame of the bundle raises; after want_key_frame() the stream goes on."""
    bundle = make_bundle()
    loops = LoopCache(GatedExecutor(), bound_bytes=1)
    pictures = PictureEncoder(loops, GatedExecutor(), RecordingEncoder(), BitrateLimit())
    assert [await pictures.encode(PIXELS.copy()) for _ in range(2)] == [b"K", b"p"]
    with monkeypatch.context() as patch:
        patch.setattr(AvatarBundle, "jpeg", lambda _bundle, _index: b"no picture")
        with pytest.raises(BundleError):
            await pictures.encode(LoopPosition(bundle, 0))
    pictures.want_key_frame()
    assert await pictures.encode(LoopPosition(bundle, 1)) == b"K"
    await loops.aclose()


async def test_live_pictures_obey_the_limit() -> None:
    """What the viewer can take reaches the encoder before each picture."""
    loops, encoder, limit = LoopCache(GatedExecutor()), RecordingEncoder(), BitrateLimit()
    pictures = PictureEncoder(loops, GatedExecutor(), encoder, limit)
    for limit.bps in (None, 500_000):
        await pictures.encode(PIXELS.copy())
    assert encoder.limits == [None, 500_000]
    await loops.aclose()


async def test_a_picture_that_is_shown_again_is_not_sent_again(make_bundle: Callable[..., AvatarBundle]) -> None:
    """Where drawing is slow, pictures are left out. It costs no more time to encode the one before once more."""
    bundle = make_bundle()
    loops, encoder = LoopCache(GatedExecutor(), bound_bytes=1), RecordingEncoder()
    pictures = PictureEncoder(loops, GatedExecutor(), encoder, BitrateLimit())
    first, second = PIXELS.copy(), PIXELS.copy()
    shown: list[ImageArray | LoopPosition] = [first, first, second, first, LoopPosition(bundle, 0), first]
    assert [await pictures.encode(picture) for picture in shown] == [b"K", b"", b"p", b"p", b"p", b"p"]
    assert await pictures.encode(first) == b""
    pictures.want_key_frame()
    assert await pictures.encode(first) == b"K", "whoever joins now sees it, too"
    assert await pictures.encode(first) == b""
    assert len(encoder.limits) == 6
    await loops.aclose()
