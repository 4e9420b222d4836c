"""Uploads that come in one request and are used by a later one. They wait here for a limited time and number."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path

from pipeline.clock import Clock
from pipeline.errors import BadRequest
from portal.http.limits import WIDER, TooMany
from portal.http.proxies import network_of

__all__ = ["PARKED", "PARKED_EACH", "PARKED_S", "ParkedUploads"]

PARKED_S = 600.0
"An upload that has waited this long is removed."
PARKED_EACH = 4
"Most waiting uploads of one address; another one removes its oldest. A /48 network of IPv6 has WIDER times as many."
PARKED = 48
"Most waiting uploads of all addresses; further ones are refused."


@dataclass(frozen=True, slots=True)
class _Upload:
    path: Path
    file_name: str
    address: str
    removal: asyncio.Task[None]
    "task that removes the upload after PARKED_S"


class ParkedUploads:
    """Keeps uploads, and owns their files until take(). Used on one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._uploads: dict[str, _Upload] = {}
        "keyed by handle, the oldest first"

    def put(self, path: Path, file_name: str, address: str) -> str:
        """Keep a stored file, and return the handle by which take() finds it. file_name: its name at the sender.

        Raises TooMany: too many uploads wait. The file is removed then.
        """
        own = [handle for handle, upload in self._uploads.items() if upload.address == address]
        network = network_of(address)
        near = [handle for handle, upload in self._uploads.items() if network and network_of(upload.address) == network]
        if len(own) >= PARKED_EACH:
            self._remove(own[0])
        elif len(near) >= WIDER * PARKED_EACH:
            self._remove(near[0])
        if len(self._uploads) >= PARKED:
            path.unlink(missing_ok=True)
            raise TooMany(
                "The portal keeps many uploads that nothing has used yet.", "Try again in ten minutes.", cause="uploads"
            )
        handle = secrets.token_urlsafe(24)
        removal = asyncio.create_task(self._remove_later(handle), name="removal of a parked upload")
        self._uploads[handle] = _Upload(path, file_name, address, removal)
        return handle

    def take(self, handle: str) -> tuple[Path, str]:
        """Return a file and its name at the sender. The caller owns the file now. Raises BadRequest: there is none."""
        upload = self._uploads.pop(handle, None)
        if upload is None:
            raise BadRequest(
                "There is no such upload.",
                "Upload the file itself first, not its address; each upload can be used once, within ten minutes.",
                cause="no_file",
            )
        upload.removal.cancel()
        return upload.path, upload.file_name

    async def aclose(self) -> None:
        """Remove all uploads. Idempotent."""
        removals = [upload.removal for upload in self._uploads.values()]
        for handle in list(self._uploads):
            self._remove(handle)
        await asyncio.gather(*removals, return_exceptions=True)

    async def _remove_later(self, handle: str) -> None:
        await self._clock.sleep_until(self._clock.now_s() + PARKED_S)
        self._uploads.pop(handle).path.unlink(missing_ok=True)

    def _remove(self, handle: str) -> None:
        path, _file_name = self.take(handle)
        path.unlink(missing_ok=True)
