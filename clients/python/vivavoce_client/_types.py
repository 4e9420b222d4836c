"""The types of a session: wishes, turns, frames, errors."""

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
    """Raised when the portal refuses something, or the connection breaks. `code` is for programs, `hint` the remedy."""

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
    """What a new session should be like. The portal chooses whatever is left out."""

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
    """A question and its answer, or a text that is spoken as it is. Its fields change while the session goes on."""

    number: int
    state: str = "queued"
    "queued, thinking, speaking, done or interrupted."
    text: str = ""
    "The language model's answer so far; empty for a text that is spoken as it is."
    errors: list[PortalError] = field(default_factory=list)
    "Errors that happened during the turn."
    _ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _spoken_since_s: float | None = field(default=None, repr=False)
    "When the speech began, on the event loop's clock; None before that."
    _over_at_s: float = field(default=0.0, repr=False)
    "Time, on the media clock, of the last frame that had come when the message of the turn's end came."

    @property
    def over(self) -> bool:
        return self.state in ("done", "interrupted")


@dataclass(frozen=True)
class Frame:
    """A picture and its sound, 40 ms long."""

    time_s: float
    "Seconds on the session's media clock."
    speaking: bool
    jpeg: bytes
    "The picture as it was received. It is the previous one if this frame came without a picture."
    sound: NDArray[np.float32]
    "(1920,) mono at 48 kHz, from -1 to 1."

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """The picture as (height, width, 3) uint8 RGB."""
        with Image.open(io.BytesIO(self.jpeg)) as picture:
            return np.asarray(picture.convert("RGB"))
