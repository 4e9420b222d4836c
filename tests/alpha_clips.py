"""Clips with alpha for tests: an avatar for which they can be made, and the transparency of a finished clip."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from avatars.bundle import AvatarBundle
from avatars.mattes import MattesMaker

__all__ = ["alphas", "keep_mattes"]

DECODERS = {".webm": "libvpx-vp9", ".mov": "prores"}


def keep_mattes(bundle: AvatarBundle) -> None:
    """Give an avatar mattes: the left half of its pictures is the person."""
    maker = MattesMaker()
    matte = np.zeros((bundle.height, bundle.width), np.uint8)
    matte[:, : bundle.width // 2] = 255
    for _ in range(bundle.frame_count):
        maker.add(matte)
    bundle.mattes_path.write_bytes(maker.made(bundle.frame(0)).to_bytes(bundle.loop))


def alphas(path: Path) -> np.ndarray:
    """Return the alpha of a clip, uint8 (pictures, h, w). FFmpeg's own VP9 decoder drops alpha, so libvpx is used."""
    with av.open(str(path)) as file:
        (stream,) = file.streams.video
        decoder = av.CodecContext.create(DECODERS[path.suffix], "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.extradata = stream.codec_context.extradata
        decoder.width, decoder.height = stream.codec_context.width, stream.codec_context.height
        decoder.codec_tag = stream.codec_context.codec_tag
        frames = [frame for packet in file.demux(stream) for frame in decoder.decode(packet)]
    return np.stack([frame.to_ndarray(format="rgba")[..., 3] for frame in frames])
