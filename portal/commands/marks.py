"""`python launch.py marks CLIP`: reports the machine-readable marks of a clip."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import av
from av.error import FFmpegError

from avatars.errors import BadMedia
from pipeline.sound_mark import SoundMark, marked_share

__all__ = ["marks_of"]


def marks_of(clip: Path, mark: SoundMark | None) -> Iterator[str]:
    """Yield one line for each kind of mark. mark: finds the mark in the sound; None if it is not installed.

    Raises BadMedia.
    """
    try:
        with av.open(str(clip)) as file:
            told = dict(file.metadata)
        share = None if mark is None else marked_share(clip, mark)
    except (FFmpegError, IndexError) as error:
        raise BadMedia(f"{clip} is no clip with sound.", "Name a clip or a recording of this portal.") from error
    yield f"AIGC (GB 45438-2025): {_aigc(told)}"
    yield f"IPTC digital source type: {told.get('DigitalSourceType', 'none')}"
    yield "sound: " + ("not looked at; python launch.py fetch audioseal" if share is None else f"{share:.0%} is marked")


def _aigc(told: Mapping[str, str]) -> str:
    try:
        return {"1": "made by AI", "2": "perhaps made by AI", "3": "suspected"}[json.loads(told["AIGC"])["Label"]]
    except (KeyError, ValueError, TypeError):
        return "none"
