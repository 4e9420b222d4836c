"""What people call things, in one way of writing: Unicode knows several for the same letters."""

from __future__ import annotations

import unicodedata
from typing import Final, Literal

__all__ = ["MOST_WRITTEN", "in_one_way"]

MOST_WRITTEN: Final = 1000
"Characters of a name that are looked at. Its work grows with the square of the accents that one letter has."


def in_one_way(name: str, form: Literal["NFC", "NFKD"] = "NFC") -> str:
    """The beginning of a name, normalized by Unicode's `form`. Every name that comes in goes through here."""
    return unicodedata.normalize(form, name[:MOST_WRITTEN])
