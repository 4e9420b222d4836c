"""Tells webhooks about one session's turns: when each begins and ends, and when the avatar speaks."""

from __future__ import annotations

from pipeline.types import HoldEvent, SessionEvent, TurnEvent, TurnState
from portal.webhooks import Tell

__all__ = ["TurnNews"]


class TurnNews:
    """Derives webhook events from session events. It reports nothing about a turn that ended before it began."""

    def __init__(self, session_id: str, tell: Tell) -> None:
        self._session_id = session_id
        self._tell_webhooks = tell
        self._begun: set[int] = set()
        self._speaking = 0
        "The turn that is heard now; 0 in silence."

    def take(self, event: SessionEvent) -> None:
        """Report what follows from a session event: a turn's new state, or the start or end of a hold."""
        match event:
            case TurnEvent(turn, TurnState.THINKING):
                self._begun.add(turn)
                self._tell("turn.started", turn)
            case TurnEvent(turn, TurnState.SPEAKING):
                self._speak(turn)
            case TurnEvent(turn, TurnState.DONE | TurnState.INTERRUPTED as outcome) if turn in self._begun:
                self._begun.discard(turn)
                if self._speaking == turn:
                    self._fall_silent()
                self._tell("turn.ended", turn, outcome=str(outcome))
            case HoldEvent(held=True):
                self._fall_silent()
            case HoldEvent(turn, held=False):
                self._speak(turn)

    def _speak(self, turn: int) -> None:
        if turn == self._speaking:
            return
        self._fall_silent()
        self._speaking = turn
        self._tell("speaking.started", turn)

    def _fall_silent(self) -> None:
        turn, self._speaking = self._speaking, 0
        if turn:
            self._tell("speaking.stopped", turn)

    def _tell(self, event: str, turn: int, **facts: str) -> None:
        self._tell_webhooks(event, {"session": self._session_id, "turn": turn, **facts})
