"""Tags that start a gesture: [wave] in a text, which is shown by the avatar and neither spoken nor written (pure)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["GestureTag", "GestureTags"]


@dataclass(frozen=True, slots=True)
class GestureTag:
    name: str
    at: int
    "how many characters of the text, without tags, come before it"


class GestureTags:
    """Takes the tags out of a text that comes in pieces.

    names: of the avatar's gestures, in lower case. Other words in brackets are left as they are. What may become a tag
    is held back until that is known: no more characters than the longest name has, and its brackets.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._held = ""
        self._given = 0
        self._ends_in_space = True
        self._after_tag = False

    def push(self, piece: str) -> tuple[str, list[GestureTag]]:
        """The next of the text without its tags, and the tags that were found."""
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
        """The rest of the text: the beginning of a tag that was none."""
        rest, self._held = self._held, ""
        return rest

    def _may_be_name(self, begun: str) -> bool:
        return any(name.startswith(begun.lower()) for name in self._names)

    def _give(self, plain: str, given: list[str]) -> None:
        if self._after_tag and self._ends_in_space:  # the spaces around a tag become one
            plain = plain.lstrip(" ")
        if not plain:
            return
        given.append(plain)
        self._given += len(plain)
        self._ends_in_space, self._after_tag = plain[-1].isspace(), False
