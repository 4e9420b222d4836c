"""What a session is asked for and what it gives: wishes, turns, frames, errors."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SAMPLE_RATE_HZ = 48_000


class PortalError(Exception):
    """The portal refused something, or the connection broke: `code` for programs, `hint` the remedy."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.code = code
        self.message = message
        self.hint = hint


class Remark(TypedDict):
    """Something that was said in an earlier session."""

    role: Literal["user", "assistant"]
    content: str


class Wish(TypedDict, total=False):
    """What a session should be like; the portal chooses whatever is left out."""

    avatar: str
    voice: str
    tts: str
    lipsync: str
    speed: float
    prompt: str
    greeting: str
    history: list[Remark]
    identity: dict[str, str]
    wait: bool


@dataclass
class Turn:
    """One question and its answer, or one text that is spoken as it is. It changes while the session goes on."""

    number: int
    state: str = "queued"
    "queued, thinking, speaking, done or interrupted"
    text: str = ""
    "what the language model has answered so far; empty for a text that is spoken as it is"
    errors: list[PortalError] = field(default_factory=list)
    "what went wrong on the way"
    _ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _spoken_since_s: float | None = field(default=None, repr=False)
    "by the event loop's clock"
    _over_at_s: float = field(default=0.0, repr=False)
    "on the media clock: of the last frame that had come when it ended"

    @property
    def over(self) -> bool:
        return self.state in ("done", "interrupted")


@dataclass(frozen=True)
class Frame:
    """40 ms: one picture and its sound."""

    time_s: float
    "on the session's media clock"
    speaking: bool
    jpeg: bytes
    "the picture as it came; the last one again if none came with this frame"
    sound: NDArray[np.float32]
    "(1920,) mono at 48 kHz, -1 to 1"

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """(height, width, 3) RGB."""
        with Image.open(io.BytesIO(self.jpeg)) as picture:
            return np.asarray(picture.convert("RGB"))
