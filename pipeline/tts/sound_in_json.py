"""The base of voices whose service sends sound as base64 in lines of JSON. Reads the lines within a limit."""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

import numpy as np

from pipeline.errors import SpeechError
from pipeline.tts.http_voice import PcmDecoder
from pipeline.types import FloatArray

__all__ = ["LineDecoder", "decoded", "json_object", "not_sound"]

MAX_LINE_BYTES: Final = 8 * 2**20
"""Limit for a line: a minute of 48 kHz sound as base64. Services send between 0.1 s and a sentence per line."""


class _Lines:
    """Splits bytes into lines. Raises SpeechError for a line that is too long."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0

    def push(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that end in `data`, without their line ends."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._hold(line)
            yield self.rest()
        self._hold(rest)

    def rest(self) -> bytes:
        """Return the line that has not ended."""
        line = b"".join(self._held)
        self._held, self._held_bytes = [], 0
        return line.strip()

    def _hold(self, part: bytes) -> None:
        self._held_bytes += len(part)
        if self._held_bytes > MAX_LINE_BYTES:
            raise not_sound()
        self._held.append(part)


class LineDecoder(ABC):
    """A SoundDecoder for lines that contain 16-bit samples. Subclasses override pcm_of()."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._pcm = PcmDecoder(sample_rate)
        self._lines = _Lines()

    @abstractmethod
    def pcm_of(self, line: bytes) -> bytes:
        """Return the samples in a line that is not empty. Raises SpeechError, ServiceRefusal."""

    def push(self, data: bytes) -> FloatArray:
        return np.concatenate([np.zeros(0, np.float32), *map(self._take, self._lines.push(data))])

    def finish(self) -> FloatArray:
        return self._take(self._lines.rest())

    def _take(self, line: bytes) -> FloatArray:
        return self._pcm.push(self.pcm_of(line) if line else b"")


def json_object(line: bytes) -> dict[str, object]:
    """Parse a JSON object. Raises SpeechError if it is something else, such as a page."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise not_sound() from error
    if not isinstance(found, dict):
        raise not_sound()
    return found


def decoded(data: object) -> bytes:
    """Decode the base64 field with the sound; an empty field gives no bytes. Raises SpeechError."""
    if data in (None, ""):
        return b""
    try:
        return base64.b64decode(str(data), validate=True)
    except ValueError as error:
        raise not_sound() from error


def not_sound() -> SpeechError:
    return SpeechError(
        "The voice service sent a page or a message instead of sound.", "Check --tts-base-url.", cause="not_sound"
    )
