"""The prompts given to Whisper, and the filter for answers that nobody said.

Whisper was trained on subtitles. For noise and silence it writes what subtitles have where nobody speaks: thanks for
watching, the names of the translators, or one word over and over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["LANGUAGES", "Segment", "prompt_for", "words_of"]

_CODES: Final = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml "
    "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am "
    "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt ln ha ba jw su haw"
)
LANGUAGES: Final = frozenset(_CODES.split())
_PROMPTS: Final = {"zh": "以下是普通话的句子。"}
"""For Chinese: without a prompt, Whisper writes traditional characters as often as simplified ones."""
_NO_SPEECH: Final = 0.6
_PERHAPS_NO_SPEECH: Final = 0.2
"""Enough if Whisper is unsure of its words as well, as it was for hums and music (0.28 to 0.49, and -1.1 to -1.9). In
eight questions asked over the avatar's echo it was sure of the words (-0.27 and more), and that somebody spoke (0.08
and less)."""
_UNSURE: Final = -1.0
"""Mean log probability of a word. Whisper's own limit: below it, text with doubtful speech is rejected."""
_REPEATED: Final = 2.4
"""Compression ratio above which text is repetitive; Whisper's own limit."""
_DOUBTFUL: Final = -0.5
"""A phrase known from subtitles needs a higher log probability than this."""
_FROM_SUBTITLES: Final = re.compile(
    r"(thanks?( you)?( so much| very much)? for watching|thank you|please subscribe.*|subtitles? by .*|bye[- ]?bye|you|"
    r"(请|請)(不吝)?(点赞|點贊|订阅|訂閱).*|谢谢(大家)?(观看|收看)|謝謝(大家)?(觀看|收看)|字幕.*|多谢(您的)?观看|"
    r"untertitel.*|sous-titres.*|subtítulos.*)[.!?。！？ ]*",
    re.IGNORECASE,
)
_NOT_SPOKEN: Final = re.compile(r"\[[^\]]*\]|\([^)]*\)|（[^）]*）|【[^】]*】|♪[^♪]*♪?|\*[^*]*\*")
"""Descriptions of sound in subtitles: [music], (laughs)."""

_STAMMER: Final = re.compile(r"([a-z])(?:[\W_]+\1)+[\W_]*", re.IGNORECASE)
"""One letter again and again. Whisper wrote "B-B-B-B" for two short sounds without words, and was sure of it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of Whisper's answer, with Whisper's own confidence."""

    text: str
    no_speech: float
    "probability that nobody speaks in it"
    log_probability: float
    "mean log probability of the words"
    compression: float
    "length of the text divided by that of its compressed bytes"


def prompt_for(language: str | None) -> str | None:
    """Return the text that Whisper takes as preceding speech; None if it needs none."""
    return _PROMPTS.get(language or "")


def words_of(segments: Iterable[Segment]) -> str:
    """Return the words that were really said; empty if none were."""
    text = "".join(segment.text for segment in segments if not _is_invented(segment))
    text = " ".join(_NOT_SPOKEN.sub(" ", text).split())
    return text if any(map(str.isalnum, text)) and not _STAMMER.fullmatch(text) else ""


def _is_invented(segment: Segment) -> bool:
    if segment.no_speech > _PERHAPS_NO_SPEECH and segment.log_probability < _UNSURE:
        return True
    if segment.compression > _REPEATED:
        return True
    is_doubtful = segment.no_speech > _NO_SPEECH or segment.log_probability < _DOUBTFUL
    return is_doubtful and _FROM_SUBTITLES.fullmatch(segment.text.strip()) is not None
