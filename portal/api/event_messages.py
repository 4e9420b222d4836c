"""Events and errors as messages to a client of the session socket. `server_messages` describes their fields.

docs/protocol.md is the reference.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

from models.errors import VivavoceError
from pipeline.types import (
    CutEvent,
    EarsEvent,
    ErrorEvent,
    GestureEvent,
    HoldEvent,
    MetricsEvent,
    NoticeEvent,
    SessionEvent,
    SubtitleEvent,
    TextEvent,
    TranscriptEvent,
    TurnEvent,
)
from portal.errors import AvatarBeingPrepared

__all__ = ["ServerMessage", "error_message", "event_message"]

ServerMessage: TypeAlias = dict[str, object]
"""A message to a client, before it is encoded as JSON."""


def event_message(event: SessionEvent) -> ServerMessage:
    """Return a session event as the message that the client is sent."""
    match event:
        case TurnEvent(turn, state):
            return {"type": "turn", "turn": turn, "state": state.value}
        case HoldEvent(turn, held):
            return {"type": "hold", "turn": turn, "held": held}
        case CutEvent(turn, played):
            return {"type": "cut", "turn": turn, "played": played}
        case GestureEvent(name, begins):
            return {"type": "gesture", "name": name, "begins": begins}
        case TextEvent(turn, delta):
            return {"type": "text", "turn": turn, "delta": delta}
        case SubtitleEvent(turn, text, start_s, end_s, spoken):
            times = {"start": start_s, "end": end_s}
            return {"type": "subtitle", "turn": turn, "text": text, **times, "spoken": spoken}
        case NoticeEvent(code, message, hint):
            return {"type": "notice", "code": code, "message": message, "hint": hint}
        case ErrorEvent(code, message, hint, cause):
            return {"type": "error", "code": code, "message": message, "hint": hint, "cause": cause}
        case MetricsEvent(turn, stages_ms):
            return {"type": "metrics", "turn": turn, "stages": stages_ms}
        case TranscriptEvent(text, final, language):
            return {"type": "transcript", "text": text, "final": final, "language": language}
        case EarsEvent(state):
            return {"type": "ears", "state": state.value}
        case _:
            assert_never(event)


def error_message(error: VivavoceError) -> ServerMessage:
    sent: ServerMessage = {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "cause": error.cause,
    }
    if isinstance(error, AvatarBeingPrepared):
        sent |= {"avatar": error.avatar, "lipsync": error.backend, "job": error.job}
    return sent
