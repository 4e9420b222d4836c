"""Which frame of the avatar's loop is shown when (pure)."""

from __future__ import annotations

__all__ = ["LoopCursor"]


class LoopCursor:
    """Walks a loop of `length` frames so that idle and spoken pictures join without a jump.

    Spoken pictures are drawn ahead of time, so their places are reserved when they are drawn; idle pictures take the
    place after the one shown last. When speech runs dry in mid-turn the last place is held: a still head for a few
    pictures is not noticed, a jump back is.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError("a loop has at least one frame")
        self._length = length
        self._shown = -1
        self._reserved: int | None = None

    @property
    def shown(self) -> int:
        """Place of the picture shown last (-1 before the first), within the loop."""
        return self._shown % self._length if self._shown >= 0 else -1

    def reserve(self) -> int:
        """Place for the next spoken picture."""
        last = self._shown if self._reserved is None else max(self._reserved, self._shown)
        self._reserved = last + 1
        return self._reserved % self._length

    def show_spoken(self, index: int) -> None:
        """A spoken picture that was drawn for `index` is shown now."""
        self._shown += (index - self._shown) % self._length

    def show_idle(self) -> int:
        """Take the place for an idle picture shown now."""
        if self._reserved is None or self._shown >= self._reserved:
            self._shown += 1
        self._shown = max(self._shown, 0)
        return self._shown % self._length

    def release(self) -> None:
        """No spoken pictures are drawn ahead any more (the turn ended or was interrupted)."""
        self._reserved = None
