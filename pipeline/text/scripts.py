"""Properties of characters and scripts, and the width of a text as it is heard."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["has_no_case", "is_cjk", "last_letter", "may_break_before", "width"]

_CJK = re.compile("[\u1100-\u11ff\u2e80-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff01-\uffee\U00020000-\U0003ffff]")
_JOINER = "\u200d"
_MARKS = ("Mn", "Mc", "Me")
"Unicode categories of marks written on or around a letter."
_FLAGS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
"Letters of which two are a flag."


def is_cjk(character: str) -> bool:
    """Whether a character is Chinese, Japanese or Korean, or their full-width punctuation."""
    return character > "\u10ff" and _CJK.match(character) is not None


def has_no_case(character: str) -> bool:
    """Whether it is a letter of a script without capitals, such as Arabic, Hebrew, Hindi or Georgian."""
    is_georgian = "\u10d0" <= character <= "\u10ff"  # Unicode has capitals for it, but sentences do not begin with them
    return is_georgian or (character.isalpha() and not character.islower() and not character.isupper())


def last_letter(text: str) -> str:
    """Return the last character without the vowel signs and accents on it; empty if there is none."""
    at = len(text) - 1
    while at >= 0 and unicodedata.category(text[at]) in _MARKS:
        at -= 1
    return text[at] if at >= 0 else ""


def width(text: str) -> int:
    """Return the length as it is heard: a Chinese character says about as much as two letters."""
    return len(text) if text.isascii() else len(text) + len(_CJK.findall(text))


def may_break_before(text: str, at: int) -> bool:
    """Whether text may be cut at `at` without splitting what looks like one character (accents, emoji, syllables)."""
    if not 0 < at < len(text):
        return True
    before, after = text[at - 1], text[at]
    if unicodedata.category(after) in _MARKS or _JOINER in (before, after) or after == "\u200c":
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff":  # a skin tone
        return False
    if "\U0001f1e6" <= after <= "\U0001f1ff":  # flags are pairs
        flags = at - len(text[:at].rstrip(_FLAGS))
        return flags % 2 == 0
    return not ("\u1100" <= before <= "\u11ff" and "\u1160" <= after <= "\u11ff")  # parts of a Korean syllable
