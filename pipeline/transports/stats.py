"""What every transport counts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QUEUE_PICTURES", "TransportStats"]

QUEUE_PICTURES = 5
"""Pictures that may wait in a transport: 200 ms. Beyond that a picture is dropped and counted, its audio is kept."""


@dataclass(slots=True)
class TransportStats:
    """Counts since the transport was made."""

    frames_sent: int = 0
    "frames whose audio left for the viewer"
    pictures_sent: int = 0
    "pictures that left, live and replayed"
    pictures_replayed: int = 0
    "of these, pictures taken from an encoding made once per avatar"
    pictures_dropped: int = 0
    "pictures that came too late or could not be encoded; their audio was kept"
    audio_dropped: int = 0
    "frames whose audio was given up too, because the viewer took nothing for seconds"
    bytes_sent: int = 0
    "encoded pictures and audio, without packet headers"
    key_frames: int = 0
    "key frames among the pictures (0 where every picture is one)"
    connected: bool = False
