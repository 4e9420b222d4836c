"""The reports of the ears. They go in order to the session, and on to the rules of interruption."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import VivavoceError
from pipeline.types import EarsEvent

__all__ = ["Failed", "Heard", "NoWords", "SpeechBegan", "SpeechEnded", "SpeechGoesOn", "Words"]


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Somebody began to speak. The utterance is open until SpeechEnded."""

    at_s: float
    "clock time of the first window with speech, estimated from the arrival of its sound"


@dataclass(frozen=True, slots=True)
class SpeechGoesOn:
    """One more window of 32 ms with speech."""

    speech_s: float
    "length of the speech in this utterance so far, in seconds; pauses do not count"


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The utterance is complete. Words(final=True), NoWords or Failed follows, in order of the utterances."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of an utterance, as far as they are known."""

    text: str
    "text of the whole utterance; never empty"
    final: bool
    "False: the text may still grow and change"
    language: str
    "ISO 639-1, empty if unknown"


@dataclass(frozen=True, slots=True)
class NoWords:
    """An utterance without words: a cough, noise, silence while the key was held.

    Also one that could not be recognised.
    """

    busy: bool = False
    "True: it was not recognised, because too many others wait for the recogniser"


@dataclass(frozen=True, slots=True)
class Failed:
    """Recognition failed. The ears go on listening, unless EarsEvent(off) was reported before."""

    error: VivavoceError


Heard = EarsEvent | SpeechBegan | SpeechGoesOn | SpeechEnded | Words | NoWords | Failed
