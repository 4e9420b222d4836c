"""The result of one of the doctor's checks."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from portal.settings import Settings

__all__ = ["Check", "Finding", "State"]


class State(enum.StrEnum):
    OK = "ok"
    WARN = "warn"
    "The portal works, but something is left out."
    BAD = "bad"
    "The portal cannot do its main job."


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. detail: what was found. remedy: what to do about it, if anything."""

    name: str
    state: State
    detail: str
    remedy: str = ""


Check = Callable[[Settings], Finding]
