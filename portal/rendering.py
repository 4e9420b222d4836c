"""Clips: text or a recording in, MP4 out, for the job queue and for `launch.py render`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from avatars.bundle import AvatarBundle
from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from pipeline.errors import RenderError
from pipeline.render import read_speech, render
from pipeline.timeline import expected_duration_s
from pipeline.turn import Utterance
from pipeline.types import FPS, ErrorEvent, NoticeEvent
from portal.avatar_parts import check_preparable, is_prepared, prepare_for_backend
from portal.backends import default_choice, new_engine

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["render_clip"]


PREPARING_SHARE = 0.5
"of the progress, where the avatar has to be prepared first"


def render_clip(
    settings: Settings,
    *,
    avatar: str,
    output: Path,
    work: Path,
    text: str | None = None,
    audio: Path | None = None,
    voice: str | None = None,
    progress: Callable[[float], None] = lambda _share: None,
) -> list[NoticeEvent]:
    """Write `output` (MP4): the avatar speaks `text`, or the recording `audio`. Blocks; runs a loop of its own.

    An avatar that is not prepared for the lip-sync is prepared first; `work` keeps what is finished of that.
    progress is called with the share done, 0..1 (an estimate); what it raises ends the rendering with nothing written.
    Returns notices to show, e.g. of sentences that no voice here could speak.
    Raises RenderError, AvatarError, VivavoceError (a backend that cannot run).
    """
    if (text is None) == (audio is None):
        raise RenderError("A clip needs a text or a recording, one of the two.", "Give --text or --audio.")
    bundle = AvatarLibrary(settings.data_dir / "avatars").open(avatar)
    check_preparable(settings, bundle, settings.lipsync)
    if is_prepared(bundle, settings.lipsync):
        return asyncio.run(_render(settings, bundle, output, text, audio, voice, progress))

    def rendering(share: float) -> None:
        progress(PREPARING_SHARE + (1 - PREPARING_SHARE) * share)

    notices = _prepare(settings, bundle, work, lambda share: progress(PREPARING_SHARE * share))
    return [*notices, *asyncio.run(_render(settings, bundle, output, text, audio, voice, rendering))]


class _MadeMeanwhile(Exception):
    """Somebody else has prepared the avatar, perhaps with parameters that a person chose: those count."""


def _prepare(
    settings: Settings, bundle: AvatarBundle, work: Path, progress: Callable[[float], None]
) -> list[NoticeEvent]:
    def preparing(share: float) -> None:
        if share < 1 and is_prepared(bundle, settings.lipsync):
            raise _MadeMeanwhile
        progress(share)

    try:
        return prepare_for_backend(settings, bundle.id, settings.lipsync, {}, work, preparing)
    except _MadeMeanwhile:
        return []


async def _render(
    settings: Settings,
    bundle: AvatarBundle,
    output: Path,
    text: str | None,
    audio: Path | None,
    voice: str | None,
    progress: Callable[[float], None],
) -> list[NoticeEvent]:
    engine = new_engine(settings, ManualClock())
    await engine.start()
    try:
        choice = default_choice(settings, llm="echo", voice=voice)
        utterance = Utterance(text=text) if audio is None else Utterance(speech=read_speech(audio))
        pictures = FPS * (expected_duration_s(text) if text else await asyncio.to_thread(_duration_s, audio))
        events = await render(
            await engine.stages_for(bundle, choice),
            utterance,
            output,
            lambda count: progress(min(0.99, count / max(1.0, pictures))),
        )
    finally:
        await engine.aclose()
    progress(1.0)
    told = (event for event in events if isinstance(event, NoticeEvent | ErrorEvent))
    return [NoticeEvent(event.code, event.message, event.hint) for event in told]


def _duration_s(audio: Path | None) -> float:
    """As the container says; 0 where it does not."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(audio)) as file:
            return (file.duration or 0) / 1_000_000
    except (FFmpegError, OSError):
        return 0.0  # read_speech() will say what is wrong
