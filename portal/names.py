"""Names that people give, made safe to show and to keep. Never used as a path."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["clean_name"]

_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
"Unicode categories nobody sees: control and format characters, surrogates, unassigned, line separators."


def clean_name(raw: str, *, limit: int = 60) -> str:
    """One line without folders, hidden characters or doubled spaces, cut at `limit` characters; may be empty."""
    last = re.split(r"[/\\]", raw.replace("\0", " ").rstrip("/\\"))[-1]
    seen = "".join(
        " " if unicodedata.category(character) in _HIDDEN else character
        for character in unicodedata.normalize("NFC", last)
    )
    whole = re.sub(r"\s+", " ", seen).strip(" .")
    return whole if len(whole) <= limit else whole[: limit - 1].strip() + "…"
