"""Whose things are whose: who may see an avatar, a job, a clip or a recording, and who may change it.

Things belong to the person who had them made (`portal.http.people`). What was made while nobody had to log in belongs
to everybody, as our own characters do. Where no login is set up, everybody who asks is an admin, and nothing is hidden.
"""

from __future__ import annotations

from avatars.errors import AvatarNotFound
from avatars.library import AvatarLibrary, Ownership
from portal.http.people import Person, Role

__all__ = ["may_change", "may_erase", "no_such_avatar", "owner_sees", "require_seen", "sees"]


def sees(person: Person, whose: Ownership) -> bool:
    """Whether a thing is there for them at all: their own, everybody's, or shared with everybody."""
    return whose.shared or may_change(person, whose)


def owner_sees(owner: str, whose: Ownership) -> bool:
    """Whether somebody's order may still use a thing, whoever looks at the order now. They count as no admin: nobody
    knows what people who are not here may do.
    """
    return sees(Person(owner, Role.MAKER), whose)


def may_change(person: Person, whose: Ownership) -> bool:
    """Whether they may rename, prepare or delete it. An owner and admins may; everybody what is everybody's."""
    return person.role is Role.ADMIN or whose.owner in ("", person.name)


def may_erase(person: Person, whose: Ownership) -> bool:
    """Whether they may erase it with everything that was made from it, also by others. What is everybody's has no owner
    who could ask for that, so only admins may.
    """
    return person.role is Role.ADMIN or (bool(whose.owner) and may_change(person, whose))


def require_seen(library: AvatarLibrary, person: Person, avatar_id: str) -> None:
    """Raises AvatarNotFound: there is no such avatar, or not for them. Nobody learns which of the two."""
    if person.role is Role.ADMIN:  # what opens the avatar finds out whether it is there
        return
    whose = library.ownership(avatar_id)
    if whose is None or not sees(person, whose):
        raise no_such_avatar(avatar_id)


def no_such_avatar(avatar_id: str) -> AvatarNotFound:
    """The same words as the library's, so that nobody can tell hidden avatars from those that never were."""
    return AvatarNotFound(f"There is no avatar {avatar_id[:80]!r}.", "Choose one of the gallery.")
