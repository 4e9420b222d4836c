"""Names that people give, made safe to show and to keep. Never used as a path."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["clean_file_name", "clean_name"]

_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
"Unicode categories nobody sees: control and format characters, surrogates, unassigned, line separators."


def clean_name(raw: str, *, limit: int = 60) -> str:
    """One line without hidden characters or doubled spaces, cut at `limit` characters; may be empty."""
    seen = "".join(
        " " if unicodedata.category(character) in _HIDDEN else character
        for character in unicodedata.normalize("NFC", raw)
    )
    whole = re.sub(r"\s+", " ", seen).strip(" .")
    return whole if len(whole) <= limit else whole[: limit - 1].strip() + "…"


def clean_file_name(raw: str, *, limit: int = 60) -> str:
    """The same of the name of a file, without the folders that some clients send along."""
    return clean_name(re.split(r"[/\\]", raw.rstrip("/\\"))[-1], limit=limit)
