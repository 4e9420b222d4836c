"""Binary messages that a client may send: sound from its microphone, and sound that the avatar is to speak.

The functions are pure: they turn bytes into one of the messages below, or raise BadRequest. docs/protocol.md describes
the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadRequest
from pipeline.types import LISTEN_RATE_HZ, FloatArray

__all__ = ["SOUND_HEADER", "SOUND_KIND", "SPEECH_ENDS", "SPEECH_KIND", "Sound", "SpokenSound", "parse_sound"]

SOUND_HEADER: Final = struct.Struct("<BBHI")
"""Header before the samples: kind, flags, sequence number, and a number. For the microphone that number is the position
of the first sample in its stream; for speech it is the turn that speaks it."""
SOUND_KIND: Final = 2
SPEECH_KIND: Final = 3
SPEECH_ENDS: Final = 1
"""Flag of a turn's last message: all of its sound has been sent."""
SHORTEST_SOUND_MS, LONGEST_SOUND_MS = 10, 120
MAX_SPEECH_SAMPLES: Final = 48_000
MIN_SPEECH_SAMPLES: Final = 80
"""Fewest samples of a speech message. The last one of a turn may have fewer, or none."""
HINT: Final = "See docs/protocol.md for the binary messages."


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of sound from the viewer's microphone."""

    position: int
    "Position of the first sample in the microphone's stream, modulo 2**32."
    samples: FloatArray
    "(n,) float32 in [-1, 1) at LISTEN_RATE_HZ."


@dataclass(frozen=True, slots=True)
class SpokenSound:
    """A piece of sound that a turn is to speak."""

    turn: int
    samples: NDArray[np.int16]
    "(n,) int16, at the sampling rate that the `speak` message named."
    ends: bool
    "True: this is the turn's last piece."


def parse_sound(data: bytes) -> Sound | SpokenSound:
    """Parse one binary message. Raises BadRequest (unknown kind, incomplete samples, too short or too long)."""
    if len(data) < SOUND_HEADER.size or data[0] not in (SOUND_KIND, SPEECH_KIND):
        raise BadRequest(
            f"Of binary messages only sound (kind {SOUND_KIND}) and speech (kind {SPEECH_KIND}) are understood.", HINT
        )
    kind, flags, _, number = SOUND_HEADER.unpack_from(data)
    count, odd = divmod(len(data) - SOUND_HEADER.size, 2)
    if kind == SPEECH_KIND:
        ends = bool(flags & SPEECH_ENDS)
        if odd or not (0 if ends else MIN_SPEECH_SAMPLES) <= count <= MAX_SPEECH_SAMPLES:
            raise BadRequest(
                f"Speech comes in {MIN_SPEECH_SAMPLES} to {MAX_SPEECH_SAMPLES} whole samples of 16 bits.", HINT
            )
        return SpokenSound(number, _samples(data).astype(np.int16), ends)
    if odd or not SHORTEST_SOUND_MS <= 1000 * count / LISTEN_RATE_HZ <= LONGEST_SOUND_MS:
        raise BadRequest(
            f"Sound comes as {SHORTEST_SOUND_MS} to {LONGEST_SOUND_MS} ms of 16-bit samples at {LISTEN_RATE_HZ} Hz.",
            HINT,
        )
    return Sound(number, _samples(data).astype(np.float32) / np.float32(32768))


def _samples(data: bytes) -> NDArray[np.int16]:
    return np.frombuffer(data, "<i2", offset=SOUND_HEADER.size)
