"""Session: one viewer's conversation and playout. It owns its state; the models belong to the engine."""

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
from pipeline.types import AudioChunk, FloatArray, ListenMode, MediaFrame, Message, SessionEvent, SessionStats

__all__ = ["MAX_TEXT_CHARACTERS", "Session"]

MAX_TEXT_CHARACTERS = 10_000
MAX_GREETING_CHARACTERS = 1000
LONGEST_DELAY_S = 5.0
"""Longest delay that is believed: the page's ring buffer holds no more sound, and jitter buffers hold less."""
EVENTS_BOUND = 1000
"""Most events that wait for a listener. Beyond it the oldest is dropped."""


class Session:
    """Made by Engine.open_session(). Call start() before use and aclose() after; aclose() may be called twice."""

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
        """asker: who is served, where several people take turns, e.g. an address. Empty: this session alone.

        questions: the viewer's pace of questions so far; None: a new one, by the limits.
        """
        self.id = session_id
        self.choice = choice
        self.events: Channel[SessionEvent] = Channel(EVENTS_BOUND)
        self.avatars_shown = {context.bundle.id}
        "Ids of all avatars this session has shown, the current one included."
        self.playout = context.playout
        self.outputs = Outputs(session_id, context.playout, Losses(metrics))
        "The outputs of this session. They may be added and removed at any time."
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
        self._greeted = False  # True as well once it is too late for a greeting

    @property
    def bundle(self) -> AvatarBundle:
        """The avatar that is shown."""
        return self.context.bundle

    @property
    def context(self) -> TurnContext:
        """What the next turns work with."""
        return self.conversation.context

    @property
    def in_force(self) -> dict[str, object]:
        """Backends, voice (None: the synthesizer's default) and speed in use, and whose instructions apply."""
        choice, context = self.choice, self.context
        persona = "session" if choice.persona.prompt else "avatar" if context.persona.prompt else "none"
        voice = {"tts": choice.tts, "voice": context.voice, "speed": context.speed}
        return {**voice, "lipsync": choice.lipsync, "persona": persona}

    @property
    def touched_s(self) -> float:
        """Clock time of the viewer's last request or speech; the present while something is being said."""
        if self.playout.ledger.has_open:
            return self.context.clock.now_s()
        return max(self._asked_s, self.conversation.asked_s, self.listening.speech_began_s)

    @property
    def is_mid_turn(self) -> bool:
        """Whether ending the session now would lose an answer that has not been heard, or a question."""
        return self.playout.ledger.has_open or self.playout.sounds or self.listening.hears_speech

    def start(self) -> None:
        """Begin playout, with idle pictures, and wait for something to say."""
        if not self._tasks:
            answering = copy_context()  # in which voices find out for whom they speak
            answering.run(ASKER.set, self.asker)
            self._tasks = [
                asyncio.create_task(self.playout.run(self._released, self.outputs.give_up), name=f"playout-{self.id}"),
                asyncio.create_task(self.conversation.run(), name=f"session-{self.id}", context=answering),
            ]

    def recall(self, told: Iterable[Message]) -> None:
        """Continue the conversation of an earlier session. Call it before the first question."""
        self.conversation.recall(told)

    def standing(self) -> Standing:
        """Return what another session needs to continue from here, in case this one breaks off now."""
        return self.conversation.standing()

    def say(
        self, text: str, mode: str = "chat", *, interrupts: bool = True, speech_ended_s: float | None = None
    ) -> int:
        """Answer `text` (chat), or speak it word for word after what is being said (echo).

        interrupts: whether a question interrupts what is being said; otherwise its answer follows that.
        speech_ended_s: clock time at which the person stopped speaking, if the question was spoken. The turn's marks
            count from then, and this call sets the mark "transcript".

        Returns the turn's id. Raises BadRequest, AskedTooOften, SessionClosed.
        """
        text = text.encode("utf-8", "ignore").decode().strip()  # drops lone surrogates, which no service could encode
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
        """Speak finished audio, after what is being said. Returns the turn's id. Raises BadRequest, SessionClosed."""
        self._require_open()
        return self.conversation.ask(Utterance(speech=speech), None)

    def listen(self, mode: ListenMode, language: str | None = None) -> None:
        """Turn listening on or off: take what hear() gets as the viewer's speech, or stop taking it.

        Models are loaded in the background, and what is said meanwhile is heard. In mode hold (the talk key is down)
        the avatar falls silent at once. language: ISO 639-1 code of the viewer's language; None: unknown.

        Raises BackendUnavailable (with what is missing, and the command that installs it), SessionClosed.
        """
        self._require_open()
        self.listening.listen(mode, language)

    def hear(self, samples: FloatArray) -> None:
        """Take the next sound of the viewer's microphone: (n,) float32 at LISTEN_RATE_HZ.

        Dropped while listening is off.

        Never waits, never raises. At most 2 s are queued; beyond that the oldest sound is dropped and counted.
        """
        self.listening.hear(samples)
        if self.listening.is_on:
            self.outputs.hear(samples)

    def note_reached(self, media_s: float) -> None:
        """Note the second of the media clock that the viewer played last.

        Sent by the viewer after Conversation.hold().
        """
        self.playout.note_reached(media_s)

    def note_delay(self, delay_s: float) -> None:
        """Note the viewer's delay between release and playback, in seconds. Values out of range are clamped."""
        self.playout.viewer_delay_s = min(max(0.0, delay_s), LONGEST_DELAY_S)

    def note_seen(self, turn_id: int, delay_s: float) -> None:
        """Note the delay between the release of a turn's first picture and its display at the viewer, in seconds.

        Only the first report of a turn counts. Values out of range are clamped.
        """
        self.conversation.seen(turn_id, min(max(0.0, delay_s), LONGEST_DELAY_S))

    def begin_gesture(self, name: str) -> None:
        """Show a gesture of the avatar within the next few pictures, whether it speaks or not.

        It replaces a gesture that is running. Networks cannot speak over gestures: with one, the gesture waits until
        nobody speaks, and ends when speech begins. Raises GestureNotFound, SessionClosed.
        """
        self._require_open()
        self.context.begin_gesture(name, soon=True)
        self._asked_s = self.context.clock.now_s()

    def end_gesture(self) -> None:
        """Return to the idle loop. Idempotent."""
        self.playout.end_gesture()

    def interrupt(self) -> None:
        """Stop speaking, drop what is queued, and keep in the history only what was played. Idempotent."""
        self.conversation.interrupt()
        self.listening.interrupted()

    async def attach(self, transport: Transport) -> None:
        """Send frames over `transport` from the next one on. The previous transport is closed, and the turn goes on.

        The first transport means that a viewer has come, so the avatar's greeting is spoken, as a turn that can be
        interrupted.

        The session now owns the transport. It closes it when the transport fails, is replaced or detached, and at the
        session's end. Raises SessionClosed, and then closes the transport, too.
        """
        await self.outputs.attach(transport)
        self.greet()

    def greet(self) -> None:
        """Speak the greeting, once per session, unless the conversation has begun here or in an earlier session."""
        greeting = (self.context.persona.greeting or "").strip()
        is_new = not self._greeted and not self.conversation.has_begun
        self._greeted = True
        if greeting and is_new and self.choice.greets:
            self.say(greeting[:MAX_GREETING_CHARACTERS], "echo")

    async def swap_avatar(self, context: TurnContext) -> None:
        """Continue as another avatar, whose context comes from Engine.context_for. Interrupts what is being said."""
        self.interrupt()
        self.conversation.context = context
        self.avatars_shown.add(context.bundle.id)
        self.playout.swap_loop(context.loop, context.gestures)

    def change(self, context: TurnContext, choice: Choice) -> None:
        """Continue with other backends or another persona. Interrupts nothing. The context comes from Engine.change.

        Voice and speed apply from the next sentence whose synthesis has not begun. Lip-sync and persona apply from the
        next turn that has not begun.
        """
        self.conversation.context, self.choice = context, choice
        self.conversation.change_voice()

    def stats(self) -> SessionStats:
        """Return a snapshot of the session's state, for people and tests."""
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
            "repeated_pictures": playout.repeated_pictures,
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
