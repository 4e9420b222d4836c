"""The objects that the tabs of the page are built from. They are passed in, and a tab uses nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avatars.library import AvatarLibrary
    from portal.backends import BackendCatalogue
    from portal.jobs.queue import JobQueue
    from portal.sessions import SessionManager
    from portal.settings import Settings

__all__ = ["PageContext"]


@dataclass(frozen=True, slots=True)
class PageContext:
    library: AvatarLibrary
    queue: JobQueue
    settings: Settings
    sessions: SessionManager
    backends: BackendCatalogue
    files: str
    "URL of the portal's static files, relative to the page's. It changes when the files do."
