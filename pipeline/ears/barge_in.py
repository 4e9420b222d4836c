"""BargeIn: the rules for speech over a speaking avatar. Pure: no clock, no sound, no network.

    full volume -> (speech for 0.15 s) ducked -> (for 0.3 s) held -> words: the next question
                                                                  -> no words: the answer resumes

A cough, a click or a door is over before anything is held, or is followed by no words. So only words end an answer, and
any other sound costs a pause at most.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

__all__ = ["NOTICED_AFTER_S", "PATIENCE_S", "SETTLING_S", "Avatar", "BargeIn", "Reaction"]

NOTICED_AFTER_S = 0.08
"""Delay with which the network for voice activity notices speech (the median over 30 questions)."""
DUCK_AFTER_S = 0.15 - NOTICED_AFTER_S - 0.01
HOLD_AFTER_S = 0.3 - NOTICED_AFTER_S - 0.03
"""Two and six windows of 32 ms. Fading out takes 20 ms more, and telling the viewer's page takes some time, too."""
BREAK_S = 0.25
"""After a longer pause, speech counts from zero again, so that clicks of a keyboard do not add up."""
QUIET_S = 0.4
"""A ducked voice returns to full volume after this long without speech."""
PATIENCE_S = 2.0
"""If speech brings no words within this time, the answer resumes."""
LONG_PATIENCE_S = 20.0
"""The same if it certainly was speech: some words are known, or it was longer than a cough. A recogniser reports when
it finds no words, and the answer resumes at once; this limit is for one that never reports."""
LONGEST_COUGH_S = 1.0
SETTLING_S = 1.5
"""Length of the avatar's sound in which echo cancellers learn the room: until then they may let the avatar through."""


class Avatar(enum.Enum):
    """What the avatar is doing while something is heard."""

    SILENT = enum.auto()
    THINKING = enum.auto()
    "An answer is on its way, but not audible yet."
    SPEAKING = enum.auto()


class Reaction(enum.Enum):
    """What to do now."""

    DUCK = enum.auto()
    FULL_VOLUME = enum.auto()
    HOLD = enum.auto()
    RESUME = enum.auto()
    ASK = enum.auto()
    "The words are the next question; it interrupts what is being said."
    IGNORE = enum.auto()
    "The words are dropped: they may be the avatar's own, or interrupting is turned off."


class _Voice(enum.Enum):
    FULL = enum.auto()
    DUCKED = enum.auto()
    HELD = enum.auto()


@dataclass(slots=True)
class _Utterance:
    """A stretch of somebody's speech."""

    ignored: bool
    "it began when nothing may interrupt the avatar, and has not held it since"
    speech_s: float = 0.0
    run_from_s: float = 0.0
    "the part of speech_s that lies before the last pause"
    heard_s: float = 0.0
    "clock time of the last speech in it"
    has_words: bool = False

    @property
    def is_certain(self) -> bool:
        return self.has_words or self.speech_s > LONGEST_COUGH_S


class BargeIn:
    """Gets the ears' reports in order, each with the clock time, and returns what to do, if anything.

    enabled: whether speech over the avatar has an effect. Pressing the talk key always holds the avatar.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._voice = _Voice.FULL
        self._open: _Utterance | None = None
        self._ended: deque[_Utterance] = deque()  # those being recognised, in order; the ears bound their number
        self._is_pressed = False
        self._quiet_since_s = 0.0
        self._patience_s = PATIENCE_S

    def pressed(self, avatar: Avatar, now_s: float) -> Reaction | None:
        """Note that the talk key is held down."""
        self._is_pressed = True
        self._quiet_since_s = now_s
        return self._hold() if avatar is not Avatar.SILENT else None

    def released(self, now_s: float) -> None:
        """Note that the talk key was released. Reports about the utterance follow."""
        self._is_pressed = False
        self._quiet_since_s = now_s

    def speech_began(self, avatar: Avatar, sounded_s: float, now_s: float) -> None:
        """Note that somebody began to speak. sounded_s: how long the avatar has sounded in this session."""
        over_sound = avatar is Avatar.SPEAKING and self._voice is not _Voice.HELD
        self._open = _Utterance(ignored=over_sound and not self._may_hold(avatar, sounded_s), heard_s=now_s)

    def speech_goes_on(self, avatar: Avatar, sounded_s: float, speech_s: float, now_s: float) -> Reaction | None:
        """Note that the speech goes on. speech_s: length of this utterance so far, without its pauses."""
        utterance = self._open
        if utterance is None:
            return None
        if now_s - utterance.heard_s > BREAK_S or not self._may_hold(avatar, sounded_s):
            utterance.run_from_s = utterance.speech_s
        utterance.speech_s, utterance.heard_s = speech_s, now_s
        if avatar is Avatar.SILENT or not self._may_hold(avatar, sounded_s):
            return None
        run_s = speech_s - utterance.run_from_s
        if run_s >= HOLD_AFTER_S:
            utterance.ignored = False
            return self._hold()
        if run_s >= DUCK_AFTER_S and self._voice is _Voice.FULL:
            self._voice = _Voice.DUCKED
            return Reaction.DUCK
        return None

    def speech_ended(self, now_s: float) -> Reaction | None:
        """Note that the utterance is complete. words() or no_words() follows."""
        utterance, self._open = self._open, None
        if utterance is None:
            return None
        self._ended.append(utterance)
        self._quiet_since_s = now_s
        self._patience_s = LONG_PATIENCE_S if utterance.is_certain else PATIENCE_S
        return self._unduck()

    def words(self, final: bool) -> tuple[Reaction | None, float | None]:
        """Note the words of the oldest utterance being recognised.

        Words that are not final may also belong to the utterance that goes on. Returns what to do and, for a question
        (ASK), the clock time of its last speech; None if that is unknown.
        """
        if not final:
            utterance = self._ended[0] if self._ended else self._open
            if utterance is None:
                return None, None
            if utterance.ignored:
                return Reaction.IGNORE, None
            utterance.has_words = True
            self._patience_s = LONG_PATIENCE_S
            return None, None
        ended = self._ended.popleft() if self._ended else None
        if ended is not None and ended.ignored:
            return Reaction.IGNORE, None
        self._voice = _Voice.FULL
        return Reaction.ASK, ended.heard_s if ended else None

    def no_words(self, newest: bool = False) -> Reaction | None:
        """Note that the oldest utterance being recognised has no words.

        newest: it is the newest one instead, which could not be recognised at all.
        """
        if self._ended:
            self._ended.pop() if newest else self._ended.popleft()
        return None if self._ended else self._resume()

    def switched_off(self) -> Reaction | None:
        """Note that the ears are off, so that no more reports about earlier sound will follow."""
        self._open = None
        self._ended.clear()
        self._is_pressed = False
        return self._resume() or self._unduck()

    def passes(self, now_s: float) -> Reaction | None:
        """Note that time passes. Call it 25 times a second."""
        if self._open is not None and now_s - self._open.heard_s > QUIET_S and self._voice is _Voice.DUCKED:
            return self._unduck()
        return self._resume() if now_s - self._quiet_since_s >= self._patience_s else None

    def stopped(self) -> None:
        """Note that everything being said was interrupted, for whatever reason."""
        self._voice = _Voice.FULL

    def _may_hold(self, avatar: Avatar, sounded_s: float) -> bool:
        return self._enabled and (avatar is not Avatar.SPEAKING or sounded_s >= SETTLING_S)

    def _hold(self) -> Reaction | None:
        if self._voice is _Voice.HELD:
            return None
        self._voice = _Voice.HELD
        self._patience_s = PATIENCE_S
        return Reaction.HOLD

    def _resume(self) -> Reaction | None:
        """Resume, unless nothing is held, or somebody still speaks or holds the key down."""
        if self._voice is not _Voice.HELD or self._open is not None or self._is_pressed:
            return None
        self._voice = _Voice.FULL
        return Reaction.RESUME

    def _unduck(self) -> Reaction | None:
        if self._voice is not _Voice.DUCKED:
            return None
        self._voice = _Voice.FULL
        return Reaction.FULL_VOLUME
