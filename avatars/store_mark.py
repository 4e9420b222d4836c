"""The mark of a store: what tells it from others, and an empty one from one that cannot be seen."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from avatars.store_objects import Objects

__all__ = ["StoreMark"]

MARK: Final = "vivavoce.json"


class StoreMark:
    """Thread-safe. What asks the store raises StoreUnreachable, also where it is another one than before."""

    def __init__(self, objects: Objects, known_as: Path) -> None:
        """Touches nothing yet. known_as: file of this machine in which it is noted which store it is."""
        self._objects = objects
        self._known_as = known_as
        self._known = ""

    @property
    def is_known(self) -> bool:
        """Whether it was seen since the start."""
        return bool(self._known)

    def made(self) -> str:
        """Before a thing is kept: see that it is the store of before, or begin a new one."""
        if not self._known:
            mark = self._read()
            if mark is None:
                self._require_new()
                self._objects.create(MARK, json.dumps({"store": secrets.token_hex(16)}).encode())
                mark = self._read()  # of two who begin at once, the first one's counts
            self._know(mark or "")
        return self._known

    def require(self) -> None:
        """Where nothing was found: see that it is the store, and not the place where it should be mounted. Also with
        the first request, so that the store is known again by those who only read.
        """
        mark = self._read()
        if mark is None:
            self._require_new()
        else:
            self._know(mark)

    def _require_new(self) -> None:
        if self._noted():
            raise self._objects.unreachable("what was kept there is not there")

    def _know(self, mark: str) -> None:
        if self._noted() != mark:
            with suppress(OSError):  # a data folder that cannot be written has other troubles
                self._known_as.parent.mkdir(parents=True, exist_ok=True)
                noted = {"url": self._objects.address, "store": mark}
                self._known_as.write_text(json.dumps(noted), encoding="utf-8")
        self._known = mark

    def _noted(self) -> str:
        """The mark of this store as it was seen before; empty if it was not."""
        try:
            noted = json.loads(self._known_as.read_text(encoding="utf-8"))
            return str(noted["store"]) if noted["url"] == self._objects.address else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _read(self) -> str | None:
        text = self._objects.read(MARK)
        try:
            return None if text is None else str(json.loads(text)["store"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._objects.unreachable(f"its {MARK} cannot be read") from error
