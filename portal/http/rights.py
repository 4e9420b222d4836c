"""Access rights: the least role for each address, and the addresses that need no login."""

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
"Addresses that anybody may read without a login: they contain nobody's data."
OPEN_FILES = "/static/"
"Everything below this is open too: the scripts of the page."
FOR_ADMINS = ("/metrics", "/api/admin/")
"Beginnings of addresses that are for admins only."
SESSIONS = "/api/sessions"
OF_A_SESSION = (f"{SESSIONS}/", "/api/watch/")
"""Beginnings of the addresses of one session. They need no login, because they ask for the session's own secret, which
is given only to people who were let in. The link to watch a session is such a secret too, made to be passed on."""
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
"Addresses for talking with an avatar, in our API and LiveTalking's. Viewers may send changes to them."
TOOLS = ("/gradio_api/queue/join", "/gradio_api/mcp")
"""Addresses at which the tools for programs are called (`portal/api/tools.py`). Viewers may call them; a tool that is
for makers only checks that itself with require()."""


class NotAllowed(VivavoceError, code="not_allowed", http_status=403):
    """A person's role does not allow this."""


def is_open(path: str) -> bool:
    """Whether an address needs no login."""
    return path in OPEN or path.startswith((OPEN_FILES, *OF_A_SESSION))


def require(person: Person, needed: Role) -> None:
    """Raise NotAllowed if the person does not have at least the role `needed`."""
    if person.role < needed:
        raise NotAllowed(
            f"This needs the role {needed.name.lower()}; yours is {person.role.name.lower()}.",
            "Ask whoever runs this portal.",
        )


def role_for(scope: Scope) -> Role:
    """Return the least role that may make this request."""
    path = path_below(scope)
    if path.startswith(FOR_ADMINS):
        return Role.ADMIN
    is_read = scope["type"] == "websocket" or scope["method"] in HARMLESS
    return Role.VIEWER if is_read or path in (*TALKING, *TOOLS) else Role.MAKER
