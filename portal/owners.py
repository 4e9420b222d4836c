"""Ownership rules: who may see an avatar, a job, a clip or a recording, and who may change it.

Things belong to the person who had them made (`portal.http.people`). Things that were made while nobody had to log in
belong to everybody, like our own characters. If no login is set up, every client is an admin, and nothing is hidden.
"""

from __future__ import annotations

from avatars.errors import AvatarNotFound
from avatars.library import AvatarLibrary, Ownership
from portal.http.people import Person, Role

__all__ = ["may_change", "may_erase", "no_such_avatar", "owner_sees", "require_seen", "sees"]


def sees(person: Person, whose: Ownership) -> bool:
    """Whether a person may see a thing: it is their own, everybody's, or shared with everybody; admins see all."""
    return whose.shared or may_change(person, whose)


def owner_sees(owner: str, whose: Ownership) -> bool:
    """Whether a job of `owner` may still use a thing.

    The owner need not be logged in now, so their role is not known. They are not treated as an admin.
    """
    return sees(Person(owner, Role.MAKER), whose)


def may_change(person: Person, whose: Ownership) -> bool:
    """Whether a person may rename, prepare or delete a thing.

    Its owner and admins may. Things that belong to everybody may be changed by everybody.
    """
    return person.role is Role.ADMIN or whose.owner in ("", person.name)


def may_erase(person: Person, whose: Ownership) -> bool:
    """Whether a person may erase a thing together with everything made from it, also by others.

    Its owner and admins may. A thing that belongs to everybody has no owner who could ask for it, so only admins may.
    """
    return person.role is Role.ADMIN or (bool(whose.owner) and may_change(person, whose))


def require_seen(library: AvatarLibrary, person: Person, avatar_id: str) -> None:
    """Raise AvatarNotFound if there is no such avatar or the person may not see it, without telling which."""
    if person.role is Role.ADMIN:  # admins see all; whoever opens the avatar finds out whether it exists
        return
    whose = library.ownership(avatar_id)
    if whose is None or not sees(person, whose):
        raise no_such_avatar(avatar_id)


def no_such_avatar(avatar_id: str) -> AvatarNotFound:
    """Return the library's own error, word for word, so that nobody can tell a hidden avatar from a missing one."""
    return AvatarNotFound(f"There is no avatar {avatar_id[:80]!r}.", "Choose one of the gallery.")
