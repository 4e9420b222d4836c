"""Listening: a session's microphone, and the reactions to what it hears.

    hear() -> Ears -> take_heard() -> events for the viewer
                                   -> BargeIn -> hold, resume or duck what is being said, or ask the next question

The ears find speech and words, the rules of interruption (BargeIn) decide, and this class does what they decide.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from models.errors import VivavoceError
from pipeline.clock import Clock
from pipeline.ears.barge_in import Avatar, BargeIn, Reaction
from pipeline.ears.canceller import WebRtcCanceller
from pipeline.ears.ears import Ears
from pipeline.ears.events import Failed, Heard, NoWords, SpeechBegan, SpeechEnded, SpeechGoesOn, Words
from pipeline.ears.hearing import Hearing
from pipeline.ears.reference import EchoReference
from pipeline.errors import BackendUnavailable
from pipeline.interfaces import Output
from pipeline.playout import Playout
from pipeline.types import (
    EarsEvent,
    EarsState,
    ErrorEvent,
    FloatArray,
    ListenMode,
    NoticeEvent,
    SessionEvent,
    TranscriptEvent,
)

__all__ = ["Held", "Listening"]

logger = logging.getLogger(__name__)

NOTHING_SAID = TranscriptEvent("", final=True, language="")
EARS_BUSY = NoticeEvent("ears_busy", "What was said before is still being recognised.", "Say it again in a moment.")


class Held(Protocol):
    """Something being said that can be held while a viewer speaks over it. A Conversation is one."""

    def hold(self) -> None:
        """See Conversation.hold()."""
        ...

    def resume(self) -> None:
        """See Conversation.resume()."""
        ...


@dataclass(eq=False)
class Listening:
    """Made by the Session, which closes it. Nothing runs before listen() turns the microphone on for the first time."""

    conversation: Held
    ask: Callable[[str, float | None], int]
    "Takes a question, and the clock time at which its speech ended."
    playout: Playout
    "Playout of the avatar that the viewer speaks to."
    add_output: Callable[[Output], None]
    "Sends its frames to another output as well."
    hearing: Hearing
    clock: Clock
    tell: Callable[[SessionEvent], None]
    "Takes events for the viewer, in order."
    asker: str
    "Who is served at the recogniser; see Recognition."
    speech_began_s: float = field(init=False)
    "Clock time at which the viewer last began to speak; before that, the time of creation."
    hears_speech: bool = field(default=False, init=False)
    "Whether the viewer is speaking, or an utterance is being recognised."
    _barge_in: BargeIn = field(init=False)
    _ears: Ears | None = field(default=None, init=False)
    "Made when the microphone is first turned on."

    def __post_init__(self) -> None:
        self.speech_began_s = self.clock.now_s()
        self._barge_in = BargeIn(self.hearing.choice.barge_in)

    def listen(self, mode: ListenMode, language: str | None = None) -> None:
        """See Session.listen(). Raises BackendUnavailable, SessionClosed."""
        if mode != "off":
            recognizer = self.hearing.recognizer()
            if recognizer.online:
                self.tell(NoticeEvent("heard_by_service", recognizer.note.en if recognizer.note else ""))
            if self._ears is None:
                self._ears = Ears(
                    self.hearing,
                    self.clock,
                    self.take_heard,
                    self._echo_canceller(),
                    self.asker,
                    lambda: self._avatar is not Avatar.SILENT,
                )
                self._ears.start()
                self.playout.keeps_pictures = True
        if self._ears is not None:
            self._ears.listen(mode, language)
        if mode == "hold":
            self._react(self._barge_in.pressed(self._avatar, self.clock.now_s()))
        else:
            self._barge_in.released(self.clock.now_s())

    @property
    def is_on(self) -> bool:
        """Whether the microphone is on."""
        return self._ears is not None and self._ears.is_on

    def hear(self, samples: FloatArray) -> None:
        """See Session.hear()."""
        if self._ears is not None:
            self._ears.hear(samples)

    def take_heard(self, heard: Heard) -> None:
        """Handle a report of the ears. Words become the next question; speech over the avatar may hold it."""
        now_s = self.clock.now_s()
        sounded_s = self.playout.sounded_s
        match heard:
            case EarsEvent(state):
                self.hears_speech = state in (EarsState.HEARING, EarsState.RECOGNISING)
                self.tell(heard)
                if state is EarsState.OFF:
                    self._react(self._barge_in.switched_off())
            case SpeechBegan():
                self.speech_began_s = now_s
                self._barge_in.speech_began(self._avatar, sounded_s, now_s)
            case SpeechGoesOn(speech_s):
                self._react(self._barge_in.speech_goes_on(self._avatar, sounded_s, speech_s, now_s))
            case SpeechEnded():
                self._react(self._barge_in.speech_ended(now_s))
            case Words():
                self._take_words(heard)
            case NoWords(busy):
                self.tell(NOTHING_SAID)
                self._react(self._barge_in.no_words(newest=busy))
                if busy:
                    self.tell(EARS_BUSY)
            case Failed(error):
                self.tell(NOTHING_SAID)
                self._react(self._barge_in.no_words())
                self.tell(ErrorEvent.of(error))

    def time_passes(self) -> None:
        """Call it 25 times a second. It ends a hold that has waited too long for words."""
        self._react(self._barge_in.passes(self.clock.now_s()))

    def interrupted(self) -> None:
        """Note that all speech of the avatar has ended, for whatever reason."""
        self._barge_in.stopped()

    def stats(self) -> dict[str, object]:
        """Return a snapshot for people and tests."""
        return self._ears.stats() if self._ears else {"mode": "off"}

    async def aclose(self) -> None:
        """Stop listening. Unfinished speech is not recognised. Idempotent."""
        if self._ears is not None:
            await self._ears.aclose()

    @property
    def _avatar(self) -> Avatar:
        if self.playout.sounds:
            return Avatar.SPEAKING
        return Avatar.THINKING if self.playout.ledger.has_open else Avatar.SILENT

    def _take_words(self, words: Words) -> None:
        reaction, speech_ended_s = self._barge_in.words(words.final)
        if reaction is Reaction.IGNORE:
            if words.final:
                self.tell(NOTHING_SAID)
            return
        self.tell(TranscriptEvent(words.text, words.final, words.language))
        if reaction is not Reaction.ASK:
            return
        try:
            self.ask(words.text, speech_ended_s)
        except VivavoceError as error:  # e.g. too many questions: report it as for a typed question
            self.tell(ErrorEvent.of(error))
            self.conversation.resume()

    def _react(self, reaction: Reaction | None) -> None:
        """Do what the rules decided about speech. Words are handled by _take_words()."""
        match reaction:
            case Reaction.DUCK:
                self.playout.volume.duck()
            case Reaction.FULL_VOLUME:
                self.playout.volume.restore()
            case Reaction.HOLD:
                self.conversation.hold()
            case Reaction.RESUME:
                self.conversation.resume()

    def _echo_canceller(self) -> WebRtcCanceller | None:
        reference = EchoReference(self.clock, lambda: self.playout.viewer_delay_s)
        try:
            canceller = WebRtcCanceller(reference)
        except BackendUnavailable as error:  # go on without: the viewer's browser has its own canceller
            logger.warning("The avatar may hear itself: %s", error)
            return None
        self.add_output(reference)
        return canceller
