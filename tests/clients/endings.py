"""How a portal may close the socket of a session, and whether that is in order. For the tests of all clients."""

from __future__ import annotations

from portal.api.connection import SESSION_ENDED
from portal.api.draining import RESTART, RESTART_REASON
from portal.api.viewer_socket import FLOODED

__all__ = ["ENDINGS"]

ENDINGS = [
    (1000, "", True),
    (RESTART, RESTART_REASON, True),
    (FLOODED, SESSION_ENDED, True),
    (FLOODED, "Too many messages.", False),
    (1011, "Nobody reads.", False),
]
"(close code, reason, whether it is in order)"
