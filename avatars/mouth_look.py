"""The inside of a drawn character's mouth: colours chosen by its artist, instead of those derived from the light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from avatars.records import MouthLookRecord

__all__ = ["Colour", "MouthLook", "look_of"]

Colour = tuple[int, int, int]
"RGB, 0 to 255"


@dataclass(frozen=True, slots=True)
class MouthLook:
    """The colours between the lips of a drawn character."""

    enamel: Colour
    gum: Colour
    tongue: Colour
    cavity: Colour
    single_teeth: bool = True
    "False: a row of teeth is one smooth band, as in cartoons"

    def to_json(self) -> MouthLookRecord:
        """Return the manifest's entry `mouth_look`."""
        return {
            "enamel": [*self.enamel],
            "gum": [*self.gum],
            "tongue": [*self.tongue],
            "cavity": [*self.cavity],
            "single_teeth": self.single_teeth,
        }


def look_of(manifest: Mapping[str, object]) -> MouthLook | None:
    """Return the look in an avatar's manifest; None if it has none, or one that cannot be read."""
    known = manifest.get("mouth_look")
    if not isinstance(known, dict):
        return None
    try:
        colours = {name: _colour(known[name]) for name in ("enamel", "gum", "tongue", "cavity")}
        return MouthLook(**colours, single_teeth=bool(known.get("single_teeth", True)))
    except (KeyError, TypeError, ValueError):
        return None


def _colour(value: object) -> Colour:
    if not isinstance(value, list | tuple):
        raise TypeError("a colour has three numbers")
    red, green, blue = (min(255, max(0, int(part))) for part in value)
    return red, green, blue
