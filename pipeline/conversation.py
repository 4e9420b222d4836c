"""Conversation: the turns of one session. It queues them, reports on them, and remembers what was said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.channel import Channel
from pipeline.errors import BadRequest
from pipeline.history import Exchange, History, Standing
from pipeline.llm.openai import SYSTEM_PROMPT
from pipeline.metrics import EngineMetrics, TurnTimes
from pipeline.question_pace import QuestionPace
from pipeline.reading_pace import ReadingPace
from pipeline.turn import Turn, Utterance
from pipeline.turn_context import TurnContext
from pipeline.turn_marks import TurnMarks
from pipeline.types import CutEvent, ErrorEvent, MediaFrame, Message, NoticeEvent, SessionEvent, TurnEvent, TurnState

__all__ = ["MAX_QUEUED_TURNS", "Conversation"]

logger = logging.getLogger(__name__)

MAX_QUEUED_TURNS = 8
ONCE = frozenset({"heard_by_service", "language_not_supported", "speed_not_kept", "voice_replaced"})
"""Codes of notices that stay true for a session. Each is sent once, not again with every sentence or turn."""
TAGS_PROMPT = (
    "The avatar has gestures: {tags}. Where one fits, write its tag as it is here, before the sentence that it goes "
    "with. Tags are shown as gestures and not read aloud. Use them sparingly."
)
"""Tells a language model which gestures the avatar can show."""
CUT_MARK = " …"
"""Marks the end of an interrupted answer in the history."""


@dataclass(frozen=True, slots=True)
class _Queued:
    """A turn that waits for the turns before it."""

    turn: int
    utterance: Utterance
    question: str | None
    "A person's question to the language model; None for echo and finished speech."
    times: TurnTimes | None
    "Marks that count from the question, for a turn that need not wait for another one; otherwise None."


@dataclass(slots=True)
class _Started:
    """A turn that was started. It may have handed over all its frames, and still be playing."""

    turn: Turn
    task: asyncio.Task[None]
    exchange: Exchange | None
    "Where its words are kept in the history; None for echo and finished speech."


class Conversation:
    """Made by the Session, which keeps run() running until its end and passes on each released frame.

    post: takes events for the viewer, in order. on_end: called when a turn has ended, however it ended.
    """

    def __init__(
        self,
        session_id: str,
        context: TurnContext,
        metrics: EngineMetrics,
        post: Callable[[SessionEvent], object],
        on_end: Callable[[], None],
        questions: QuestionPace,
    ) -> None:
        self.context = context
        "What the next turns work with."
        self.asked_s = context.clock.now_s()
        "Clock time of the last request or interrupt."
        self._session_id = session_id
        self._clock = context.clock
        self._playout = context.playout
        self._ledger = context.playout.ledger
        self._post = post
        self._on_end = on_end
        self._marks = TurnMarks(session_id, context.clock, metrics, post)
        self._history = History(context.limits.history_tokens)
        self._questions = questions
        self._reading = ReadingPace(context.clock)
        self._asked: Channel[_Queued] = Channel(MAX_QUEUED_TURNS)
        self._started: list[_Started] = []  # the open turns that were started, and the last one even if it has ended
        self._noticed: set[NoticeEvent] = set()  # bounded: there are only so many languages and voices

    @property
    def history(self) -> tuple[Message, ...]:
        """The questions, and what was played of the answers, oldest first."""
        return self._history.messages()

    @property
    def has_begun(self) -> bool:
        """Whether anything was asked or spoken, here or in an earlier session that this one continues."""
        return bool(self._history.messages() or self._ledger.last_turn)

    def standing(self) -> Standing:
        """See Session.standing()."""
        still_open = self._still_open()
        cut = {one.exchange: self._cut_answer(one.turn) for one in still_open if one.exchange is not None}
        played = None
        if self._ledger.has_open:
            played = " ".join(filter(None, (self._played_of(one.turn).strip() for one in still_open)))
        return Standing(self._history.kept(cut), played, self.has_begun)

    def recall(self, told: Iterable[Message]) -> None:
        """See Session.recall()."""
        self._history.recall(told)

    def count_question(self) -> None:
        """Count a question to the language model. Raises AskedTooOften."""
        self._questions.count()

    def ask(self, utterance: Utterance, question: str | None, speech_ended_s: float | None = None) -> int:
        """Queue a turn and return its id.

        question: a person's question, which the language model will answer; None if the utterance has the words.
        speech_ended_s: see Session.say().

        Raises BadRequest if too many turns wait.
        """
        if self._asked.full:
            raise BadRequest(
                f"{MAX_QUEUED_TURNS} answers are waiting already.",
                "Wait for one to end, or interrupt.",
                cause="many_waiting",
            )
        self.asked_s = self._clock.now_s()
        times = None
        if not self._ledger.has_open:
            times = TurnTimes(self._clock, speech_ended_s)
            if speech_ended_s is not None:
                times.mark("transcript")
        turn_id, events = self._ledger.queue()
        self._asked.offer(_Queued(turn_id, utterance, question, times))
        self._tell(events)
        return turn_id

    async def run(self) -> None:
        """Perform the queued turns one after another, until cancelled."""
        async for asked in self._asked:
            utterance, exchange = asked.utterance, None
            if asked.question is not None:
                exchange = self._history.ask(asked.question)
                utterance = Utterance(messages=self.messages())
            turn = Turn(asked.turn, self.context, utterance, self.emit, times=asked.times, pace=self._reading)
            task = asyncio.create_task(self._perform(turn, exchange), name=f"turn-{turn.id}")
            self._started = [*self._still_open(), _Started(turn, task, exchange)]
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def messages(self) -> tuple[Message, ...]:
        """Return what is sent to the language model: the conversation, after the instructions of the persona if any."""
        prompt, gestures = self.context.persona.prompt, self.context.gesture_names
        if not prompt and not gestures:
            return self._history.messages()  # the backend adds its own instructions
        tags = " ".join(f"[{name}]" for name in gestures)
        parts = (prompt, SYSTEM_PROMPT, TAGS_PROMPT.format(tags=tags) if gestures else None)
        return (Message("system", "\n\n".join(part for part in parts if part)), *self._history.messages())

    def change_voice(self) -> None:
        """Let the open turns, too, speak with the voice and speed of the present context."""
        for started in self._still_open():
            started.turn.change_voice(self.context)

    def hold(self) -> None:
        """Fall silent at once, and keep everything: somebody speaks over the avatar. Idempotent.

        Answers that have not begun wait, too. Follow it by resume() or interrupt(). No effect while nothing is being
        said.
        """
        if self._ledger.has_open:
            self._playout.hold()
            self._tell(self._ledger.held())

    def resume(self) -> None:
        """Resume what is held, from shortly before the place where it was cut for the viewer. Idempotent."""
        self._tell(self._ledger.resumed(self._playout.resume()))

    def interrupt(self) -> None:
        """See Session.interrupt()."""
        self.asked_s = self._clock.now_s()
        self._asked.clear()
        for started in self._still_open():
            started.task.cancel()
            played = self._played_of(started.turn)
            if started.exchange is not None:
                self._history.answer(started.exchange, self._cut_answer(started.turn))
            self._post(CutEvent(started.turn.id, len(played.encode("utf-16-le")) // 2))
        self._playout.interrupt()
        self._tell(self._ledger.interrupted())

    def released(self, frame: MediaFrame) -> None:
        """Take note of a frame that the playout released."""
        self._tell(self._ledger.released(frame))

    def seen(self, turn_id: int, delay_s: float) -> None:
        """Note the delay in seconds between the release of a turn's first picture and its display.

        Only the first report of a turn counts.
        """
        times = self._times_of(turn_id)
        if times is not None:
            self._marks.seen(turn_id, times, delay_s, ended=not self._ledger.is_open(turn_id))

    def emit(self, event: SessionEvent) -> None:
        """Send an event of a turn or of the microphone. Events of turns that have ended are dropped."""
        if self._ledger.concerns_nobody(event):
            return
        if isinstance(event, NoticeEvent) and event.code in ONCE:
            if event in self._noticed:
                return
            self._noticed.add(event)
        if isinstance(event, ErrorEvent):
            self._marks.failed(event.code)
        self._post(event)

    async def _perform(self, turn: Turn, exchange: Exchange | None) -> None:
        """Run one turn. When this returns, ledger and history have its outcome."""
        self._tell(self._ledger.begun(turn.id))
        text = ""
        try:
            await turn.run()
            text = turn.text.strip()
        except Exception:  # unexpected: the viewer was told "internal", and the session goes on
            logger.exception("turn %d of session %s failed", turn.id, self._session_id)
        if not self._ledger.is_open(turn.id):
            return  # interrupted while it ended: the history has what was played
        if exchange is not None and text:
            self._history.answer(exchange, text)
        elif exchange is not None:
            self._history.forget(exchange)
        self._tell(self._ledger.handed_over(turn.id, turn.frames_sent))

    def _still_open(self) -> list[_Started]:
        return [started for started in self._started if self._ledger.is_open(started.turn.id)]

    def _played_of(self, turn: Turn) -> str:
        """Return what reached the viewer: whole sentences, then whole words of the last one. Empty if nothing did."""
        reached = self._playout.reached
        return turn.text_until(reached.sentence, reached.share) if reached.turn == turn.id else ""

    def _cut_answer(self, turn: Turn) -> str:
        """Return what the history keeps of an answer that is cut off now; empty if nothing was played."""
        played = self._played_of(turn).strip()
        return played and played + CUT_MARK

    def _tell(self, events: Iterable[SessionEvent]) -> None:
        """Send the ledger's events, and note the marks and the ends of turns."""
        for event in events:
            self._post(event)
            if not isinstance(event, TurnEvent):
                continue
            times = self._times_of(event.turn)
            if event.state is TurnState.SPEAKING and times is not None:
                self._marks.sounds(event.turn, times)
            elif event.state in (TurnState.DONE, TurnState.INTERRUPTED):
                self._marks.end(event.turn, event.state, times)
                self._on_end()

    def _times_of(self, turn_id: int) -> TurnTimes | None:
        """Return the marks of a turn; None if it was never started, or ended a while ago."""
        return next((started.turn.times for started in self._started if started.turn.id == turn_id), None)
