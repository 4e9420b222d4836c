"""Normalises the names that people give to things. Unicode has several encodings for the same letters, and invisible
characters that make a name look like another one.
"""

from __future__ import annotations

import unicodedata
from typing import Final, Literal

__all__ = ["MAX_USED_CHARACTERS", "blank_invisible", "normalise_name"]

MAX_USED_CHARACTERS: Final = 1000
"Only this many characters of a name are used. The work of normalising grows with the square of a letter's accents."

_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"Unicode categories of invisible characters: control, format, private use, surrogates, unassigned, line separators."
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"Letters and signs that are drawn as nothing."
_APART, _TOGETHER = "\u200c", "\u200d"
"Zero-width non-joiner and joiner."
_SELECTORS: Final = frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x180B, 0x180C, 0x180D, 0x180F))
)
"They choose a form of the preceding character: an emoji or a sign, or one of several shapes of an ideograph."
_WITH_FORMS: Final = ("CJK ", "MONGOLIAN ", "MYANMAR ", "PHAGS-PA ")
"Beginnings of the names of letters that have such forms."
_KEYCAP: Final = "\u20e3"
_VIRAMA: Final = 9
"Combining class of the signs after which Indic scripts join letters."
_INITIAL_FORMS: Final = (unicodedata.decomposition(chr(one)).split() for one in range(0xFB50, 0xFEFF))
_JOINS_NEXT: Final = frozenset(
    chr(int(form[1], 16)) for form in _INITIAL_FORMS if form and form[0] == "<initial>" and len(form) == 2
)
"Arabic letters that join the next one, unless a non-joiner separates them, as in Persian words."


def normalise_name(name: str, form: Literal["NFC", "NFKD"] = "NFC") -> str:
    """Return the beginning of a name, normalised by Unicode's `form`. Every name that comes in goes through here."""
    return unicodedata.normalize(form, name[:MAX_USED_CHARACTERS])


def blank_invisible(name: str) -> str:
    """Return the name with a space for each invisible character.

    A character that joins letters or emoji, separates letters, or chooses a form is kept where it has that effect.
    """
    return "".join(one if _shows(name, place) else " " for place, one in enumerate(name))


def _shows(name: str, place: int) -> bool:
    one, before, after = name[place], name[place - 1 : place], name[place + 1 : place + 2]
    if one in (_APART, _TOGETHER):
        return _joins(one, before, after)
    if one in _SELECTORS:
        return after == _KEYCAP or _has_forms(before)
    return one not in _BLANK and unicodedata.category(one) not in _HIDDEN


def _joins(one: str, before: str, after: str) -> bool:
    """Whether a joiner or non-joiner has an effect between these two; for letters by RFC 5892, A.1 and A.2."""
    if not before or not after:
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return after.isalpha()
    if one == _APART:
        return before in _JOINS_NEXT and unicodedata.bidirectional(after) == "AL"
    is_emoji = before in _SELECTORS or unicodedata.category(before) in ("So", "Sk")
    return is_emoji and unicodedata.category(after) == "So"


def _has_forms(before: str) -> bool:
    if not before:
        return False
    return unicodedata.category(before) in ("So", "Sm") or unicodedata.name(before, "").startswith(_WITH_FORMS)
