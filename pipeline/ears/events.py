"""What ears report, in order, to whoever reacts to it: the session, and through it the rules of interruption."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import VivavoceError
from pipeline.types import EarsEvent

__all__ = ["Failed", "Heard", "NoWords", "SpeechBegan", "SpeechEnded", "SpeechGoesOn", "Words"]


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Somebody speaks. An utterance is open until SpeechEnded."""

    at_s: float
    "clock time of the first window with speech, as near as the arrival of its sound says"


@dataclass(frozen=True, slots=True)
class SpeechGoesOn:
    """One more window of 32 ms holds speech."""

    speech_s: float
    "seconds of windows with speech in this utterance so far; pauses do not count"


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The utterance is complete. Words(final=True), NoWords or Failed follows, in the order of utterances."""


@dataclass(frozen=True, slots=True)
class Words:
    """What was said, as far as it is known."""

    text: str
    "of the whole utterance, never empty"
    final: bool
    "False: more may follow, and what is here may change"
    language: str
    "ISO 639-1, empty if unknown"


@dataclass(frozen=True, slots=True)
class NoWords:
    """The utterance held none: a cough, noise, silence while a key was held, or nobody had time to listen to it."""

    busy: bool = False
    "True: too many others were waiting for the recogniser, so it was never looked for words"


@dataclass(frozen=True, slots=True)
class Failed:
    """Words could not be looked for. The ears go on listening unless EarsEvent(off) came before."""

    error: VivavoceError


Heard = EarsEvent | SpeechBegan | SpeechGoesOn | SpeechEnded | Words | NoWords | Failed
