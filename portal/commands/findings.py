"""What a check of the doctor finds."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from portal.settings import Settings

__all__ = ["Check", "Finding", "State"]


class State(enum.StrEnum):
    OK = "ok"
    WARN = "warn"
    "works, with something left out"
    BAD = "bad"
    "the portal cannot do its main job"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    state: State
    detail: str
    remedy: str = ""


Check = Callable[[Settings], Finding]
