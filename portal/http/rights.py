"""Who may ask for what: the least role for each address, and the addresses that are open to anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import VivavoceError
from portal.http.origins import HARMLESS
from portal.http.people import Person, Role
from portal.http.proxies import path_below

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = ["NotAllowed", "is_open", "require", "role_for"]

OPEN = ("/healthz", "/favicon.ico", "/embed.js", "/watch")
"What anybody may read: nothing in it is anybody's. So is all below OPEN_FILES: the scripts of the page."
OPEN_FILES = "/static/"
FOR_ADMINS = ("/metrics", "/api/admin/")
"Whatever begins with one of these."
SESSIONS = "/api/sessions"
OF_A_SESSION = (f"{SESSIONS}/", "/api/watch/")
"""Addresses of one session. They ask for its own secret, which only who was let in has been given. The link to watch it
is a secret, too; it is made to be passed on."""
TALKING = (
    SESSIONS,
    "/offer",
    "/human",
    "/humanaudio",
    "/interrupt_talk",
    "/is_speaking",
    "/set_audiotype",
    "/record",
    "/close",
)
"Changes that belong to talking with an avatar, by programs and by LiveTalking's API. Viewers may make them."
TOOLS = ("/gradio_api/queue/join", "/gradio_api/mcp")
"Where each of the tools for programs is asked for (`portal/api/tools.py`). A tool that is for makers asks require()."


class NotAllowed(VivavoceError, code="not_allowed", http_status=403):
    """Somebody's role does not go as far."""


def is_open(path: str) -> bool:
    """Whether anybody may ask for it, without a login."""
    return path in OPEN or path.startswith((OPEN_FILES, *OF_A_SESSION))


def require(person: Person, needed: Role) -> None:
    """Raises NotAllowed: the person's role does not go as far."""
    if person.role < needed:
        raise NotAllowed(
            f"This needs the role {needed.name.lower()}; yours is {person.role.name.lower()}.",
            "Ask whoever runs this portal.",
        )


def role_for(scope: Scope) -> Role:
    """The least role that may ask for that."""
    path = path_below(scope)
    if path.startswith(FOR_ADMINS):
        return Role.ADMIN
    is_read = scope["type"] == "websocket" or scope["method"] in HARMLESS
    return Role.VIEWER if is_read or path in (*TALKING, *TOOLS) else Role.MAKER
