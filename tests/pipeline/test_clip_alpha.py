"""Clips with alpha: the person alone, as VP9 in WebM and as ProRes 4444."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline.clip_label import ClipLabel
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.errors import RenderError
from pipeline.render import render
from pipeline.turn import Utterance
from pipeline.turn_context import Choice, TurnContext
from tests.alpha_clips import alphas, keep_mattes


@pytest.fixture
async def context(small_bundle: AvatarBundle) -> AsyncIterator[TurnContext]:
    """Of an avatar whose left half is the person."""
    engine = Engine(clock=ManualClock())
    await engine.start()
    yield await engine.context_for(small_bundle, Choice(llm="echo", tts="beep", lipsync="flash"))
    await engine.aclose()


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
