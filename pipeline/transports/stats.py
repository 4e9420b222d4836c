"""The counts of transports."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QUEUE_PICTURES", "TransportStats"]

QUEUE_PICTURES = 5
"""Most pictures that wait in a transport: 200 ms. Beyond it a picture is dropped and counted; its audio is kept."""


@dataclass(slots=True)
class TransportStats:
    """Counts since the transport was made."""

    frames_sent: int = 0
    "frames whose audio left for the viewer"
    pictures_sent: int = 0
    "pictures that left, live or replayed"
    pictures_replayed: int = 0
    "those of them taken from an encoding made once per avatar"
    pictures_dropped: int = 0
    "pictures that came too late or could not be encoded; their audio was kept"
    audio_dropped: int = 0
    "frames whose audio was dropped as well, because the viewer took nothing for seconds"
    bytes_sent: int = 0
    "bytes of encoded pictures and audio, without packet headers"
    key_frames: int = 0
    "key frames among the pictures (0 if every picture is one)"
    connected: bool = False
