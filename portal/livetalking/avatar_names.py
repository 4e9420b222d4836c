"""What clients of LiveTalking call avatars. Its ids are names of folders, such as `wav2lip256_avatar1`; ours have small
letters, digits and hyphens only.
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
    """The id that an avatar has here whose id in LiveTalking is `named`; what is none of these stays as it is."""
    return named.lower().replace("_", "-").strip("-") if FOREIGN_ID.fullmatch(named) else named


def find_avatar(library: AvatarLibrary, person: Person, named: str) -> str:
    """The id of the avatar that is meant: by its id, or else the newest of that name that the person may see, as an
    imported folder keeps its name. Where there is none, the id that it would have.
    """
    wanted = own_id(named)
    if wanted in library:
        return wanted
    newest_first = reversed(library.list())
    return next((one.id for one in newest_first if one.name == named and sees(person, one.ownership)), wanted)
