"""Conversation: the turns of one session. The line in which they wait, what is told of them, and what is remembered."""

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
from pipeline.turn import Turn, Utterance
from pipeline.turn_context import TurnContext
from pipeline.turn_marks import TurnMarks
from pipeline.types import CutEvent, ErrorEvent, MediaFrame, Message, NoticeEvent, SessionEvent, TurnEvent, TurnState

__all__ = ["MAX_QUEUED_TURNS", "Conversation"]

logger = logging.getLogger(__name__)

MAX_QUEUED_TURNS = 8
ONCE = frozenset({"heard_by_service", "language_not_supported", "speed_not_kept", "voice_replaced"})
"""Notices that stay true for a session: told once, not with each sentence or turn."""
TAGS_PROMPT = (
    "The avatar has gestures: {tags}. Where one fits, write its tag as it is here, before the sentence that it goes "
    "with. Tags are shown as gestures and not read aloud. Use them sparingly."
)
"""Tells a language model what the avatar can show."""
CUT_MARK = " …"
"""Ends what the history keeps of an answer that was interrupted."""


@dataclass(frozen=True, slots=True)
class _Queued:
    """A turn that waits for those before it."""

    turn: int
    utterance: Utterance
    question: str | None
    "what a person said to the language model; None for echo and ready speech"
    times: TurnTimes | None
    "of a turn that waits for no other: its marks count from the question"


@dataclass(slots=True)
class _Started:
    """A turn that was started; it may be handed over whole and still be playing."""

    turn: Turn
    task: asyncio.Task[None]
    exchange: Exchange | None
    "where its words belong; None for echo and ready speech"


class Conversation:
    """Made by the Session, which keeps run() going until its end, and hands on each frame that was released.

    post: takes events for the viewer, in order. on_end: called when a turn has ended, whatever became of it.
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
        "what turns work with that begin from now on"
        self.asked_s = context.clock.now_s()
        "clock time at which something was last asked for, or interrupted"
        self._session_id = session_id
        self._clock = context.clock
        self._playout = context.playout
        self._ledger = context.playout.ledger
        self._post = post
        self._on_end = on_end
        self._marks = TurnMarks(session_id, context.clock, metrics, post)
        self._history = History(context.limits.history_tokens)
        self._questions = questions
        self._asked: Channel[_Queued] = Channel(MAX_QUEUED_TURNS)
        self._started: list[_Started] = []  # turns that were started and have not ended, and the last one
        self._noticed: set[NoticeEvent] = set()  # as many as there are languages and voices

    @property
    def history(self) -> tuple[Message, ...]:
        """What was asked and played, oldest first."""
        return self._history.messages()

    @property
    def has_begun(self) -> bool:
        """Whether anything was asked or spoken, here or in an earlier session that goes on here."""
        return bool(self._history.messages() or self._ledger.last_turn)

    def standing(self) -> Standing:
        """See Session.standing()."""
        still_open = self._still_open()
        cut = {one.exchange: self._cut_answer(one.turn) for one in still_open if one.exchange is not None}
        played = None
        if self._ledger.has_open:
            played = " ".join(filter(None, (self._played_of(one.turn).strip() for one in still_open)))
        return Standing(self._history.messages(cut), played, self.has_begun)

    def recall(self, told: Iterable[Message]) -> None:
        """See Session.recall()."""
        self._history.recall(told)

    def count_question(self) -> None:
        """A question for the language model. Raises AskedTooOften."""
        self._questions.count()

    def ask(self, utterance: Utterance, question: str | None, speech_ended_s: float | None = None) -> int:
        """Queue a turn, and return its id.

        question: what a person said to the language model, which then finds the words; None: the utterance has them.
        speech_ended_s: see Session.say().

        Raises BadRequest: too many wait.
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
        """Perform the turns that were asked for, one after another, for ever."""
        async for asked in self._asked:
            utterance, exchange = asked.utterance, None
            if asked.question is not None:
                exchange = self._history.ask(asked.question)
                utterance = Utterance(messages=self.messages())
            turn = Turn(asked.turn, self.context, utterance, self.emit, times=asked.times)
            task = asyncio.create_task(self._perform(turn, exchange), name=f"turn-{turn.id}")
            self._started = [*self._still_open(), _Started(turn, task, exchange)]
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def messages(self) -> tuple[Message, ...]:
        """What the language model is sent: who it is, where the persona says so, and the conversation."""
        prompt, gestures = self.context.persona.prompt, self.context.gesture_names
        if not prompt and not gestures:
            return self._history.messages()  # the model has instructions of its own
        tags = " ".join(f"[{name}]" for name in gestures)
        parts = (prompt, SYSTEM_PROMPT, TAGS_PROMPT.format(tags=tags) if gestures else None)
        return (Message("system", "\n\n".join(part for part in parts if part)), *self._history.messages())

    def change_voice(self) -> None:
        """Have turns that have begun, too, speak with the voice of the context as it is now."""
        for started in self._still_open():
            started.turn.change_voice(self.context)

    def hold(self) -> None:
        """Fall silent at once and forget nothing: somebody speaks over what is being said. Idempotent.

        Answers that have not begun wait, too. resume() or interrupt() follows. Nothing happens while nothing
        is being said.
        """
        if self._ledger.has_open:
            self._playout.hold()
            self._tell(self._ledger.held())

    def resume(self) -> None:
        """Go on with what is held, from shortly before the place where it was cut for the viewer. Idempotent."""
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
        """The playout released this frame."""
        self._tell(self._ledger.released(frame))

    def seen(self, turn_id: int, delay_s: float) -> None:
        """The first picture of a turn was seen at the viewer, so long after its release. The first report counts."""
        times = self._times_of(turn_id)
        if times is not None:
            self._marks.seen(turn_id, times, delay_s, ended=not self._ledger.is_open(turn_id))

    def emit(self, event: SessionEvent) -> None:
        """What a turn or the microphone reports on its way. Of a turn that has ended it is not told."""
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
        """Run one turn; what became of it is in the ledger and the history when this returns."""
        self._tell(self._ledger.begun(turn.id))
        text = ""
        try:
            await turn.run()
            text = turn.text.strip()
        except Exception:  # nobody foresaw it: the viewer was told "internal", and the session goes on
            logger.exception("turn %d of session %s failed", turn.id, self._session_id)
        if not self._ledger.is_open(turn.id):
            return  # it was interrupted as it ended: the history holds what was played
        if exchange is not None and text:
            self._history.answer(exchange, text)
        elif exchange is not None:
            self._history.forget(exchange)
        self._tell(self._ledger.handed_over(turn.id, turn.frames_sent))

    def _still_open(self) -> list[_Started]:
        return [started for started in self._started if self._ledger.is_open(started.turn.id)]

    def _played_of(self, turn: Turn) -> str:
        """What of an answer reached the viewer: whole sentences, then whole words of the last; empty for nothing."""
        reached = self._playout.reached
        return turn.text_until(reached.sentence, reached.share) if reached.turn == turn.id else ""

    def _cut_answer(self, turn: Turn) -> str:
        """What the history keeps of an answer that breaks off now; empty for nothing."""
        played = self._played_of(turn).strip()
        return played and played + CUT_MARK

    def _tell(self, events: Iterable[SessionEvent]) -> None:
        """What the ledger found to be true."""
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
        """None of a turn that was never started, or ended a while ago."""
        return next((started.turn.times for started in self._started if started.turn.id == turn_id), None)
