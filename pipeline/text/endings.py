"""What stands at the end of a text, before a sign: an abbreviation, the mark of a list. Standard library only.

Only a few characters before the end are looked at. So a text of signs alone takes no more work for each of them than
prose does.
"""

from __future__ import annotations

import re

from pipeline.text.scripts import has_no_case, is_cjk

__all__ = ["in_last_line", "is_abbreviation", "is_before_number", "is_short_form", "last_token", "near_end"]

NEAR_CHARS = 40
"""More than an abbreviation, an ordinal, the mark of a list and some citations have."""

_TITLES = re.compile(
    r"mr|mrs|ms|mx|dr|prof|rev|fr|hon|pres|gov|sen|rep|gen|col|maj|capt|cmdr|lt|sgt|st|mt|ft|messrs|mme|mlle|vs|cf|al"
    r"|hr|frau|sr|sra|srta|dna|inż|mgr|bzw|usw|ca|nr|ee|med|phil|rer|exm[oa]|av|np|ul|např|wm|viz"
    r"|ул|пр|им|акад|проф|тов|डॉ|प्रो"
)
"""Abbreviations before a name: the capital that follows does not begin a sentence."""
_BEFORE_NUMBER = re.compile(
    r"no|nos|nr|figs?|eqs?|sec|ch|chap|vol|pp?|art|ver|approx|ca?|max|min|est|tel|ext"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
)
"""Abbreviations only before a digit ("No. 5"). Otherwise they may be words ("The answer is no.")."""
_DOTTED = re.compile(r"[^\W\d_]{1,2}(\.[^\W\d_]{1,2})+")
_CLOCK = frozenset({"a.m", "p.m"})
_LIST_MARKER = re.compile(r"(?:^|\n|: |：)[ \t]*\(?(?:\d{1,3}|[IVX]{1,5})$")
_ORDINAL = re.compile(r"(?<!I )\b(?:am|vom|zum|zur|den|dem|der|des|im|ab|seit|bis)\s\d{1,2}$", re.IGNORECASE)
"""In German a full stop after a number makes it an ordinal: "am 3. Oktober"."""
_BEFORE_WORD = re.compile(r"[\s(\[\"“‘'*_]")


def near_end(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Return where the pattern, which is short and fits at the end of a text only, fits there."""
    return pattern.search(text, max(0, len(text) - NEAR_CHARS))


def in_last_line(pattern: re.Pattern[str], text: str) -> bool:
    """Whether the pattern fits from the last line's beginning, the newline before it included."""
    return pattern.match(text, max(0, text.rfind("\n"))) is not None


def last_token(text: str) -> str:
    """Return what stands after the last white space."""
    return "" if not text or text[-1].isspace() else text.rsplit(None, 1)[-1]


def is_short_form(word: str) -> bool:
    """Whether a word before a full stop is short for something, and mostly goes on with a capital."""
    lowered = word.lower()
    return _TITLES.fullmatch(lowered) is not None or (_DOTTED.fullmatch(word) is not None and lowered not in _CLOCK)


def is_before_number(word: str) -> bool:
    """Whether a word before a full stop is an abbreviation if a number follows."""
    return _BEFORE_NUMBER.fullmatch(word.lower()) is not None


def is_abbreviation(word_and_before: str, following: str) -> bool:
    """Whether the full stop after that text ends no sentence. Lower case after it was handled before."""
    word = _BEFORE_WORD.split(word_and_before[-NEAR_CHARS:])[-1]
    lowered = word.lower()
    if _TITLES.fullmatch(lowered) or (_BEFORE_NUMBER.fullmatch(lowered) and following.isdigit()):
        return True
    if _DOTTED.fullmatch(word):
        return lowered not in _CLOCK
    is_initial = word.isascii() or word.isupper() or (has_no_case(word) and not is_cjk(word))
    if len(word) == 1 and word.isalpha() and is_initial and word not in ("I", "Я"):
        return True
    return any(near_end(kind, word_and_before) for kind in (_LIST_MARKER, _ORDINAL))
