"""Finds tags that start a gesture, such as [wave].

The avatar shows them; they are neither spoken nor written (pure).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["GestureTag", "GestureTags"]


@dataclass(frozen=True, slots=True)
class GestureTag:
    """A tag that was found in a text."""

    name: str
    at: int
    "number of characters before the tag, in the text without tags"


class GestureTags:
    """Removes the tags from a text that arrives in pieces.

    names: the avatar's gestures, in lower case. Other words in brackets stay. Text that may become a tag is held back
    until that is clear: at most the length of the longest name and its brackets.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._held = ""
        self._given = 0
        self._ends_in_space = True
        self._after_tag = False

    def push(self, piece: str) -> tuple[str, list[GestureTag]]:
        """Take the next piece. Returns the text without tags that is certain now, and the tags found."""
        if not self._names:
            return piece, []
        text, self._held = self._held + piece, ""
        given: list[str] = []
        tags: list[GestureTag] = []
        while text:
            plain, bracket, rest = text.partition("[")
            self._give(plain, given)
            if not bracket:
                break
            inside, end, after = rest.partition("]")
            if end and (name := " ".join(inside.lower().split())) in self._names:
                tags.append(GestureTag(name, self._given))
                text, self._after_tag = after, True
            elif not end and self._may_be_name(rest):
                self._held = bracket + rest
                break
            else:
                self._give(bracket, given)
                text = rest
        return "".join(given), tags

    def flush(self) -> str:
        """Return the rest of the text: the beginning of a tag that was never completed."""
        rest, self._held = self._held, ""
        return rest

    def _may_be_name(self, begun: str) -> bool:
        return any(name.startswith(begun.lower()) for name in self._names)

    def _give(self, plain: str, given: list[str]) -> None:
        if self._after_tag and self._ends_in_space:  # merges the spaces before and after a tag
            plain = plain.lstrip(" ")
        if not plain:
            return
        given.append(plain)
        self._given += len(plain)
        self._ends_in_space, self._after_tag = plain[-1].isspace(), False
