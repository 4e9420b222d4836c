"""Session: one viewer's conversation and playout. Everything it holds is its own; models are the engine's."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from avatars.bundle import AvatarBundle
from pipeline.channel import Channel
from pipeline.errors import AskedTooOften, BadRequest, SessionClosed
from pipeline.history import Exchange, History
from pipeline.interfaces import Transport
from pipeline.metrics import EngineMetrics
from pipeline.playout import Playout
from pipeline.turn import Turn, Utterance
from pipeline.turn_context import Choice, TurnContext
from pipeline.types import (
    AudioChunk,
    Message,
    MetricsEvent,
    NoticeEvent,
    SessionEvent,
    SubtitleEvent,
    TextEvent,
    TurnEvent,
    TurnState,
)

__all__ = ["MAX_TEXT_CHARACTERS", "Session"]

logger = logging.getLogger(__name__)

MAX_TEXT_CHARACTERS = 10_000
MAX_QUEUED_TURNS = 8
ONCE = frozenset({"language_not_supported", "voice_replaced"})
"""Notices that stay true for a session: told once, not with each sentence or turn."""
EVENTS_BOUND = 1000
"""Events that may wait for a listener; beyond it the oldest is forgotten."""


@dataclass(frozen=True, slots=True)
class _Asked:
    turn: int
    utterance: Utterance
    question: str | None
    "what a person said to the language model; None for echo and ready speech"


@dataclass(slots=True)
class _Started:
    """A turn that was started; it may be handed over whole and still be playing."""

    turn: Turn
    task: asyncio.Task[None]
    exchange: Exchange | None
    "where its words belong; None for echo and ready speech"
    interrupted: bool = False


class Session:
    """Made by Engine.open_session(). start() before use; aclose() undoes it, twice if need be."""

    def __init__(self, session_id: str, context: TurnContext, choice: Choice, metrics: EngineMetrics) -> None:
        self.id = session_id
        self.choice = choice
        self.events: Channel[SessionEvent] = Channel(EVENTS_BOUND)
        self._context = context
        self._metrics = metrics
        self._history = History(context.limits.history_characters)
        self._questions_s: deque[float] = deque(maxlen=context.limits.questions_a_minute)
        self._asked: deque[_Asked] = deque()
        self._wake = asyncio.Event()
        self._last_turn = 0
        self._asked_s = context.clock.now_s()
        self._open: dict[int, TurnState] = {}  # turns that are neither done nor interrupted
        self._started: list[_Started] = []  # those of them that were started, and the last one
        self._tasks: list[asyncio.Task[None]] = []
        self._noticed: set[NoticeEvent] = set()  # as many as there are languages and voices
        self._closed = False
        context.playout.set_emit(self._emit)

    @property
    def bundle(self) -> AvatarBundle:
        return self._context.bundle

    @property
    def playout(self) -> Playout:
        return self._context.playout

    @property
    def history(self) -> tuple[Message, ...]:
        """What was asked and heard, oldest first."""
        return self._history.messages()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def touched_s(self) -> float:
        """Clock time at which something was last asked for, or being said."""
        return self._context.clock.now_s() if self._open else self._asked_s

    def start(self) -> None:
        """Begin playout (idle pictures) and wait for something to say."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self.playout.run(), name=f"playout-{self.id}"),
                asyncio.create_task(self._converse(), name=f"session-{self.id}"),
            ]

    def recall(self, told: Iterable[Message]) -> None:
        """Go on with a conversation of an earlier session; call it before the first question."""
        self._history.recall(told)

    def say(self, text: str, mode: str = "chat") -> int:
        """Ask for an answer to `text` (chat: interrupts what is being said) or speak it as it is (echo: queued).

        Returns the turn's id. Raises BadRequest, AskedTooOften, SessionClosed.
        """
        text = text.encode("utf-8", "ignore").decode().strip()  # half a character stops whoever sends it on
        if not text:
            raise BadRequest("There is nothing to say: the text is empty.", "Type some words.", cause="empty")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise BadRequest(
                f"The text has {len(text)} characters; at most {MAX_TEXT_CHARACTERS} are spoken at once.",
                "Send it in parts, or make a clip of it in the Studio.",
                cause="too_long",
            )
        if mode == "echo":
            return self._ask(Utterance(text=text), None)
        if mode != "chat":
            raise BadRequest(f"There is no mode '{mode}'.", "Use chat or echo.")
        self._count_question()
        self.interrupt()
        return self._ask(Utterance(), text)

    def speak(self, speech: AsyncIterator[AudioChunk]) -> int:
        """Speak ready audio (queued). Returns the turn's id. Raises BadRequest, SessionClosed."""
        return self._ask(Utterance(speech=speech), None)

    def interrupt(self) -> None:
        """Stop speaking, forget what is queued, keep in the history only what was heard. Idempotent."""
        self._asked_s = self._context.clock.now_s()
        self._asked.clear()
        for started in self._still_open():
            started.interrupted = True
            started.task.cancel()
            if started.exchange is not None:
                self._history.answer(started.exchange, self._heard_of(started.turn))
        self.playout.interrupt()
        for turn_id in tuple(self._open):
            self._emit(TurnEvent(turn_id, TurnState.INTERRUPTED))

    async def attach(self, transport: Transport) -> None:
        """Send frames over `transport` from the next one on; the transport before it is closed. The turn goes on."""
        if self._closed:
            await transport.aclose()
            raise SessionClosed("The session has ended.", "Start a new one.")
        previous, self.playout.transport = self.playout.transport, transport
        if previous is not None and previous is not transport:
            await previous.aclose()

    def detach(self) -> None:
        """Send frames nowhere; the media clock runs on."""
        self.playout.transport = None

    async def swap_avatar(self, context: TurnContext) -> None:
        """Go on as another avatar (its context comes from Engine.context_for); what is being said is interrupted."""
        self.interrupt()
        self._context = context
        self.playout.swap_bundle(context.bundle)

    def stats(self) -> dict[str, Any]:
        """A snapshot for people and tests."""
        playout = self.playout
        return {
            "session": self.id,
            "avatar": self.bundle.id,
            "pts": playout.number,
            "turn": self._last_turn,
            "state": str(self._open.get(self._last_turn, "idle")),
            "queued_pictures": len(playout.spoken),
            "starved_pictures": playout.starved_pictures,
            "slipped_ms": round(1000 * playout.slipped_s),
            "transport": playout.transport.name if playout.transport else "none",
        }

    async def aclose(self) -> None:
        """End everything in reverse order of its start. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.interrupt()
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.events.close()
        transport, self.playout.transport = self.playout.transport, None
        if transport is not None:
            await transport.aclose()

    def _ask(self, utterance: Utterance, question: str | None) -> int:
        if self._closed:
            raise SessionClosed("The session has ended.", "Start a new one.")
        if len(self._asked) >= MAX_QUEUED_TURNS:
            raise BadRequest(
                f"{MAX_QUEUED_TURNS} answers are waiting already.",
                "Wait for one to end, or interrupt.",
                cause="many_waiting",
            )
        self._asked_s = self._context.clock.now_s()
        self._last_turn += 1
        self._asked.append(_Asked(self._last_turn, utterance, question))
        self._emit(TurnEvent(self._last_turn, TurnState.QUEUED))
        self._wake.set()
        return self._last_turn

    async def _converse(self) -> None:
        while True:
            while not self._asked:
                self._wake.clear()
                await self._wake.wait()
            asked = self._asked.popleft()
            utterance, exchange = asked.utterance, None
            if asked.question is not None:
                exchange = self._history.ask(asked.question)
                utterance = Utterance(messages=self._history.messages())
            turn = Turn(asked.turn, self._context, utterance, self._emit)
            task = asyncio.create_task(turn.run(), name=f"turn-{turn.id}")
            started = _Started(turn, task, exchange)
            self._started = [*self._still_open(), started]
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            self._conclude(started)

    def _still_open(self) -> list[_Started]:
        return [started for started in self._started if started.turn.id in self._open]

    def _conclude(self, started: _Started) -> None:
        turn, task = started.turn, started.task
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            logger.error("turn %d of session %s failed", turn.id, self.id, exc_info=failure)
        if started.interrupted:
            return
        if started.exchange is not None and turn.text.strip() and failure is None:
            self._history.answer(started.exchange, turn.text.strip())
        elif started.exchange is not None:
            self._history.forget(started.exchange)
        self._metrics.observe_turn(turn.times.stages_ms())

    def _heard_of(self, turn: Turn) -> str:
        """What of an answer reached the viewer: whole sentences, then whole words of the last; empty for nothing."""
        turn_id, sentence, share = self.playout.heard
        heard = turn.text_until(sentence, share).strip() if turn_id == turn.id else ""
        return heard and heard + " …"

    def _count_question(self) -> None:
        now_s = self._context.clock.now_s()
        if len(self._questions_s) == self._questions_s.maxlen and now_s - self._questions_s[0] < 60:
            wait_s = round(60 - (now_s - self._questions_s[0])) + 1
            raise AskedTooOften(
                f"That were {len(self._questions_s)} questions within a minute.", f"Ask again in {wait_s} seconds."
            )
        self._questions_s.append(now_s)

    def _emit(self, event: SessionEvent) -> None:
        if isinstance(event, TurnEvent) and event.state is TurnState.QUEUED:
            self._open[event.turn] = event.state
        elif isinstance(event, TurnEvent | TextEvent | SubtitleEvent | MetricsEvent):
            if event.turn not in self._open:
                return  # it has ended: what its parts still say, until they notice, concerns nobody
            if isinstance(event, TurnEvent):
                self._move_on(event)
            elif isinstance(event, MetricsEvent):
                logger.debug("session %s turn %d: %s", self.id, event.turn, event.stages_ms)
        elif isinstance(event, NoticeEvent) and event.code in ONCE:
            if event in self._noticed:
                return
            self._noticed.add(event)
        if len(self.events) == EVENTS_BOUND:
            self.events.receive_nowait()
        self.events.offer(event)

    def _move_on(self, event: TurnEvent) -> None:
        if event.state in (TurnState.DONE, TurnState.INTERRUPTED):
            del self._open[event.turn]
            self._metrics.turns.labels(str(event.state)).inc()
        else:
            self._open[event.turn] = event.state
