"""Event points: what a caller sends along with a text comes back when its speech begins, and when it has ended."""

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
    """Those of one session. It keeps as many as there are turns that have not ended."""

    def __init__(self) -> None:
        self._points: dict[int, _Point] = {}  # by turn

    def expect(self, turn: int, event: object) -> None:
        """A turn was asked for. event: what came along with it, as JSON has it; None: nothing."""
        if event is not None:
            self._points[turn] = _Point(event)

    def of(self, happened: SessionEvent) -> Iterator[ServerMessage]:
        """What is told because of an event of the session; mostly nothing.

        The end is told once, also of a turn that never began to speak.
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
