"""Renders a text or a recording as a clip (an MP4, or a clip with alpha), for the job queue and `launch.py render`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from avatars.bundle import AvatarBundle
from avatars.persona import Persona
from pipeline.clip_label import ClipLabel, label_language
from pipeline.clock import ManualClock
from pipeline.errors import RenderError
from pipeline.recording import Recording, open_recording
from pipeline.render import render
from pipeline.timeline import expected_duration_s
from pipeline.turn import Utterance
from pipeline.types import FPS, ErrorEvent, NoticeEvent
from portal.backends import default_choice, new_engine
from portal.clip_finish import ClipFinish
from portal.making.avatar_parts import check_preparable, is_prepared, prepare_for_backend

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["render_clip"]


PREPARING_SHARE = 0.5
"Share of the progress that preparing the avatar counts for, if that has to be done first."
TITLE_CHARACTERS = 60
"Most characters of a clip's text in the title in its metadata."


def render_clip(
    settings: Settings,
    bundle: AvatarBundle,
    *,
    output: Path,
    work: Path,
    text: str | None = None,
    audio: Path | None = None,
    voice: str | None = None,
    longest_speech_s: float = math.inf,
    progress: Callable[[float], None] = lambda _share: None,
) -> list[NoticeEvent]:
    """Write a clip in which an avatar speaks `text`, or the recording `audio`. Blocks, and runs an event loop.

    output: an MP4; .webm and .mov are clips with alpha. voice: the voice of this clip; None: the avatar's own, or else
    the portal's. longest_speech_s: a longer recording is refused. progress: called with an estimate of the share done,
    0 to 1; if it raises, the rendering ends and nothing is written.

    An avatar that is not prepared for the lip-sync backend is prepared first. `work` keeps the finished parts of that.

    Returns notices to show, e.g. about sentences that no voice here could speak.
    Raises RenderError, VivavoceError (a backend cannot run).
    """
    if (text is None) == (audio is None):
        raise RenderError("A clip needs a text or a recording, one of the two.", "Give --text or --audio.")
    check_preparable(settings, bundle, settings.lipsync)
    recording = None
    if audio is not None:
        recording = asyncio.run(open_recording(audio, longest_speech_s, lambda _seconds: progress(0.0)))
    if is_prepared(bundle, settings.lipsync):
        notices = asyncio.run(_render(settings, bundle, output, text, recording, voice, progress))
        return [*notices, *_finish(settings, output)]

    def rendering(share: float) -> None:
        progress(PREPARING_SHARE + (1 - PREPARING_SHARE) * share)

    notices = _prepare(settings, bundle, work, lambda share: progress(PREPARING_SHARE * share))
    notices += asyncio.run(_render(settings, bundle, output, text, recording, voice, rendering))
    return [*notices, *_finish(settings, output)]


class _MadeMeanwhile(Exception):
    """Raised when somebody else has prepared the avatar meanwhile. Their parameters, which may be chosen, are kept."""


def _prepare(
    settings: Settings, bundle: AvatarBundle, work: Path, progress: Callable[[float], None]
) -> list[NoticeEvent]:
    def preparing(share: float) -> None:
        if share < 1 and is_prepared(bundle, settings.lipsync):
            raise _MadeMeanwhile
        progress(share)

    try:
        return prepare_for_backend(settings, bundle, settings.lipsync, {}, work, preparing)
    except _MadeMeanwhile:
        return []


def _finish(settings: Settings, clip: Path) -> list[NoticeEvent]:
    """Mark and sign a clip. If that fails, the clip is kept, and the returned notices say why."""
    return [NoticeEvent(lack.code, lack.message, lack.hint) for lack in ClipFinish(settings).finish(clip)]


def _label(settings: Settings, bundle: AvatarBundle, text: str | None) -> ClipLabel | None:
    if settings.clip_label == "off":
        return None
    return ClipLabel(bundle, label_language(text, bundle.name), always=settings.clip_label == "always")


async def _render(
    settings: Settings,
    bundle: AvatarBundle,
    output: Path,
    text: str | None,
    recording: Recording | None,
    voice: str | None,
    progress: Callable[[float], None],
) -> list[NoticeEvent]:
    engine = new_engine(settings, ManualClock())
    await engine.start()
    try:
        choice = replace(default_choice(settings, llm="echo"), persona=Persona(voice=voice))
        utterance = Utterance(text=text) if recording is None else Utterance(speech=recording.speech())
        duration_s = expected_duration_s(text or "") if recording is None else recording.facts.duration_s
        pictures = FPS * duration_s
        events = await render(
            await engine.context_for(bundle, choice),
            utterance,
            output,
            lambda count: progress(min(0.99, count / max(1.0, pictures))),
            label=_label(settings, bundle, text),
            title=f"{bundle.name} - {text[:TITLE_CHARACTERS]}" if text else bundle.name,
            frame_mark=settings.frame_mark,
        )
    finally:
        await engine.aclose()
    progress(1.0)
    noticed = () if recording is None else recording.notices
    told = (event for event in events if isinstance(event, NoticeEvent | ErrorEvent))
    return [*noticed, *(NoticeEvent(event.code, event.message, event.hint) for event in told)]
