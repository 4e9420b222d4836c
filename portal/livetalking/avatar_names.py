"""Finds the avatar that a client of LiveTalking names.

LiveTalking's ids are names of folders, such as `wav2lip256_avatar1`. Our ids have only small letters, digits and
hyphens.
"""

from __future__ import annotations

import re
from typing import Final

from avatars.library import AvatarLibrary
from portal.http.people import Person
from portal.owners import sees

__all__ = ["find_avatar", "own_id"]

FOREIGN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def own_id(named: str) -> str:
    """Return our id for an avatar with this id in LiveTalking. Text that cannot be such an id is returned unchanged."""
    return named.lower().replace("_", "-").strip("-") if FOREIGN_ID.fullmatch(named) else named


def find_avatar(library: AvatarLibrary, person: Person, named: str) -> str:
    """Return the id of the avatar that is meant.

    It is found by its id, or else by its name, because an imported avatar keeps the name of its folder. Of several with
    that name it is the newest that the person may see. If there is none, the id that it would have is returned.
    """
    wanted = own_id(named)
    if wanted in library:
        return wanted
    newest_first = reversed(library.list())
    return next((one.id for one in newest_first if one.name == named and sees(person, one.ownership)), wanted)
