"""Offline rendering: text or recorded speech -> a clip, through the very parts of a live turn.

Nothing is paced here: the playout is stepped as fast as pictures come, and its bounded queue is what makes the parts
before it wait, as in a live session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from avatars.bundle import AvatarBundle
from pipeline.clip_alpha import PersonCutter
from pipeline.clip_label import ClipLabel
from pipeline.clip_writer import MADE, ClipWriter, alpha_coding
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
    frame_mark: bool = False,
) -> list[SessionEvent]:
    """Make a clip: an MP4, or by the name of `output` one with alpha, see alpha_coding().

    Returns the events of the turn (subtitles with their times among them).
    on_picture: called with the number of pictures written so far; an exception it raises (cancellation) ends the job.
    label, title, frame_mark: see ClipWriter.
    Raises RenderError: nothing could be spoken, the file could not be written, or nobody knows what is to be seen
    through.
    """
    events: list[SessionEvent] = []
    playout = context.playout
    turn_id, _ = playout.ledger.queue()
    bundle: AvatarBundle = context.bundle
    coding = alpha_coding(output)
    cutter = None if coding is None else PersonCutter(bundle)
    size = bundle.width, bundle.height
    async with ClipWriter(
        output, *size, label=label, title=title, coding=coding or MADE, cutter=cutter, frame_mark=frame_mark
    ) as writer:
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
