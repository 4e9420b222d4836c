"""What an avatar has beside its bundle: parts for networks, gestures, a voice sample. A list shows that."""

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
    prepared: Mapping[str, dict[str, object]]
    "see avatars.parts.prepared_for()"
    networks: Sequence[str]
    "see avatars.parts.networks_of()"
    gestures: Sequence[str]
    "their names"
    voice_sample_s: float | None
    "how long its voice sample is; None: it has none"


def facts_of(folder: Path) -> AvatarFacts:
    """Of the avatar in this folder. Cheap: names of files and headers only."""
    sample = read_voice_sample(folder)
    return AvatarFacts(
        prepared=prepared_for(folder),
        networks=networks_of(folder),
        gestures=gesture_names(folder),
        voice_sample_s=None if sample is None else sample.seconds,
    )
