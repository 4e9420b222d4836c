"""Session: one viewer's conversation and playout. Everything it holds is its own; models are the engine's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextvars import copy_context

from avatars.bundle import AvatarBundle
from pipeline.channel import Channel
from pipeline.conversation import Conversation
from pipeline.ears.hearing import Hearing
from pipeline.errors import BadRequest, SessionClosed
from pipeline.fair_line import ASKER
from pipeline.history import Standing
from pipeline.interfaces import Transport
from pipeline.listening import Listening
from pipeline.metrics import EngineMetrics, Losses
from pipeline.outputs import Outputs
from pipeline.question_pace import QuestionPace
from pipeline.turn import Utterance
from pipeline.turn_context import Choice, TurnContext
from pipeline.types import AudioChunk, FloatArray, ListenMode, MediaFrame, Message, SessionEvent

__all__ = ["MAX_TEXT_CHARACTERS", "Session"]

MAX_TEXT_CHARACTERS = 10_000
MOST_GREETING_CHARACTERS = 1000
LONGEST_DELAY_S = 5.0
"""The page's ring holds no more sound than that, and jitter buffers hold less."""
EVENTS_BOUND = 1000
"""Events that may wait for a listener; beyond it the oldest is forgotten."""


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
        questions: QuestionPace | None = None,
    ) -> None:
        """asker: whose session it is where sessions take turns, e.g. an address; "": this session's alone.

        questions: how often the viewer may ask; None: as the limits say, from now on.
        """
        self.id = session_id
        self.choice = choice
        self.events: Channel[SessionEvent] = Channel(EVENTS_BOUND)
        self.avatars_shown = {context.bundle.id}
        "ids of this avatar and of those before it"
        self.playout = context.playout
        self.outputs = Outputs(session_id, context.playout, Losses(metrics))
        "where frames go; to be added and removed at any time"
        self.questions = questions or QuestionPace(context.clock, context.limits.questions_a_minute)
        self.conversation = Conversation(
            session_id, context, metrics, self.events.push, self.outputs.count_losses, self.questions
        )
        self.asker = asker or session_id
        self.listening = Listening(
            self.conversation,
            lambda question, ended_s: self.say(question, speech_ended_s=ended_s),
            context.playout,
            self.outputs.add,
            hearing,
            context.clock,
            self.conversation.emit,
            self.asker,
        )
        self._asked_s = context.clock.now_s()
        self._tasks: list[asyncio.Task[None]] = []
        self.closed = False
        self._greeted = False  # or it is too late for a greeting

    @property
    def bundle(self) -> AvatarBundle:
        return self.context.bundle

    @property
    def context(self) -> TurnContext:
        """What turns work with that begin from now on."""
        return self.conversation.context

    @property
    def in_force(self) -> dict[str, object]:
        """The backends, the voice (None: the synthesizer's default), its speed, and whose instructions count."""
        choice, context = self.choice, self.context
        persona = "session" if choice.persona.prompt else "avatar" if context.persona.prompt else "none"
        voice = {"tts": choice.tts, "voice": context.voice, "speed": context.speed}
        return {**voice, "lipsync": choice.lipsync, "persona": persona}

    @property
    def touched_s(self) -> float:
        """Clock time at which something was last asked for, or being said, or the viewer began to speak."""
        if self.playout.ledger.has_open:
            return self.context.clock.now_s()
        return max(self._asked_s, self.conversation.asked_s, self.listening.speech_began_s)

    @property
    def is_mid_turn(self) -> bool:
        """Whether something would be lost if the session ended now: an answer, until it was heard, or a question."""
        return self.playout.ledger.has_open or self.playout.sounds or self.listening.hears_speech

    def start(self) -> None:
        """Begin playout (idle pictures) and wait for something to say."""
        if not self._tasks:
            answering = copy_context()  # in which voices find out who asks
            answering.run(ASKER.set, self.asker)
            self._tasks = [
                asyncio.create_task(self.playout.run(self._released, self.outputs.give_up), name=f"playout-{self.id}"),
                asyncio.create_task(self.conversation.run(), name=f"session-{self.id}", context=answering),
            ]

    def recall(self, told: Iterable[Message]) -> None:
        """Go on with a conversation of an earlier session; call it before the first question."""
        self.conversation.recall(told)

    def standing(self) -> Standing:
        """What another session would have to know to go on from here, if this one broke off now."""
        return self.conversation.standing()

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
        if mode not in ("chat", "echo"):
            raise BadRequest(f"There is no mode '{mode}'.", "Use chat or echo.")
        if mode == "chat":
            self.conversation.count_question()
            self.playout.note_question(text)
            if interrupts:
                self.interrupt()
        self._require_open()
        if mode == "echo":
            return self.conversation.ask(Utterance(text=text), None)
        return self.conversation.ask(Utterance(), text, speech_ended_s)

    def speak(self, speech: AsyncIterator[AudioChunk]) -> int:
        """Speak ready audio (queued). Returns the turn's id. Raises BadRequest, SessionClosed."""
        self._require_open()
        return self.conversation.ask(Utterance(speech=speech), None)

    def listen(self, mode: ListenMode, language: str | None = None) -> None:
        """From now on, take what hear() is given as speech of the viewer, or no longer.

        What is needed is loaded behind it, and what is said meanwhile is heard. With hold (a key to talk is down) the
        avatar falls silent at once. language: ISO 639-1, what the viewer speaks; None: not known.

        Raises BackendUnavailable (what is missing, and the command that brings it), SessionClosed.
        """
        self._require_open()
        self.listening.listen(mode, language)

    def hear(self, samples: FloatArray) -> None:
        """The next sound of the viewer's microphone: (n,) float32 at LISTEN_RATE_HZ. Dropped while nobody listens.

        Never waits, never raises. At most 2 s wait to be looked at; beyond that the oldest is dropped and counted.
        """
        self.listening.hear(samples)
        if self.listening.is_on:
            self.outputs.hear(samples)

    def note_reached(self, media_s: float) -> None:
        """The viewer says, after Conversation.hold(), which second of the media clock was played last there."""
        self.playout.note_reached(media_s)

    def note_delay(self, delay_s: float) -> None:
        """The viewer says how long it takes until what is released is played there. What is not believable is cut."""
        self.playout.viewer_delay_s = min(max(0.0, delay_s), LONGEST_DELAY_S)

    def note_seen(self, turn_id: int, delay_s: float) -> None:
        """The viewer says how long after its release the first picture of a turn was seen there. The first report of a
        turn counts; what is not believable is cut.
        """
        self.conversation.seen(turn_id, min(max(0.0, delay_s), LONGEST_DELAY_S))

    def begin_gesture(self, name: str) -> None:
        """Show a gesture of the avatar, while it speaks or not, within the next few pictures.

        It takes the place of one that is shown. A network cannot speak over gestures: with one the gesture waits until
        nobody speaks, and ends where speech begins. Raises GestureNotFound, SessionClosed.
        """
        self._require_open()
        self.context.begin_gesture(name, soon=True)
        self._asked_s = self.context.clock.now_s()

    def end_gesture(self) -> None:
        """Go back to the idle loop. Idempotent."""
        self.playout.end_gesture()

    def interrupt(self) -> None:
        """Stop speaking, forget what is queued, keep in the history only what the viewer got. Idempotent."""
        self.conversation.interrupt()
        self.listening.interrupted()

    async def attach(self, transport: Transport) -> None:
        """Send frames over `transport` from the next one on; the transport before it is closed. The turn goes on.

        With the first transport somebody is there: the avatar's greeting is spoken, as a turn that can be interrupted.

        From here on the session owns the transport and closes it: when it fails, when another takes its place, when it
        is detached, and at the session's end. Raises SessionClosed; the transport is closed then, too.
        """
        await self.outputs.attach(transport)
        self.greet()

    def greet(self) -> None:
        """Somebody is there: say the greeting, once a session, unless the conversation has begun elsewhere or here."""
        greeting = (self.context.persona.greeting or "").strip()
        is_new = not self._greeted and not self.conversation.has_begun
        self._greeted = True
        if greeting and is_new and self.choice.greets:
            self.say(greeting[:MOST_GREETING_CHARACTERS], "echo")

    async def swap_avatar(self, context: TurnContext) -> None:
        """Go on as another avatar (its context comes from Engine.context_for); what is being said is interrupted."""
        self.interrupt()
        self.conversation.context = context
        self.avatars_shown.add(context.bundle.id)
        self.playout.swap_loop(context.loop, context.gestures)

    def change(self, context: TurnContext, choice: Choice) -> None:
        """Go on with other backends or another persona (context comes from Engine.change). Nothing is interrupted.

        A voice and its speed hold from the next sentence on whose sound has not begun to be made; lip-sync and persona,
        from the next turn on that has not begun.
        """
        self.conversation.context, self.choice = context, choice
        self.conversation.change_voice()

    def stats(self) -> dict[str, object]:
        """A snapshot for people and tests."""
        playout, ledger = self.playout, self.playout.ledger
        return {
            "session": self.id,
            "avatar": self.bundle.id,
            "choice": self.in_force,
            "pts": playout.number,
            "turn": ledger.last_turn,
            "state": str(ledger.state(ledger.last_turn) or "idle"),
            "queued_pictures": len(playout.spoken),
            "starved_pictures": playout.starved_pictures,
            "slipped_ms": round(1000 * playout.slipped_s),
            "transport": self.outputs.transport_name,
            "ears": self.listening.stats(),
        }

    async def aclose(self) -> None:
        """End everything in reverse order of its start. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self.outputs.refuse_more()
        await self.listening.aclose()
        self.interrupt()
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.events.close()
        await self.outputs.aclose()

    def _released(self, frame: MediaFrame) -> None:
        self.conversation.released(frame)
        self.listening.time_passes()

    def _require_open(self) -> None:
        if self.closed:
            raise SessionClosed("The session has ended.", "Start a new one.")
