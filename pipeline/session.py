"""Session: one viewer's conversation and playout. Everything it holds is its own; models are the engine's."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from avatars.bundle import AvatarBundle
from pipeline.channel import Channel
from pipeline.ears.hearing import Hearing
from pipeline.errors import AskedTooOften, BadRequest, SessionClosed
from pipeline.history import Exchange, History
from pipeline.interfaces import Output, Transport
from pipeline.ledger import TurnLedger
from pipeline.listening import Listening
from pipeline.llm.openai import SYSTEM_PROMPT
from pipeline.metrics import EngineMetrics, Losses, TurnTimes
from pipeline.outputs import Outputs
from pipeline.playout import Playout
from pipeline.turn import Turn, Utterance
from pipeline.turn_context import Choice, TurnContext
from pipeline.turn_marks import TurnMarks
from pipeline.types import (
    AudioChunk,
    CutEvent,
    ErrorEvent,
    FloatArray,
    ListenMode,
    MediaFrame,
    Message,
    NoticeEvent,
    SessionEvent,
    TurnEvent,
    TurnState,
)

__all__ = ["MAX_TEXT_CHARACTERS", "Session"]

logger = logging.getLogger(__name__)

MAX_TEXT_CHARACTERS = 10_000
MAX_QUEUED_TURNS = 8
MOST_GREETING_CHARACTERS = 1000
ONCE = frozenset({"heard_by_service", "language_not_supported", "speed_not_kept", "voice_replaced"})
"""Notices that stay true for a session: told once, not with each sentence or turn."""
TAGS_PROMPT = (
    "The avatar has gestures: {tags}. Where one fits, write its tag as it is here, before the sentence that it goes "
    "with. Tags are shown as gestures and not read aloud. Use them sparingly."
)
"""Tells a language model what the avatar can show."""
CUT_MARK = " …"
"""Ends what the history keeps of an answer that was interrupted."""
LONGEST_DELAY_S = 5.0
"""The page's ring holds no more sound than that, and jitter buffers hold less."""
EVENTS_BOUND = 1000
"""Events that may wait for a listener; beyond it the oldest is forgotten."""


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


class Session:
    """Made by Engine.open_session(). start() before use; aclose() undoes it, twice if need be."""

    def __init__(
        self,
        session_id: str,
        context: TurnContext,
        choice: Choice,
        metrics: EngineMetrics,
        hearing: Hearing,
        asker: str = "",
    ) -> None:
        """asker: whose session it is where sessions take turns, e.g. an address; "": this session's alone."""
        self.id = session_id
        self.choice = choice
        self.events: Channel[SessionEvent] = Channel(EVENTS_BOUND)
        self._context = context
        self.avatars_shown = {context.bundle.id}
        "ids of this avatar and of those before it"
        self._outputs = Outputs(session_id, context.playout, Losses(metrics))
        self._marks = TurnMarks(session_id, context.clock, metrics, self._post)
        self._history = History(context.limits.history_tokens)
        self._questions_s: deque[float] = deque(maxlen=context.limits.questions_a_minute)
        self._asked: Channel[_Queued] = Channel(MAX_QUEUED_TURNS)
        self._ledger: TurnLedger = context.playout.ledger
        self.listening = Listening(self, context.playout, hearing, context.clock, self._emit, asker or session_id)
        self._asked_s = context.clock.now_s()
        self._started: list[_Started] = []  # turns that were started and have not ended, and the last one
        self._tasks: list[asyncio.Task[None]] = []
        self._noticed: set[NoticeEvent] = set()  # as many as there are languages and voices
        self._closed = False
        self._greeted = False  # or it is too late for a greeting

    @property
    def bundle(self) -> AvatarBundle:
        return self._context.bundle

    @property
    def context(self) -> TurnContext:
        """What turns work with that begin from now on."""
        return self._context

    @property
    def in_force(self) -> dict[str, object]:
        """The backends, the voice (None: the synthesizer's default), its speed, and whose instructions count."""
        choice, context = self.choice, self._context
        persona = "session" if choice.persona.prompt else "avatar" if context.persona.prompt else "none"
        voice = {"tts": choice.tts, "voice": context.voice, "speed": context.speed}
        return {**voice, "lipsync": choice.lipsync, "persona": persona}

    @property
    def gestures(self) -> tuple[str, ...]:
        """What the avatar can do beside talking, by name."""
        return self._context.gesture_names

    @property
    def playout(self) -> Playout:
        return self._context.playout

    @property
    def history(self) -> tuple[Message, ...]:
        """What was asked and played, oldest first."""
        return self._history.messages()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def touched_s(self) -> float:
        """Clock time at which something was last asked for, or being said, or the viewer began to speak."""
        if self._ledger.has_open:
            return self._context.clock.now_s()
        return max(self._asked_s, self.listening.speech_began_s)

    def start(self) -> None:
        """Begin playout (idle pictures) and wait for something to say."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self.playout.run(self._released, self._outputs.give_up), name=f"playout-{self.id}"),
                asyncio.create_task(self._converse(), name=f"session-{self.id}"),
            ]

    def recall(self, told: Iterable[Message]) -> None:
        """Go on with a conversation of an earlier session; call it before the first question."""
        self._history.recall(told)

    def say(
        self, text: str, mode: str = "chat", *, interrupts: bool = True, speech_ended_s: float | None = None
    ) -> int:
        """Ask for an answer to `text` (chat) or speak it as it is, after what is being said (echo).

        interrupts: a question interrupts what is being said; else its answer is spoken after that.
        speech_ended_s: of a question that was spoken, the clock time at which the person stopped speaking. The marks of
            its turn count from then, and "transcript" is the mark of this call.

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
        self.playout.note_question(text)
        if interrupts:
            self.interrupt()
        return self._ask(Utterance(), text, speech_ended_s)

    def speak(self, speech: AsyncIterator[AudioChunk]) -> int:
        """Speak ready audio (queued). Returns the turn's id. Raises BadRequest, SessionClosed."""
        return self._ask(Utterance(speech=speech), None)

    def listen(self, mode: ListenMode, language: str | None = None) -> None:
        """From now on, take what hear() is given as speech of the viewer, or no longer.

        What is needed is loaded behind it, and what is said meanwhile is heard. With hold (a key to talk is down) the
        avatar falls silent at once. language: ISO 639-1, what the viewer speaks; None: not known.

        Raises BackendUnavailable (what is missing, and the command that brings it), SessionClosed.
        """
        if self._closed:
            raise SessionClosed("The session has ended.", "Start a new one.")
        self.listening.listen(mode, language)

    def hear(self, samples: FloatArray) -> None:
        """The next sound of the viewer's microphone: (n,) float32 at LISTEN_RATE_HZ. Dropped while nobody listens.

        Never waits, never raises. At most 2 s wait to be looked at; beyond that the oldest is dropped and counted.
        """
        self.listening.hear(samples)
        if self.listening.is_on:
            self._outputs.hear(samples)

    def hold(self) -> None:
        """Fall silent at once and forget nothing: somebody speaks over what is being said. Idempotent.

        Answers that have not begun wait, too. resume() or interrupt() follows. Nothing happens while nothing
        is being said.
        """
        if self._ledger.has_open:
            self.playout.hold()
            self._tell(self._ledger.held())

    def resume(self) -> None:
        """Go on with what is held, from shortly before the place where it was cut for the viewer. Idempotent."""
        self._tell(self._ledger.resumed(self.playout.resume()))

    def note_reached(self, media_s: float) -> None:
        """The viewer says, after hold(), which second of the media clock was played last there."""
        self.playout.note_reached(media_s)

    def note_delay(self, delay_s: float) -> None:
        """The viewer says how long it takes until what is released is played there. What is not believable is cut."""
        self.playout.viewer_delay_s = min(max(0.0, delay_s), LONGEST_DELAY_S)

    def note_seen(self, turn_id: int, delay_s: float) -> None:
        """The viewer says how long after its release the first picture of a turn was seen there. The first report of a
        turn counts; what is not believable is cut.
        """
        times = self._times_of(turn_id)
        if times is not None:
            believed_s = min(max(0.0, delay_s), LONGEST_DELAY_S)
            self._marks.seen(turn_id, times, believed_s, ended=not self._ledger.is_open(turn_id))

    def begin_gesture(self, name: str) -> None:
        """Show a gesture of the avatar, while it speaks or not, within the next few pictures.

        It takes the place of one that is shown. A network cannot speak over gestures: with one the gesture waits until
        nobody speaks, and ends where speech begins. Raises GestureNotFound, SessionClosed.
        """
        if self._closed:
            raise SessionClosed("The session has ended.", "Start a new one.")
        self._context.begin_gesture(name, soon=True)
        self._asked_s = self._context.clock.now_s()

    def end_gesture(self) -> None:
        """Go back to the idle loop. Idempotent."""
        self.playout.end_gesture()

    def interrupt(self) -> None:
        """Stop speaking, forget what is queued, keep in the history only what the viewer got. Idempotent."""
        self._asked_s = self._context.clock.now_s()
        self._asked.clear()
        for started in self._still_open():
            started.task.cancel()
            played = self._played_of(started.turn)
            if started.exchange is not None:
                self._history.answer(started.exchange, played.strip() and played.strip() + CUT_MARK)
            self._post(CutEvent(started.turn.id, len(played.encode("utf-16-le")) // 2))
        self.playout.interrupt()
        self.listening.interrupted()
        self._tell(self._ledger.interrupted())

    async def attach(self, transport: Transport) -> None:
        """Send frames over `transport` from the next one on; the transport before it is closed. The turn goes on.

        With the first transport somebody is there: the avatar's greeting is spoken, as a turn that can be interrupted.

        From here on the session owns the transport and closes it: when it fails, when another takes its place, when it
        is detached, and at the session's end. Raises SessionClosed; the transport is closed then, too.
        """
        if self._closed:
            await transport.aclose()
            raise SessionClosed("The session has ended.", "Start a new one.")
        await self._outputs.attach(transport)
        self.greet()

    def detach(self) -> None:
        """Send frames nowhere; the media clock runs on. The transport is closed."""
        self._outputs.detach()

    def add_output(self, output: Output, hear: Callable[[FloatArray], None] | None = None) -> None:
        """Send frames there as well, from the next one on. The session closes it at its end, or when it fails.

        hear: called with the sound of the viewer's microphone while that is on, as hear() gets it, and as long as the
            output is one of the session's.
        """
        if self._closed:
            raise SessionClosed("The session has ended.", "Start a new one.")
        self._outputs.add(output, hear)

    def remove_output(self, output: Output) -> None:
        """Send no more frames there, and close it. No effect if it is none of the session's outputs."""
        self._outputs.remove(output)

    async def swap_avatar(self, context: TurnContext) -> None:
        """Go on as another avatar (its context comes from Engine.context_for); what is being said is interrupted."""
        self.interrupt()
        self._context = context
        self.avatars_shown.add(context.bundle.id)
        self.playout.swap_loop(context.loop, context.gestures)

    def change(self, context: TurnContext, choice: Choice) -> None:
        """Go on with other backends or another persona (context comes from Engine.change). Nothing is interrupted.

        A voice and its speed hold from the next sentence on whose sound has not begun to be made; lip-sync and persona,
        from the next turn on that has not begun.
        """
        self._context, self.choice = context, choice
        for started in self._still_open():
            started.turn.change_voice(context)

    def count_losses(self) -> None:
        """Bring the metrics up to date with what this session lost and sent."""
        self._outputs.count_losses()

    def stats(self) -> dict[str, object]:
        """A snapshot for people and tests."""
        playout = self.playout
        return {
            "session": self.id,
            "avatar": self.bundle.id,
            "choice": self.in_force,
            "pts": playout.number,
            "turn": self._ledger.last_turn,
            "state": str(self._ledger.state(self._ledger.last_turn) or "idle"),
            "queued_pictures": len(playout.spoken),
            "starved_pictures": playout.starved_pictures,
            "slipped_ms": round(1000 * playout.slipped_s),
            "transport": self._outputs.transport_name,
            "ears": self.listening.stats(),
        }

    async def aclose(self) -> None:
        """End everything in reverse order of its start. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await self.listening.aclose()
        self.interrupt()
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.events.close()
        await self._outputs.aclose()

    def _ask(self, utterance: Utterance, question: str | None, speech_ended_s: float | None = None) -> int:
        if self._closed:
            raise SessionClosed("The session has ended.", "Start a new one.")
        if self._asked.full:
            raise BadRequest(
                f"{MAX_QUEUED_TURNS} answers are waiting already.",
                "Wait for one to end, or interrupt.",
                cause="many_waiting",
            )
        self._asked_s = self._context.clock.now_s()
        times = None
        if not self._ledger.has_open:
            times = TurnTimes(self._context.clock, speech_ended_s)
            if speech_ended_s is not None:
                times.mark("transcript")
        turn_id, events = self._ledger.queue()
        self._asked.offer(_Queued(turn_id, utterance, question, times))
        self._tell(events)
        return turn_id

    async def _converse(self) -> None:
        async for asked in self._asked:
            utterance, exchange = asked.utterance, None
            if asked.question is not None:
                exchange = self._history.ask(asked.question)
                utterance = Utterance(messages=self._messages())
            turn = Turn(asked.turn, self._context, utterance, self._emit, times=asked.times)
            task = asyncio.create_task(self._perform(turn, exchange), name=f"turn-{turn.id}")
            self._started = [*self._still_open(), _Started(turn, task, exchange)]
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _perform(self, turn: Turn, exchange: Exchange | None) -> None:
        """Run one turn; what became of it is in the ledger and the history when this returns."""
        self._tell(self._ledger.begun(turn.id))
        text = ""
        try:
            await turn.run()
            text = turn.text.strip()
        except Exception:  # nobody foresaw it: the viewer was told "internal", and the session goes on
            logger.exception("turn %d of session %s failed", turn.id, self.id)
        if not self._ledger.is_open(turn.id):
            return  # it was interrupted as it ended: the history holds what was played
        if exchange is not None and text:
            self._history.answer(exchange, text)
        elif exchange is not None:
            self._history.forget(exchange)
        self._tell(self._ledger.handed_over(turn.id, turn.frames_sent))

    def _messages(self) -> tuple[Message, ...]:
        """What the language model is sent: who it is, where the persona says so, and the conversation."""
        prompt, gestures = self._context.persona.prompt, self._context.gesture_names
        if not prompt and not gestures:
            return self._history.messages()  # the model has instructions of its own
        tags = " ".join(f"[{name}]" for name in gestures)
        parts = (prompt, SYSTEM_PROMPT, TAGS_PROMPT.format(tags=tags) if gestures else None)
        return (Message("system", "\n\n".join(part for part in parts if part)), *self._history.messages())

    def greet(self) -> None:
        """Somebody is there: say the greeting, once a session, unless the conversation has begun elsewhere or here."""
        greeting = (self._context.persona.greeting or "").strip()
        is_new = not self._greeted and not self._history.messages() and not self._ledger.last_turn
        self._greeted = True
        if greeting and is_new and self.choice.greets:
            self.say(greeting[:MOST_GREETING_CHARACTERS], "echo")

    def _still_open(self) -> list[_Started]:
        return [started for started in self._started if self._ledger.is_open(started.turn.id)]

    def _released(self, frame: MediaFrame) -> None:
        self._tell(self._ledger.released(frame))
        self.listening.time_passes()

    def _played_of(self, turn: Turn) -> str:
        """What of an answer reached the viewer: whole sentences, then whole words of the last; empty for nothing."""
        reached = self.playout.reached
        return turn.text_until(reached.sentence, reached.share) if reached.turn == turn.id else ""

    def _count_question(self) -> None:
        now_s = self._context.clock.now_s()
        if len(self._questions_s) == self._questions_s.maxlen and now_s - self._questions_s[0] < 60:
            wait_s = round(60 - (now_s - self._questions_s[0])) + 1
            raise AskedTooOften(
                f"That were {len(self._questions_s)} questions within a minute.", f"Ask again in {wait_s} seconds."
            )
        self._questions_s.append(now_s)

    def _emit(self, event: SessionEvent) -> None:
        """What a turn reports on its way, as long as it has not ended."""
        if self._ledger.concerns_nobody(event):
            return
        if isinstance(event, NoticeEvent) and event.code in ONCE:
            if event in self._noticed:
                return
            self._noticed.add(event)
        if isinstance(event, ErrorEvent):
            self._marks.failed(event.code)
        self._post(event)

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
                self.count_losses()

    def _times_of(self, turn_id: int) -> TurnTimes | None:
        """None of a turn that was never started, or ended a while ago."""
        return next((started.turn.times for started in self._started if started.turn.id == turn_id), None)

    def _post(self, event: SessionEvent) -> None:
        self.events.push(event)
