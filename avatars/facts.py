"""What an avatar has besides its bundle: parts for networks, gestures, a voice sample. Lists of avatars show this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avatars.gestures import gesture_names
from avatars.parts import networks_of, prepared_for
from avatars.voice_sample import read_voice_sample

__all__ = ["AvatarFacts", "facts_of"]


@dataclass(frozen=True, slots=True)
class AvatarFacts:
    """The facts about an avatar that are not in its bundle."""

    prepared: Mapping[str, dict[str, object]]
    "see avatars.parts.prepared_for()"
    networks: Sequence[str]
    "see avatars.parts.networks_of()"
    gestures: Sequence[str]
    "names of its gestures"
    voice_sample_s: float | None
    "length of its voice sample; None if it has none"


def facts_of(folder: Path) -> AvatarFacts:
    """Return the facts of the avatar in this folder. Cheap: only file names and headers are read."""
    sample = read_voice_sample(folder)
    return AvatarFacts(
        prepared=prepared_for(folder),
        networks=networks_of(folder),
        gestures=gesture_names(folder),
        voice_sample_s=None if sample is None else sample.seconds,
    )
