"""A session to talk to in tests: an engine on a manual clock, and a record of everything that it gives out."""

import asyncio
from collections.abc import Callable

from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.session import Session
from pipeline.transports.memory import MemoryTransport
from pipeline.turn_context import Choice
from pipeline.types import SessionEvent, TurnEvent

MEASURED = Choice(llm="echo", tts="beep", lipsync="flash")


MAX_LOOKS = 500
"""Limit of looks for a picture that may not come before the clock moves."""


class Room:
    """An engine on a manual clock with one session, its events, and the frames it sent."""

    def __init__(self, engine: Engine, session: Session, clock: ManualClock) -> None:
        self.engine, self.session, self.clock = engine, session, clock
        self.told: list[SessionEvent] = []
        self.transport = MemoryTransport(keep=10_000)
        self._looks = 0  # looks for a picture in a row, while something else sleeps on the clock

    @property
    def states(self) -> list[tuple[int, str]]:
        return [(event.turn, str(event.state)) for event in self.told if isinstance(event, TurnEvent)]

    def all(self, kind: type) -> list[SessionEvent]:
        return [event for event in self.told if isinstance(event, kind)]

    async def pass_time(self, seconds: float) -> None:
        """Let the media clock run. At each picture, the engine's threads get the real time that they need."""
        for _ in range(round(seconds * 25)):
            await self.clock.advance(0.04)
            while self._busy():  # noqa: ASYNC110 - threads draw in their own time, unknown to the manual clock
                await asyncio.sleep(0.001)
            while (event := self.session.events.receive_nowait()) is not None:
                self.told.append(event)

    async def until(self, reached: Callable[[], bool], limit_s: float = 60.0) -> None:
        for _ in range(round(limit_s * 25)):
            if reached():
                return
            await self.pass_time(0.04)
        raise AssertionError(f"not reached: {self.states}, {self.told[-3:]}")

    def _busy(self) -> bool:
        names = {task.get_name() for task in asyncio.all_tasks()}
        if "pictures-drawn-anew" in names:
            return True
        drawing = any(name.startswith("turn-") and name.endswith("-draw") for name in names)
        if not drawing or len(self.session.playout.spoken):
            self._looks = 0
            return False
        if self.clock.sleepers <= 1:  # the playout only
            return True
        # Something besides the playout sleeps on the clock. Either a turn waits for time to pass before it asks a model
        # again, or it has set a timeout for something that is about to come. So look again, a limited number of times.
        self._looks += 1
        return self._looks < MAX_LOOKS


def done(room: Room, turn: int) -> Callable[[], bool]:
    return lambda: (turn, "done") in room.states
