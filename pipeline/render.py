"""Offline rendering: text or recorded speech -> MP4, through the very parts of a live turn.

Nothing is paced here: the playout is stepped as fast as pictures come, and its bounded queue is what makes the parts
before it wait, as in a live session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from avatars.bundle import AvatarBundle
from pipeline.clip_label import ClipLabel
from pipeline.clip_writer import ClipWriter
from pipeline.errors import RenderError
from pipeline.turn import Turn, Utterance
from pipeline.turn_context import TurnContext
from pipeline.types import ErrorEvent, NoticeEvent, SessionEvent

__all__ = ["render"]

MARGIN_PICTURES = 5
"""Idle pictures before and after the speech: a clip that starts in mid-word looks cut."""


async def render(
    context: TurnContext,
    utterance: Utterance,
    output: Path,
    on_picture: Callable[[int], None] = lambda _count: None,
    *,
    label: ClipLabel | None = None,
    title: str = "",
) -> list[SessionEvent]:
    """Make a clip. Returns the events of the turn (subtitles with their times among them).

    on_picture: called with the number of pictures written so far; an exception it raises (cancellation) ends the job.
    label, title: see ClipWriter.
    Raises RenderError: nothing could be spoken, or the file could not be written.
    """
    events: list[SessionEvent] = []
    playout = context.playout
    turn_id, _ = playout.ledger.queue()
    bundle: AvatarBundle = context.bundle
    async with ClipWriter(output, bundle.width, bundle.height, label=label, title=title) as writer:
        for _ in range(MARGIN_PICTURES):
            await writer.send(playout.release())
        turn = Turn(turn_id, context, utterance, events.append, shows_unspoken=False)
        events += playout.ledger.begun(turn_id)
        speaking = asyncio.create_task(turn.run())
        speaking.add_done_callback(lambda _task: playout.spoken.close())
        try:
            while await playout.spoken.ready():
                frame = playout.release()
                events += playout.ledger.released(frame)
                await writer.send(frame)
                on_picture(writer.frames)
            await speaking
            events += playout.ledger.handed_over(turn_id, turn.frames_sent)
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        if writer.frames == MARGIN_PICTURES:
            raise _unspoken(events)
        for _ in range(MARGIN_PICTURES):
            await writer.send(playout.release())
        await writer.finish()
    return events


def _unspoken(events: list[SessionEvent]) -> RenderError:
    told = next(event for event in events if isinstance(event, ErrorEvent | NoticeEvent))
    return RenderError(told.message, told.hint, told.code)
