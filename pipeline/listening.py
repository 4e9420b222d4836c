"""Listening: a session's microphone, and what is done about what it hears.

    hear() -> Ears -> take_heard() -> events for the viewer
                                   -> BargeIn -> hold, resume or duck what is being said, or ask the next question

The ears find speech and words. The rules of interruption (BargeIn) decide. This class carries out what they decide.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
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

__all__ = ["Conversation", "Listening"]

logger = logging.getLogger(__name__)

NOTHING_SAID = TranscriptEvent("", final=True, language="")
EARS_BUSY = NoticeEvent("ears_busy", "What was said before is still being recognised.", "Say it again in a moment.")


class Conversation(Protocol):
    """What a viewer's speech changes. A Session is one."""

    def say(self, text: str, mode: str = "chat", *, speech_ended_s: float | None = None) -> int:
        """See Session.say()."""
        ...

    def hold(self) -> None:
        """See Session.hold()."""
        ...

    def resume(self) -> None:
        """See Session.resume()."""
        ...

    def add_output(self, output: Output) -> None:
        """See Session.add_output()."""
        ...


class Listening:
    """Made by the Session, which closes it. Nothing runs before listen() first switches the microphone on.

    playout: of the avatar that is spoken to. tell: takes events for the viewer, in order. asker: see Recognition.
    """

    def __init__(
        self,
        conversation: Conversation,
        playout: Playout,
        hearing: Hearing,
        clock: Clock,
        tell: Callable[[SessionEvent], None],
        asker: str,
    ) -> None:
        self._conversation = conversation
        self._playout = playout
        self._hearing = hearing
        self._clock = clock
        self._tell = tell
        self._asker = asker
        self._barge_in = BargeIn(hearing.choice.barge_in)
        self._ears: Ears | None = None  # from the first time that somebody switches the microphone on
        self.speech_began_s = clock.now_s()
        "clock time at which the viewer last began to speak; at first that of the beginning"

    def listen(self, mode: ListenMode, language: str | None = None) -> None:
        """See Session.listen(). Raises BackendUnavailable, SessionClosed."""
        if mode != "off":
            recognizer = self._hearing.recognizer()
            if recognizer.online:
                self._tell(NoticeEvent("heard_by_service", recognizer.note.en if recognizer.note else ""))
            if self._ears is None:
                self._ears = Ears(
                    self._hearing,
                    self._clock,
                    self.take_heard,
                    self._echo_canceller(),
                    self._asker,
                    lambda: self._avatar is not Avatar.SILENT,
                )
                self._ears.start()
        if self._ears is not None:
            self._ears.listen(mode, language)
        if mode == "hold":
            self._react(self._barge_in.pressed(self._avatar, self._clock.now_s()))
        else:
            self._barge_in.released(self._clock.now_s())

    @property
    def is_on(self) -> bool:
        """Whether the microphone is switched on."""
        return self._ears is not None and self._ears.is_on

    def hear(self, samples: FloatArray) -> None:
        """See Session.hear()."""
        if self._ears is not None:
            self._ears.hear(samples)

    def take_heard(self, heard: Heard) -> None:
        """What the ears report. Words become the next question; speech over the avatar may hold it."""
        now_s = self._clock.now_s()
        sounded_s = self._playout.sounded_s
        match heard:
            case EarsEvent(state):
                self._tell(heard)
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
                self._tell(NOTHING_SAID)
                self._react(self._barge_in.no_words(newest=busy))
                if busy:
                    self._tell(EARS_BUSY)
            case Failed(error):
                self._tell(NOTHING_SAID)
                self._react(self._barge_in.no_words())
                self._tell(ErrorEvent.of(error))

    def time_passes(self) -> None:
        """Call it 25 times a second: what is held does not wait for words for ever."""
        self._react(self._barge_in.passes(self._clock.now_s()))

    def interrupted(self) -> None:
        """All that was being said has ended, whatever the reason."""
        self._barge_in.stopped()

    def stats(self) -> dict[str, object]:
        """A snapshot for people and tests."""
        return self._ears.stats() if self._ears else {"mode": "off"}

    async def aclose(self) -> None:
        """Stop, without words for what was being said. Idempotent."""
        if self._ears is not None:
            await self._ears.aclose()

    @property
    def _avatar(self) -> Avatar:
        if self._playout.sounds:
            return Avatar.SPEAKING
        return Avatar.THINKING if self._playout.ledger.has_open else Avatar.SILENT

    def _take_words(self, words: Words) -> None:
        reaction, speech_ended_s = self._barge_in.words(words.final)
        if reaction is Reaction.IGNORE:
            if words.final:
                self._tell(NOTHING_SAID)
            return
        self._tell(TranscriptEvent(words.text, words.final, words.language))
        if reaction is not Reaction.ASK:
            return
        try:
            self._conversation.say(words.text, speech_ended_s=speech_ended_s)
        except VivavoceError as error:  # too many questions, say: the viewer reads it as if it had been typed
            self._tell(ErrorEvent.of(error))
            self._conversation.resume()

    def _react(self, reaction: Reaction | None) -> None:
        """Do what the rules of interruption say about speech; words are _take_words()'s."""
        match reaction:
            case Reaction.DUCK:
                self._playout.duck()
            case Reaction.FULL_VOLUME:
                self._playout.full_volume()
            case Reaction.HOLD:
                self._conversation.hold()
            case Reaction.RESUME:
                self._conversation.resume()

    def _echo_canceller(self) -> WebRtcCanceller | None:
        reference = EchoReference(self._clock, lambda: self._playout.viewer_delay_s)
        try:
            canceller = WebRtcCanceller(reference)
        except BackendUnavailable as error:  # the viewer's browser has one of its own
            logger.warning("The avatar may hear itself: %s", error)
            return None
        self._conversation.add_output(reference)
        return canceller
