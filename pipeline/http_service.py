"""What all backends share that call a service over HTTP: connections, one retry, and logging."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Final

from models.errors import VivavoceError
from pipeline.errors import BackendUnavailable

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["LOGGED_BYTES", "MAX_PAUSE_S", "PAUSE_BEFORE_RETRY_S", "RETRYABLE", "HttpService", "Passing", "once_more"]

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
PAUSE_BEFORE_RETRY_S: Final = 0.5
MAX_PAUSE_S: Final = 2.0
"""A service that demands a longer pause (Retry-After) is not asked again: the viewer would wait in silence."""
LOGGED_BYTES: Final = 300
RETRYABLE: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""HTTP statuses after which a later request may succeed."""


class HttpService:
    """The connections of one backend, shared by all sessions. Made at the first use; aclose() ends them."""

    def __init__(self, backend: str, api_key: str, timeout_s: float) -> None:
        """timeout_s: longest wait for the next byte of an answer. Raises BackendUnavailable if a package is missing."""
        if importlib.util.find_spec("httpx2") is None:
            raise BackendUnavailable(backend, "the package httpx2 is missing", "pip install httpx2")
        self._backend = backend
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None

    def client(self) -> httpx.AsyncClient:
        """Return the client. It is made at the first call, and does not connect yet."""
        if self._client is None:
            import httpx2 as httpx

            timeout = httpx.Timeout(self._timeout_s, connect=CONNECT_TIMEOUT_S)
            # Refuse compression: sound hardly shrinks, and a small answer could expand without bound.
            self._client = httpx.AsyncClient(timeout=timeout, headers={"Accept-Encoding": "identity"})
        return self._client

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def log(self, what: str, body: bytes) -> None:
        """Log an answer of the service on one line, with the key removed."""
        said = body[:LOGGED_BYTES].decode("utf-8", "replace")
        # If the key is two parts with a colon between, the second part is the secret.
        for secret in filter(None, (self._api_key, self._api_key.rpartition(":")[2])):
            said = said.replace(secret, "***")
        logger.warning("%s %s: %s", self._backend, what, "".join(filter(str.isprintable, said)))


class Passing:
    """Mix-in for an error after which another try may help, `pause_s` later."""

    pause_s: float = PAUSE_BEFORE_RETRY_S


def once_more(error: VivavoceError, tries: int, waited_s: float) -> float | None:
    """A Patience: allow one more try, if the error is a Passing one with a short pause."""
    if not isinstance(error, Passing) or tries > 1 or error.pause_s > MAX_PAUSE_S:
        return None
    return error.pause_s
