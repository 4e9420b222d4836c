"""What the tabs of the page are built from. Handed in; a tab reaches for nothing else."""

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
    "address of the page's own files, below the page's: it changes with them"
