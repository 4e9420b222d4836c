"""Event points: the `event` that a client sends with a text comes back when its speech begins and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.types import SessionEvent, TurnEvent, TurnState
from portal.api.event_messages import ServerMessage

__all__ = ["EventPoints"]

ENDS = (TurnState.DONE, TurnState.INTERRUPTED)


@dataclass(slots=True)
class _Point:
    event: object
    has_begun: bool = False


class EventPoints:
    """The event points of one session. Each is kept until its turn has ended."""

    def __init__(self) -> None:
        self._points: dict[int, _Point] = {}  # by turn

    def expect(self, turn: int, event: object) -> None:
        """Remember the event that came along with a turn, as a JSON value. None: there was none."""
        if event is not None:
            self._points[turn] = _Point(event)

    def of(self, happened: SessionEvent) -> Iterator[ServerMessage]:
        """Yield the `speech` message that follows from a session event. For most events there is none.

        The end is reported once, also for a turn that never began to speak.
        """
        if not isinstance(happened, TurnEvent) or happened.turn not in self._points:
            return
        turn, point = happened.turn, self._points[happened.turn]
        told: ServerMessage = {"type": "speech", "turn": turn, "event": point.event}
        if happened.state is TurnState.SPEAKING and not point.has_begun:
            point.has_begun = True
            yield {**told, "begins": True, "outcome": ""}
        elif happened.state in ENDS:
            del self._points[turn]
            yield {**told, "begins": False, "outcome": happened.state.value}
