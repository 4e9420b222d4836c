"""Clips with alpha: the person alone, as VP9 in WebM and as ProRes 4444."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from avatars.bundle import AvatarBundle
from avatars.mattes import MattesMaker
from pipeline.clip_label import ClipLabel
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.errors import RenderError
from pipeline.render import render
from pipeline.turn import Utterance
from pipeline.turn_context import Choice, TurnContext

DECODERS = {".webm": "libvpx-vp9", ".mov": "prores"}


@pytest.fixture
async def context(small_bundle: AvatarBundle) -> AsyncIterator[TurnContext]:
    """Of an avatar whose left half is the person."""
    engine = Engine(clock=ManualClock())
    await engine.start()
    yield await engine.context_for(small_bundle, Choice(llm="echo", tts="beep", lipsync="flash"))
    await engine.aclose()


def keep_mattes(bundle: AvatarBundle) -> None:
    maker = MattesMaker()
    matte = np.zeros((bundle.height, bundle.width), np.uint8)
    matte[:, : bundle.width // 2] = 255
    for _ in range(bundle.frame_count):
        maker.add(matte)
    bundle.mattes_path.write_bytes(maker.made(bundle.frame(0)).to_bytes(bundle.loop))


def alphas(path: Path) -> np.ndarray:
    """uint8 (pictures, h, w). FFmpeg's own decoder of VP9 leaves alpha out, libvpx does not."""
    with av.open(str(path)) as file:
        (stream,) = file.streams.video
        decoder = av.CodecContext.create(DECODERS[path.suffix], "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.extradata = stream.codec_context.extradata
        decoder.width, decoder.height = stream.codec_context.width, stream.codec_context.height
        decoder.codec_tag = stream.codec_context.codec_tag
        frames = [frame for packet in file.demux(stream) for frame in decoder.decode(packet)]
    return np.stack([frame.to_ndarray(format="rgba")[..., 3] for frame in frames])


@pytest.mark.parametrize("suffix", [".webm", ".mov"])
async def test_a_clip_has_the_alpha_of_its_mattes(context: TurnContext, tmp_path: Path, suffix: str) -> None:
    """Decoded again, the person is opaque, the rest is not, in every picture; and there is sound."""
    keep_mattes(context.bundle)
    clip = tmp_path / f"clip{suffix}"
    await render(context, Utterance(text="one two three"), clip)
    alpha = alphas(clip)
    assert len(alpha) > 20
    assert alpha[:, :, :28].min() > 240 and alpha[:, :, 36:].max() < 15
    with av.open(str(clip)) as file:
        sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)])
        assert file.metadata.get("AIGC") or file.metadata.get("aigc")
    assert np.abs(sound.astype(float)).max() > 0


async def test_a_label_is_seen_where_the_person_is_not(context: TurnContext, tmp_path: Path) -> None:
    """What says that a clip is made by AI is opaque."""
    label = ClipLabel(context.bundle, "en", always=True)
    nothing = np.zeros((context.bundle.height, context.bundle.width, 4), np.uint8)
    drawn = label.draw(nothing, 0)
    assert drawn[..., 3].max() > 200
    assert (drawn[..., 3] == 0).any()


@pytest.mark.parametrize("suffix", [".webm", ".mov"])
async def test_without_mattes_there_is_no_clip_with_alpha(context: TurnContext, tmp_path: Path, suffix: str) -> None:
    """It is refused with a remedy, and nothing is written."""
    with pytest.raises(RenderError, match="cannot be transparent"):
        await render(context, Utterance(text="one"), tmp_path / "made" / f"clip{suffix}")
    assert not (tmp_path / "made").exists()
